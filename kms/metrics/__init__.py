"""Metrics for Prometheus: what this process counts, what the database knows, and a listener for both."""
