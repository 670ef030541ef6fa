"""Ceremonies: the use cases of reviewed files that people carry out step by step."""
