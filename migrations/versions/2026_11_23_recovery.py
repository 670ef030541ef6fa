"""Repair, recovery, and what a terminal may serve."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

KEY_TYPES = ("DES2", "DES3", "AES128", "AES192", "AES256")
PURPOSES = ("isd", "ssd-initial", "ssd")
KINDS = ("recorded", "derived", "unknown", "claimed", "none", "absent")
NO_LIMITS = '{"cards":[],"aids":[]}'


def upgrade() -> None:
    op.create_table(
        "platform_state",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("condition", build_enum("condition", ("NORMAL", "RECOVERY")), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("restored_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("behind_since", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_platform_state")),
    )
    op.create_table(
        "repair_orders",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("card_id", sa.String(length=36), nullable=False),
        sa.Column("terminal_id", sa.String(length=36), nullable=True),
        sa.Column("state", build_enum("state", ("OPEN", "FOUND", "APPLIED", "CANCELLED")), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requested_by", sa.String(length=200), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_by", sa.String(length=200), nullable=False),
        refer("repair_orders", "card_id", "cards"),
        refer("repair_orders", "terminal_id", "terminals"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repair_orders")),
    )
    op.create_index("ix_repair_orders_card_id_state", "repair_orders", ["card_id", "state"])
    op.create_table(
        "key_findings",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("card_id", sa.String(length=36), nullable=False),
        sa.Column("security_domain_id", sa.String(length=36), nullable=False),
        sa.Column("visit_id", sa.String(length=36), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", build_enum("kind", KINDS), nullable=False),
        sa.Column("kvn", sa.Integer(), nullable=False),
        sa.Column("counter", sa.Integer(), nullable=False),
        sa.Column("key_set_id", sa.String(length=36), nullable=True),
        sa.Column("purpose", build_enum("purpose", PURPOSES), nullable=True),
        sa.Column("key_type", build_enum("key_type", KEY_TYPES), nullable=True),
        sa.Column("master_id", sa.String(length=36), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=True),
        sa.Column("repair_order_id", sa.String(length=36), nullable=True),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        refer("key_findings", "card_id", "cards"),
        refer("key_findings", "security_domain_id", "security_domains"),
        refer("key_findings", "visit_id", "visits"),
        refer("key_findings", "key_set_id", "key_sets"),
        refer("key_findings", "master_id", "master_keys"),
        refer("key_findings", "repair_order_id", "repair_orders"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_key_findings")),
    )
    op.create_index("ix_key_findings_card_id", "key_findings", ["card_id"])
    op.create_index("ix_key_findings_repair_order_id", "key_findings", ["repair_order_id"])
    with op.batch_alter_table("terminals") as batch:  # SQLite makes the table anew, PostgreSQL alters it
        batch.add_column(sa.Column("limits", sa.Text(), nullable=False, server_default=NO_LIMITS))
    with op.batch_alter_table("terminals") as batch:
        batch.alter_column("limits", server_default=None, existing_type=sa.Text(), existing_nullable=False)
    for table, column in (("cards", "quarantine_code"), ("key_updates", "failure_code")):
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column(column, sa.String(length=200), nullable=False, server_default=""))
        with op.batch_alter_table(table) as batch:
            batch.alter_column(column, server_default=None, existing_type=sa.String(200), existing_nullable=False)
    with op.batch_alter_table("security_domains", recreate="auto" if is_postgresql() else "always") as batch:
        batch.add_column(sa.Column("looked_at", sa.DateTime(timezone=True), nullable=True))
    # All that is pending, the earliest due first, page by page.
    open_updates = sa.text("finished_at IS NULL")
    op.create_index(
        "ix_key_updates_pending",
        "key_updates",
        ["due_at", "id"],
        sqlite_where=open_updates,
        postgresql_where=open_updates,
    )


def downgrade() -> None:
    """Back to platforms that trust their database, and terminals that serve every card."""
    op.drop_index("ix_key_updates_pending", "key_updates")
    with op.batch_alter_table("security_domains") as batch:
        batch.drop_column("looked_at")
    with op.batch_alter_table("key_updates") as batch:
        batch.drop_column("failure_code")
    with op.batch_alter_table("cards") as batch:
        batch.drop_column("quarantine_code")
    with op.batch_alter_table("terminals") as batch:
        batch.drop_column("limits")
    op.drop_table("key_findings")
    op.drop_table("repair_orders")
    op.drop_table("platform_state")


def is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def build_enum(name: str, values: tuple[str, ...]) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)


def refer(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{target}")
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=name, deferrable=True, initially="DEFERRED")
