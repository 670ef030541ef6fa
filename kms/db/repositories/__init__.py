"""Repositories, a file per noun, each on one transaction's connection."""
