"""First schema: cards, security domains, key sets and updates, visits, terminals, applications, masters, audit.

`audit_events` and `visit_events` are append-only: triggers refuse UPDATE and DELETE, and PostgreSQL's TRUNCATE (whoever
owns the table or may write the file can drop a trigger, so this guards against mistakes, and the audit log's chain and
signature against people).
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

APPEND_ONLY = ("audit_events", "visit_events")


def upgrade() -> None:
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
    op.create_index(op.f("ix_audit_events_at"), "audit_events", ["at"])
    op.create_index(op.f("ix_audit_events_subject"), "audit_events", ["subject"])

    op.create_table(
        "cards",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("identity", sa.LargeBinary(), nullable=False),
        sa.Column("kdd", sa.LargeBinary(), nullable=False),
        sa.Column("scp", sa.Integer(), nullable=False),
        sa.Column("scp_i", sa.Integer(), nullable=False),
        sa.Column("profile", sa.String(length=200), nullable=False),
        sa.Column(
            "diversification",
            sa.Enum(
                "none",
                "visa2",
                "emv-cps-1.1",
                name="diversification",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "state",
            sa.Enum(
                "ENROLLED", "QUARANTINED", "RETIRED", name="state", native_enum=False, create_constraint=True, length=32
            ),
            nullable=False,
        ),
        sa.Column("enrolled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("quarantine_reason", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("trusted_since", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("version >= 0", name=op.f("ck_cards_version")),
        sa.CheckConstraint("length(identity) BETWEEN 1 AND 32", name=op.f("ck_cards_identity_length")),
        sa.CheckConstraint("length(kdd) = 10", name=op.f("ck_cards_kdd_length")),
        sa.CheckConstraint("scp IN (2, 3)", name=op.f("ck_cards_scp")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cards")),
        sa.UniqueConstraint("identity", name=op.f("uq_cards_identity")),
    )
    op.create_table(
        "master_keys",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "vendor", "isd", "ssd-initial", "ssd", name="kind", native_enum=False, create_constraint=True, length=32
            ),
            nullable=False,
        ),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column(
            "key_type",
            sa.Enum(
                "DES2",
                "DES3",
                "AES128",
                "AES192",
                "AES256",
                name="key_type",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("object_id", sa.LargeBinary(), nullable=False),
        sa.Column("kcv", sa.LargeBinary(), nullable=False),
        sa.Column(
            "kcv_method",
            sa.Enum(
                "3des-ecb-zero",
                "aes-ecb-one",
                "aes-cmac-zero",
                name="kcv_method",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "state",
            sa.Enum(
                "PRE_ACTIVATION",
                "ACTIVE",
                "SUSPENDED",
                "DEACTIVATED",
                "COMPROMISED",
                "DESTROYED",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("generation >= 1", name=op.f("ck_master_keys_generation")),
        sa.CheckConstraint("length(object_id) = 16", name=op.f("ck_master_keys_object_id_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_master_keys")),
        sa.UniqueConstraint("kind", "name", "generation", name=op.f("uq_master_keys_kind_name_generation")),
        sa.UniqueConstraint("object_id", name=op.f("uq_master_keys_object_id")),
    )
    op.create_table(
        "terminals",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "ENROLLED", "SUSPENDED", "REVOKED", name="state", native_enum=False, create_constraint=True, length=32
            ),
            nullable=False,
        ),
        sa.Column("enrolled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("trusted_since", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("length(fingerprint) = 32", name=op.f("ck_terminals_fingerprint_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_terminals")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_terminals_fingerprint")),
        sa.UniqueConstraint("name", name=op.f("uq_terminals_name")),
    )
    op.create_table(
        "security_domains",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("card_id", sa.String(length=36), nullable=False),
        sa.Column("parent_id", sa.String(length=36), nullable=True),
        sa.Column("aid", sa.LargeBinary(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum("ISD", "SSD", name="kind", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column(
            "state",
            sa.Enum(
                "PLANNED",
                "CREATING",
                "KEYED",
                "DELETED",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("managed_by", sa.String(length=200), nullable=False),
        sa.Column("privileges", sa.LargeBinary(), nullable=False),
        sa.Column("last_generation", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("last_generation >= -1", name=op.f("ck_security_domains_last_generation")),
        sa.CheckConstraint("length(aid) BETWEEN 5 AND 16", name=op.f("ck_security_domains_aid_length")),
        sa.ForeignKeyConstraint(
            ["card_id"],
            ["cards.id"],
            name=op.f("fk_security_domains_card_id_cards"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"],
            ["security_domains.id"],
            name=op.f("fk_security_domains_parent_id_security_domains"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_security_domains")),
        sa.UniqueConstraint("card_id", "aid", name=op.f("uq_security_domains_card_id_aid")),
    )
    op.create_table(
        "applications",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("card_id", sa.String(length=36), nullable=False),
        sa.Column("aid", sa.LargeBinary(), nullable=False),
        sa.Column("security_domain_id", sa.String(length=36), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "REQUESTED", "READY", "REFUSED", name="state", native_enum=False, create_constraint=True, length=32
            ),
            nullable=False,
        ),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ready_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("length(aid) BETWEEN 5 AND 16", name=op.f("ck_applications_aid_length")),
        sa.ForeignKeyConstraint(
            ["card_id"], ["cards.id"], name=op.f("fk_applications_card_id_cards"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(
            ["security_domain_id"],
            ["security_domains.id"],
            name=op.f("fk_applications_security_domain_id_security_domains"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_applications")),
    )
    op.create_index("ix_applications_card_id_aid", "applications", ["card_id", "aid"])

    op.create_table(
        "key_sets",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("security_domain_id", sa.String(length=36), nullable=False),
        sa.Column("kvn", sa.Integer(), nullable=False),
        sa.Column(
            "key_type",
            sa.Enum(
                "DES2",
                "DES3",
                "AES128",
                "AES192",
                "AES256",
                name="key_type",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "purpose",
            sa.Enum("isd", "ssd-initial", "ssd", name="purpose", native_enum=False, create_constraint=True, length=32),
            nullable=True,
        ),
        sa.Column("master_id", sa.String(length=36), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column(
            "delivery",
            sa.Enum(
                "PLANNED",
                "IN_FLIGHT",
                "IN_DOUBT",
                "PROVED",
                "REPLACED",
                "FACTORY",
                name="delivery",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "state",
            sa.Enum(
                "PRE_ACTIVATION",
                "ACTIVE",
                "SUSPENDED",
                "DEACTIVATED",
                "COMPROMISED",
                "DESTROYED",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("kcvs", sa.LargeBinary(), nullable=False),
        sa.Column(
            "kcv_method",
            sa.Enum(
                "3des-ecb-zero",
                "aes-ecb-one",
                "aes-cmac-zero",
                name="kcv_method",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("proved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("replaced_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("generation >= 0", name=op.f("ck_key_sets_generation")),
        sa.CheckConstraint("kvn BETWEEN 1 AND 127 OR kvn = 255", name=op.f("ck_key_sets_kvn")),
        sa.ForeignKeyConstraint(
            ["master_id"],
            ["master_keys.id"],
            name=op.f("fk_key_sets_master_id_master_keys"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["security_domain_id"],
            ["security_domains.id"],
            name=op.f("fk_key_sets_security_domain_id_security_domains"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_key_sets")),
        sa.UniqueConstraint(
            "security_domain_id",
            "purpose",
            "generation",
            name=op.f("uq_key_sets_security_domain_id_purpose_generation"),
        ),
    )
    op.create_index(op.f("ix_key_sets_master_id"), "key_sets", ["master_id"])

    op.create_table(
        "key_updates",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("security_domain_id", sa.String(length=36), nullable=False),
        sa.Column(
            "reason",
            sa.Enum(
                "initial",
                "expiry",
                "forced",
                "compromise",
                "master-rotation",
                "vendor-takeover",
                name="reason",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "state",
            sa.Enum(
                "PENDING",
                "RUNNING",
                "DONE",
                "FAILED",
                "CANCELLED",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requested_by", sa.String(length=200), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("new_key_set_id", sa.String(length=36), nullable=True),
        sa.Column("application_id", sa.String(length=36), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failure", sa.Text(), nullable=False),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_key_updates_attempts")),
        sa.ForeignKeyConstraint(
            ["application_id"],
            ["applications.id"],
            name=op.f("fk_key_updates_application_id_applications"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["new_key_set_id"],
            ["key_sets.id"],
            name=op.f("fk_key_updates_new_key_set_id_key_sets"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["security_domain_id"],
            ["security_domains.id"],
            name=op.f("fk_key_updates_security_domain_id_security_domains"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_key_updates")),
    )
    op.create_index("ix_key_updates_security_domain_id_state", "key_updates", ["security_domain_id", "state"])
    op.create_index("ix_key_updates_state_due_at", "key_updates", ["state", "due_at"])

    op.create_table(
        "visits",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("session_id", sa.String(length=200), nullable=False),
        sa.Column("terminal_id", sa.String(length=36), nullable=False),
        sa.Column("card_id", sa.String(length=36), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "OPEN", "ENDED", "FENCED", "EXPIRED", name="state", native_enum=False, create_constraint=True, length=32
            ),
            nullable=False,
        ),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=False),
        sa.Column("order_number", sa.Integer(), nullable=False),
        sa.Column("order", sa.Text(), nullable=True),
        sa.Column("program", sa.Text(), nullable=True),
        sa.Column("update_id", sa.String(length=36), nullable=True),
        sa.Column("report_digest", sa.LargeBinary(), nullable=False),
        sa.Column("reconciliations", sa.Integer(), nullable=False),
        sa.Column("mismatches", sa.Integer(), nullable=False),
        sa.Column("commands_sent", sa.Integer(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["card_id"], ["cards.id"], name=op.f("fk_visits_card_id_cards"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(
            ["terminal_id"],
            ["terminals.id"],
            name=op.f("fk_visits_terminal_id_terminals"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["update_id"],
            ["key_updates.id"],
            name=op.f("fk_visits_update_id_key_updates"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_visits")),
        sa.UniqueConstraint("session_id", name=op.f("uq_visits_session_id")),
    )
    op.create_index("ix_visits_card_id_state", "visits", ["card_id", "state"])
    op.create_index("ix_visits_state_deadline", "visits", ["state", "deadline"])
    op.create_index("ix_visits_terminal_id_opened_at", "visits", ["terminal_id", "opened_at"])

    op.create_table(
        "visit_events",
        sa.Column("visit_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=200), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["visit_id"],
            ["visits.id"],
            name=op.f("fk_visit_events_visit_id_visits"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("visit_id", "number", name=op.f("pk_visit_events")),
    )
    if op.get_bind().dialect.name == "sqlite":
        _create_sqlite_triggers()
    else:
        _create_postgresql_triggers()


def _create_sqlite_triggers() -> None:
    for table in APPEND_ONLY:
        for action in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER tr_{table}_{action.lower()} BEFORE {action} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )


def _create_postgresql_triggers() -> None:
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation'; END $$"
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER tr_{table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    op.drop_table("visit_events")
    op.drop_index("ix_visits_terminal_id_opened_at", "visits")
    op.drop_index("ix_visits_state_deadline", "visits")
    op.drop_index("ix_visits_card_id_state", "visits")

    op.drop_table("visits")
    op.drop_index("ix_key_updates_state_due_at", "key_updates")
    op.drop_index("ix_key_updates_security_domain_id_state", "key_updates")

    op.drop_table("key_updates")
    op.drop_index(op.f("ix_key_sets_master_id"), "key_sets")

    op.drop_table("key_sets")
    op.drop_index("ix_applications_card_id_aid", "applications")

    op.drop_table("applications")
    op.drop_table("security_domains")
    op.drop_table("terminals")
    op.drop_table("master_keys")
    op.drop_table("cards")
    op.drop_index(op.f("ix_audit_events_subject"), "audit_events")
    op.drop_index(op.f("ix_audit_events_at"), "audit_events")

    op.drop_table("audit_events")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_change()")
