"""Key-management server for the security domains of payment cards."""
