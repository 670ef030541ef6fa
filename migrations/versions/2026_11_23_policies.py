"""Rotation policies and when a key set is due."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

IN_FORCE = sa.text("state = 'IN_FORCE'")
OPEN = sa.text("state IN ('PENDING', 'RUNNING')")
ON_CARD = sa.text("state = 'ACTIVE' AND delivery = 'PROVED'")
UNDATED = sa.text("state = 'ACTIVE' AND delivery = 'PROVED' AND purpose IN ('isd', 'ssd') AND rotate_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "policy_versions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "state",
            sa.Enum("IN_FORCE", "ENDED", name="state", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("applied_by", sa.String(length=200), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("version >= 1", name=op.f("ck_policy_versions_version")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_versions")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_policy_versions_name_version")),
    )
    create_partial_index("uq_policy_versions_in_force", "policy_versions", ["name"], IN_FORCE, unique=True)
    op.create_table(
        "policy_days",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.CheckConstraint("asked >= 0", name=op.f("ck_policy_days_asked")),
        sa.PrimaryKeyConstraint("name", "day", name=op.f("pk_policy_days")),
    )
    op.add_column("cards", sa.Column("batch", sa.String(length=200), nullable=False, server_default=""))
    op.add_column("key_sets", sa.Column("policy_id", sa.String(length=36), nullable=True))
    op.add_column("key_sets", sa.Column("rotate_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("key_sets", sa.Column("noticed_days", sa.Integer(), nullable=True))
    create_partial_index("ix_key_sets_due", "key_sets", ["policy_id", "rotate_at", "id"], ON_CARD)
    create_partial_index("ix_key_sets_undated", "key_sets", ["id"], UNDATED)
    create_partial_index("uq_key_updates_open", "key_updates", ["security_domain_id"], OPEN, unique=True)


def downgrade() -> None:
    """Back to cryptoperiods of the configuration: policies, their history and the due dates go."""
    op.drop_index("uq_key_updates_open", "key_updates")
    op.drop_index("ix_key_sets_undated", "key_sets")
    op.drop_index("ix_key_sets_due", "key_sets")
    for name in ("noticed_days", "rotate_at", "policy_id"):
        op.drop_column("key_sets", name)
    op.drop_column("cards", "batch")
    op.drop_table("policy_days")
    op.drop_index("uq_policy_versions_in_force", "policy_versions")
    op.drop_table("policy_versions")


def create_partial_index(
    name: str, table: str, columns: list[str], where: sa.TextClause, *, unique: bool = False
) -> None:
    op.create_index(name, table, columns, unique=unique, sqlite_where=where, postgresql_where=where)
