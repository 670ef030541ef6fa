"""Campaigns, the deadlines of updates, and all that is below a master in order."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

OLD_REASONS = ("initial", "expiry", "forced", "compromise", "master-rotation", "vendor-takeover")
NEW_REASONS = ("initial", "expiry", "forced", "compromise", "master-rotation", "key-type", "vendor-takeover")
KEY_TYPES = ("DES2", "DES3", "AES128", "AES192", "AES256")
STATES = ("FILLING", "RUNNING", "PAUSED", "STOPPED", "CANCELLED", "DONE")


def upgrade() -> None:
    op.create_table(
        "campaigns",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("reason", build_enum("reason", NEW_REASONS), nullable=False),
        sa.Column("state", build_enum("state", STATES), nullable=False),
        sa.Column("chosen", sa.Text(), nullable=False),
        sa.Column("max_failures", sa.Integer(), nullable=True),
        sa.Column("max_percent", sa.Integer(), nullable=True),
        sa.Column("percent_minimum", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("released_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=True),
        sa.Column("per_day", sa.Integer(), nullable=True),
        sa.Column("key_type", build_enum("key_type", KEY_TYPES), nullable=True),
        sa.Column("master_id", sa.String(length=36), nullable=True),
        sa.Column("cursor", sa.String(length=200), nullable=False),
        sa.Column("matched", sa.Integer(), nullable=False),
        sa.Column("added", sa.Integer(), nullable=False),
        sa.Column("failed_before", sa.Integer(), nullable=False),
        sa.Column("finished_before", sa.Integer(), nullable=False),
        sa.Column("state_reason", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("per_day IS NULL OR per_day > 0", name=op.f("ck_campaigns_per_day")),
        sa.CheckConstraint("max_failures IS NULL OR max_failures > 0", name=op.f("ck_campaigns_max_failures")),
        sa.CheckConstraint(
            "max_percent IS NULL OR max_percent BETWEEN 1 AND 100", name=op.f("ck_campaigns_max_percent")
        ),
        sa.ForeignKeyConstraint(
            ["master_id"],
            ["master_keys.id"],
            name=op.f("fk_campaigns_master_id_master_keys"),
            deferrable=True,
            initially="DEFERRED",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaigns")),
        sa.UniqueConstraint("name", name=op.f("uq_campaigns_name")),
    )
    op.create_index(op.f("ix_campaigns_state"), "campaigns", ["state"])
    with op.batch_alter_table("key_updates") as batch:
        batch.add_column(sa.Column("deadline", sa.DateTime(timezone=True), nullable=True))
        batch.add_column(sa.Column("campaign_id", sa.String(length=36), nullable=True))
        batch.add_column(sa.Column("key_type", build_enum("key_type", KEY_TYPES), nullable=True))
        batch.add_column(sa.Column("past_end", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch.add_column(sa.Column("past_end_reason", sa.Text(), nullable=False, server_default=""))
        batch.create_foreign_key(
            op.f("fk_key_updates_campaign_id_campaigns"),
            "campaigns",
            ["campaign_id"],
            ["id"],
            deferrable=True,
            initially="DEFERRED",
        )
    change_reasons(NEW_REASONS)
    with op.batch_alter_table("key_updates") as batch:  # the defaults were for the rows that were there
        batch.alter_column("past_end", existing_type=sa.Boolean(), server_default=None)
        batch.alter_column("past_end_reason", existing_type=sa.Text(), server_default=None)
    op.create_index("ix_key_updates_campaign_id_state", "key_updates", ["campaign_id", "state"])
    op.drop_index("ix_key_sets_master_id", table_name="key_sets")
    op.create_index("ix_key_sets_master_id_security_domain_id", "key_sets", ["master_id", "security_domain_id"])


def downgrade() -> None:
    """Back to updates without campaigns: each stays what it is, one to another key type is one by force."""
    op.drop_index("ix_key_sets_master_id_security_domain_id", table_name="key_sets")
    op.create_index("ix_key_sets_master_id", "key_sets", ["master_id"])
    op.execute("UPDATE key_updates SET reason = 'forced' WHERE reason = 'key-type'")
    change_reasons(OLD_REASONS)
    op.drop_index("ix_key_updates_campaign_id_state", table_name="key_updates")
    with op.batch_alter_table("key_updates") as batch:
        batch.drop_constraint(op.f("fk_key_updates_campaign_id_campaigns"), type_="foreignkey")
        batch.drop_constraint(op.f("ck_key_updates_key_type"), type_="check")
        for name in ("past_end_reason", "past_end", "key_type", "campaign_id", "deadline"):
            batch.drop_column(name)
    op.drop_table("campaigns")


def build_enum(name: str, values: tuple[str, ...]) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)


def change_reasons(reasons: tuple[str, ...]) -> None:
    condition = f"reason IN ({', '.join(repr(reason) for reason in reasons)})"
    with op.batch_alter_table("key_updates") as batch:  # SQLite makes the table anew, PostgreSQL alters it
        batch.drop_constraint(op.f("ck_key_updates_reason"), type_="check")
        batch.create_check_constraint(op.f("ck_key_updates_reason"), condition)
