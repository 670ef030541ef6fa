"""Processes that do one thing with a key component and end: how they are started, and how they listen."""
