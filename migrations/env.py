"""Alembic's environment: migrates over the connection that `kms.db.migration` hands in.

Rules: no address and no secret here; the connection and its transaction belong to the caller, so that a migration
that fails changes nothing.
"""

from alembic import context

from kms.db.models import Base

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("Run migrations with `kms db upgrade`.")

context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite alters a table by making it anew
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
