"""Use cases over ports. No framework, database or HSM library is imported here."""
