"""Keys between platforms: key pairs of this one, signing keys of its peers, and KEKs among the master keys."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

OLD_KINDS = ("vendor", "isd", "ssd-initial", "ssd")
NEW_KINDS = (*OLD_KINDS, "peer-kek")
STATES = ("PRE_ACTIVATION", "ACTIVE", "SUSPENDED", "DEACTIVATED", "COMPROMISED", "DESTROYED")
ACTIVE = sa.text("state = 'ACTIVE'")


def upgrade() -> None:
    change_kinds(NEW_KINDS)
    op.create_table(
        "platform_keys",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("purpose", build_enum("purpose", ("signing", "transport")), nullable=False),
        sa.Column("object_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key_der", sa.LargeBinary(), nullable=False),
        sa.Column("state", build_enum("state", STATES), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("length(object_id) = 16", name=op.f("ck_platform_keys_object_id_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_platform_keys")),
        sa.UniqueConstraint("object_id", name=op.f("uq_platform_keys_object_id")),
    )
    create_active_index("uq_platform_keys_active_purpose", "platform_keys", "purpose")
    op.create_table(
        "peer_keys",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("peer", sa.String(length=200), nullable=False),
        sa.Column("public_key_der", sa.LargeBinary(), nullable=False),
        sa.Column("state", build_enum("state", STATES), nullable=False),
        sa.Column("pinned_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_peer_keys")),
    )
    create_active_index("uq_peer_keys_active_peer", "peer_keys", "peer")


def downgrade() -> None:
    """Back to platforms without peers: the rows of KEKs go, too, for nothing else could use them."""
    op.drop_index("uq_peer_keys_active_peer", "peer_keys")
    op.drop_table("peer_keys")
    op.drop_index("uq_platform_keys_active_purpose", "platform_keys")
    op.drop_table("platform_keys")
    op.execute("DELETE FROM master_keys WHERE kind = 'peer-kek'")
    change_kinds(OLD_KINDS)


def build_enum(name: str, values: tuple[str, ...]) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)


def create_active_index(name: str, table: str, column: str) -> None:
    op.create_index(name, table, [column], unique=True, sqlite_where=ACTIVE, postgresql_where=ACTIVE)


def change_kinds(kinds: tuple[str, ...]) -> None:
    condition = f"kind IN ({', '.join(repr(kind) for kind in kinds)})"
    with op.batch_alter_table("master_keys") as batch:  # SQLite makes the table anew, PostgreSQL alters it
        batch.drop_constraint(op.f("ck_master_keys_kind"), type_="check")
        batch.create_check_constraint(op.f("ck_master_keys_kind"), condition)
