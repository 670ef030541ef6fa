"""The scheduler: the rotation's clockwork, on one of any number of nodes at a time."""
