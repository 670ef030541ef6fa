"""Transfers of security domains between platforms, and domains that were handed over."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

OLD_STATES = ("PLANNED", "CREATING", "KEYED", "DELETED")
NEW_STATES = ("PLANNED", "CREATING", "KEYED", "HANDED_OVER", "DELETED")
KEY_TYPES = ("DES2", "DES3", "AES128", "AES192", "AES256")
TRANSFER_STATES = ("REQUESTED", "PROVED", "HANDED_OVER", "CONTROLLED", "CLOSED", "REFUSED")


def upgrade() -> None:
    change_states(NEW_STATES)
    op.create_table(
        "transfers",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("side", build_enum("side", ("issuer", "provider")), nullable=False),
        sa.Column("peer", sa.String(length=200), nullable=False),
        sa.Column("reason", build_enum("reason", ("create", "rekey")), nullable=False),
        sa.Column("card_identity", sa.LargeBinary(), nullable=False),
        sa.Column("aid", sa.LargeBinary(), nullable=False),
        sa.Column("privileges", sa.LargeBinary(), nullable=False),
        sa.Column("key_type", build_enum("key_type", KEY_TYPES), nullable=False),
        sa.Column("state", build_enum("state", TRANSFER_STATES), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("security_domain_id", sa.String(length=36), nullable=True),
        sa.Column("envelope", sa.Text(), nullable=True),
        sa.Column("session_id", sa.String(length=200), nullable=False),
        sa.Column("refusal", sa.Text(), nullable=False),
        sa.Column("handed_over_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("length(aid) BETWEEN 5 AND 16", name=op.f("ck_transfers_aid_length")),
        sa.CheckConstraint("length(card_identity) BETWEEN 1 AND 32", name=op.f("ck_transfers_card_identity_length")),
        sa.ForeignKeyConstraint(
            ["security_domain_id"],
            ["security_domains.id"],
            name=op.f("fk_transfers_security_domain_id_security_domains"),
            deferrable=True,
            initially="DEFERRED",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transfers")),
    )
    op.create_index("ix_transfers_card_identity", "transfers", ["card_identity"])
    op.create_index("ix_transfers_peer_requested_at", "transfers", ["peer", "requested_at"])
    op.create_index("ix_transfers_security_domain_id", "transfers", ["security_domain_id"])


def downgrade() -> None:
    """Back to platforms that hand nothing over: domains that were are taken for deleted, their keys are not ours."""
    op.drop_table("transfers")
    op.execute("UPDATE security_domains SET state = 'DELETED' WHERE state = 'HANDED_OVER'")
    change_states(OLD_STATES)


def build_enum(name: str, values: tuple[str, ...]) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)


def change_states(states: tuple[str, ...]) -> None:
    condition = f"state IN ({', '.join(repr(state) for state in states)})"
    with op.batch_alter_table("security_domains") as batch:  # SQLite makes the table anew, PostgreSQL alters it
        batch.drop_constraint(op.f("ck_security_domains_state"), type_="check")
        batch.create_check_constraint(op.f("ck_security_domains_state"), condition)
