"""The demonstration: an installation of its own in var/demo, driven by the same commands a person would type."""
