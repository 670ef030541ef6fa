"""Places outside the database that remember checkpoints of the audit log."""
