"""Measures what the server costs, side by side in one run: `make bench` (docs/performance.md)."""
