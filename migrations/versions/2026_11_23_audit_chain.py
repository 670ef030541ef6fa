"""The audit log as chains with checkpoints. What was recorded before becomes one chain, `before-chains`.

Both tables are append-only, as `audit_events` was: triggers refuse what changes or removes a row.
"""

import hashlib
import json
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

FIRST_CHAIN = "before-chains"
TEXTS = ("id", "actor", "action", "subject", "result", "kcv", "detail")
TABLES = ("audit_events", "audit_checkpoints")


def upgrade() -> None:
    drop_triggers(("audit_events",))
    # SQLite keeps an index's name with a renamed table.
    op.drop_index(op.f("ix_audit_events_at"), "audit_events")
    op.drop_index(op.f("ix_audit_events_subject"), "audit_events")
    op.rename_table("audit_events", "audit_events_before")
    if op.get_bind().dialect.name == "postgresql":
        for kind in ("pk_audit_events", "uq_audit_events_id"):
            op.execute(f"ALTER TABLE audit_events_before RENAME CONSTRAINT {kind} TO {kind}_before")
    op.create_table(
        "audit_events",
        sa.Column("chain", sa.String(length=200), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=200), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("result", sa.String(length=200), nullable=False),
        sa.Column("kcv", sa.String(length=200), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("request_id", sa.String(length=200), nullable=False),
        sa.CheckConstraint("sequence >= 1", name=op.f("ck_audit_events_sequence")),
        sa.CheckConstraint("length(digest) = 32", name=op.f("ck_audit_events_digest_length")),
        sa.PrimaryKeyConstraint("chain", "sequence", name=op.f("pk_audit_events")),
        sa.UniqueConstraint("id", name=op.f("uq_audit_events_id")),
    )
    op.create_index("ix_audit_events_at", "audit_events", ["at", "chain", "sequence"])
    op.create_index(op.f("ix_audit_events_subject"), "audit_events", ["subject"])
    op.create_table(
        "audit_checkpoints",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.CheckConstraint("number >= 1", name=op.f("ck_audit_checkpoints_number")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_checkpoints")),
    )
    chain_events()
    op.drop_table("audit_events_before")
    create_triggers(TABLES)
    with op.batch_alter_table("platform_keys") as batch:
        batch.drop_constraint(op.f("ck_platform_keys_purpose"), type_="check")
        batch.create_check_constraint(op.f("ck_platform_keys_purpose"), "purpose IN ('signing', 'transport', 'audit')")


def chain_events() -> None:
    before = sa.table("audit_events_before", sa.column("number"), sa.column("at", sa.DateTime(timezone=True)))
    columns = [before.c.at, *(sa.column(name) for name in TEXTS)]
    chained = sa.table(
        "audit_events",
        *(sa.column(name) for name in ("chain", "sequence", "digest", *TEXTS, "reason", "request_id")),
        sa.column("at", sa.DateTime(timezone=True)),
    )
    connection = op.get_bind()
    digest = hashlib.sha256(f"kms-audit-chain 1 {FIRST_CHAIN}".encode()).hexdigest()
    rows = connection.execute(sa.select(*columns).select_from(before).order_by(before.c.number)).mappings().all()
    for sequence, row in enumerate(rows, start=1):
        event = {name: row[name] for name in TEXTS} | {"reason": "", "request_id": ""}
        place = {"chain": FIRST_CHAIN, "previous": digest, "sequence": sequence, "version": 1}
        fields = {**place, **event, "at": build_time(row["at"])}
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        digest = hashlib.sha256(text.encode("ascii")).hexdigest()
        values = {**event, "at": row["at"], "chain": FIRST_CHAIN, "sequence": sequence, "digest": bytes.fromhex(digest)}
        connection.execute(sa.insert(chained).values(values))


def build_time(at: datetime) -> str:
    """As `kms.domain.audit_chain.build_time` did when this migration was written. SQLite's times carry no zone."""
    utc = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return utc.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def create_triggers(tables: tuple[str, ...]) -> None:
    for table in tables:
        if op.get_bind().dialect.name == "postgresql":
            op.execute(
                f"CREATE TRIGGER tr_{table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
            )
            continue
        for action in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER tr_{table}_{action.lower()} BEFORE {action} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )


def drop_triggers(tables: tuple[str, ...]) -> None:
    for table in tables:
        if op.get_bind().dialect.name == "postgresql":
            op.execute(f"DROP TRIGGER tr_{table}_append_only ON {table}")
            continue
        for action in ("update", "delete"):
            op.execute(f"DROP TRIGGER tr_{table}_{action}")


def downgrade() -> None:
    drop_triggers(TABLES)
    op.execute("DELETE FROM platform_keys WHERE purpose = 'audit'")
    with op.batch_alter_table("platform_keys") as batch:
        batch.drop_constraint(op.f("ck_platform_keys_purpose"), type_="check")
        batch.create_check_constraint(op.f("ck_platform_keys_purpose"), "purpose IN ('signing', 'transport')")
    op.drop_index(op.f("ix_audit_events_subject"), "audit_events")
    op.drop_index("ix_audit_events_at", "audit_events")
    op.rename_table("audit_events", "audit_events_chained")
    if op.get_bind().dialect.name == "postgresql":
        for kind in ("pk_audit_events", "uq_audit_events_id"):
            op.execute(f"ALTER TABLE audit_events_chained RENAME CONSTRAINT {kind} TO {kind}_chained")
    op.create_table(
        "audit_events",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=200), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("result", sa.String(length=200), nullable=False),
        sa.Column("kcv", sa.String(length=200), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_events")),
        sa.UniqueConstraint("id", name=op.f("uq_audit_events_id")),
        sqlite_autoincrement=True,
    )
    op.execute(
        "INSERT INTO audit_events (id, actor, action, subject, result, kcv, detail, at)"
        " SELECT id, actor, action, subject, result, kcv, detail, at FROM audit_events_chained"
        " ORDER BY at, chain, sequence"
    )
    op.create_index(op.f("ix_audit_events_at"), "audit_events", ["at"])
    op.create_index(op.f("ix_audit_events_subject"), "audit_events", ["subject"])
    op.drop_table("audit_checkpoints")
    op.drop_table("audit_events_chained")
    create_triggers(("audit_events",))
