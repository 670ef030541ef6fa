"""Alarms, leases and the last runs of jobs; the journal of a visit that is long over may be deleted.

The trigger that keeps `visit_events` append-only lets a DELETE pass when the visit is over and its deadline seven days
past, so that old journals can go. Nothing lets an audit event go.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

OPEN = sa.text("cleared_at IS NULL")
INDEXES = (
    ("ix_key_sets_unproved", "key_sets", "delivery", "delivery IN ('IN_DOUBT', 'IN_FLIGHT')"),
    ("ix_key_sets_ends", "key_sets", "expires_at", "state = 'ACTIVE' AND delivery = 'PROVED'"),
    ("ix_key_updates_deadline", "key_updates", "deadline", "state IN ('PENDING', 'RUNNING')"),
    ("ix_cards_quarantined", "cards", "state", "state = 'QUARANTINED'"),
)


def upgrade() -> None:
    op.create_table(
        "alarms",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=200), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column(
            "severity",
            sa.Enum("warning", "critical", name="severity", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("raised_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_by", sa.String(length=200), nullable=False),
        sa.Column("cleared_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("count >= 1", name=op.f("ck_alarms_count")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alarms")),
    )
    op.create_index(
        "uq_alarms_open", "alarms", ["kind", "subject"], unique=True, sqlite_where=OPEN, postgresql_where=OPEN
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("holder", sa.String(length=200), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("fence >= 1", name=op.f("ck_leases_fence")),
        sa.CheckConstraint("seconds >= 1", name=op.f("ck_leases_seconds")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "job_runs",
        sa.Column("job", sa.String(length=200), nullable=False),
        sa.Column("node", sa.String(length=200), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("interval_s", sa.Double(), nullable=False),
        sa.Column("lateness_s", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("failed", sa.Boolean(), nullable=False),
        sa.Column("runs", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_job_runs")),
    )
    for name, table, column, condition in INDEXES:
        where = sa.text(condition)
        op.create_index(name, table, [column], sqlite_where=where, postgresql_where=where)
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER tr_visit_events_delete")
        op.execute(
            "CREATE TRIGGER tr_visit_events_delete BEFORE DELETE ON visit_events "
            "WHEN EXISTS (SELECT 1 FROM visits WHERE visits.id = OLD.visit_id "
            "AND (visits.state = 'OPEN' OR visits.deadline > datetime('now', '-7 days'))) "
            "BEGIN SELECT RAISE(ABORT, 'visit_events is append-only'); END"
        )
    else:
        op.execute("DROP TRIGGER tr_visit_events_append_only ON visit_events")
        op.execute(
            "CREATE TRIGGER tr_visit_events_append_only BEFORE UPDATE OR TRUNCATE ON visit_events "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
        op.execute(
            "CREATE FUNCTION refuse_young_journal() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "IF EXISTS (SELECT 1 FROM visits WHERE visits.id = OLD.visit_id "
            "AND (visits.state = 'OPEN' OR visits.deadline > clock_timestamp() - interval '7 days')) THEN "
            "RAISE EXCEPTION 'visit_events is append-only' USING ERRCODE = 'restrict_violation'; END IF; "
            "RETURN OLD; END $$"
        )
        op.execute(
            "CREATE TRIGGER tr_visit_events_delete BEFORE DELETE ON visit_events "
            "FOR EACH ROW EXECUTE FUNCTION refuse_young_journal()"
        )


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER tr_visit_events_delete")
        op.execute(
            "CREATE TRIGGER tr_visit_events_delete BEFORE DELETE ON visit_events "
            "BEGIN SELECT RAISE(ABORT, 'visit_events is append-only'); END"
        )
    else:
        op.execute("DROP TRIGGER tr_visit_events_delete ON visit_events")
        op.execute("DROP FUNCTION refuse_young_journal()")
        op.execute("DROP TRIGGER tr_visit_events_append_only ON visit_events")
        op.execute(
            "CREATE TRIGGER tr_visit_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON visit_events "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    for name, table, _, _ in INDEXES:
        op.drop_index(name, table)
    op.drop_table("job_runs")
    op.drop_table("leases")
    op.drop_index("uq_alarms_open", "alarms")
    op.drop_table("alarms")
