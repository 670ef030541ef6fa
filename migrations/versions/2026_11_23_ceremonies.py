"""Ceremonies, their steps, the custody of key components; the backup key among the master keys."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

OLD_KINDS = ("vendor", "isd", "ssd-initial", "ssd", "peer-kek", "login")
NEW_KINDS = ("vendor", "isd", "ssd-initial", "ssd", "peer-kek", "backup", "login")
KEY_TYPES = ("DES2", "DES3", "AES128", "AES192", "AES256")
CEREMONY_KINDS = (
    "generate-master",
    "import-master",
    "make-backup-key",
    "suspend-key",
    "resume-key",
    "deactivate-key",
    "destroy-key",
    "compromise-key",
    "offer-kek",
    "answer-kek",
    "accept-kek",
)
STEP_KINDS = (
    "agree",
    "note",
    "generate",
    "enter-component",
    "make-component",
    "combine",
    "confirm-kcv",
    "back-up",
    "prove-backup",
    "waive-backup",
    "activate",
    "check-use",
    "change",
    "compare",
    "exchange",
)
METHODS = ("3des-ecb-zero", "aes-ecb-one", "aes-cmac-zero")


def upgrade() -> None:
    change_kinds(NEW_KINDS)
    op.create_table(
        "ceremonies",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("script_name", sa.String(length=200), nullable=False),
        sa.Column("script", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("kind", build_enum("kind", CEREMONY_KINDS), nullable=False),
        sa.Column("rehearsal", sa.Boolean(), nullable=False),
        sa.Column("key_name", sa.String(length=200), nullable=False),
        sa.Column("started_by", sa.String(length=200), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", build_enum("state", ("RUNNING", "DONE", "ABORTED", "EXPIRED")), nullable=False),
        sa.Column("pair_id", sa.LargeBinary(), nullable=False),
        sa.Column("object_id", sa.LargeBinary(), nullable=False),
        sa.Column("software", sa.String(length=200), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=True),
        sa.Column("expected_kcv", sa.LargeBinary(), nullable=False),
        sa.Column("valid_days", sa.Integer(), nullable=True),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("peer_file", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("pair_public", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("key_type", build_enum("key_type", KEY_TYPES), nullable=True),
        sa.Column("kcv", sa.LargeBinary(), nullable=False),
        sa.Column("kcv_method", build_enum("kcv_method", METHODS), nullable=True),
        sa.Column("backup", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(length=36), nullable=True),
        sa.Column("cleared", sa.Boolean(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.CheckConstraint("length(digest) = 32", name=op.f("ck_ceremonies_digest_length")),
        sa.CheckConstraint("length(pair_id) = 16", name=op.f("ck_ceremonies_pair_id_length")),
        sa.CheckConstraint("length(object_id) = 16", name=op.f("ck_ceremonies_object_id_length")),
        refer("ceremonies", "key_id", "master_keys"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ceremonies")),
        sa.UniqueConstraint("pair_id", name=op.f("uq_ceremonies_pair_id")),
        sa.UniqueConstraint("object_id", name=op.f("uq_ceremonies_object_id")),
    )
    op.create_index("ix_ceremonies_state_cleared", "ceremonies", ["state", "cleared"])
    op.create_index(op.f("ix_ceremonies_key_id"), "ceremonies", ["key_id"])
    op.create_table(
        "ceremony_steps",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("ceremony_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("do", build_enum("do", STEP_KINDS), nullable=False),
        sa.Column("role", sa.String(length=200), nullable=False),
        sa.Column("person_id", sa.String(length=36), nullable=False),
        sa.Column("person_name", sa.String(length=200), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("login_session_id", sa.String(length=200), nullable=False),
        sa.Column("factor", sa.String(length=200), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        refer("ceremony_steps", "ceremony_id", "ceremonies"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ceremony_steps")),
        sa.UniqueConstraint(
            "ceremony_id", "number", "person_id", name=op.f("uq_ceremony_steps_ceremony_id_number_person_id")
        ),
    )
    op.create_table(
        "key_components",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("ceremony_id", sa.String(length=36), nullable=False),
        sa.Column("key_name", sa.String(length=200), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.String(length=36), nullable=False),
        sa.Column("person_name", sa.String(length=200), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("login_session_id", sa.String(length=200), nullable=False),
        sa.Column("kcv", sa.LargeBinary(), nullable=False),
        sa.Column("kcv_method", build_enum("kcv_method", METHODS), nullable=False),
        sa.Column("rehearsal", sa.Boolean(), nullable=False),
        sa.Column("entered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("number >= 1", name=op.f("ck_key_components_number")),
        refer("key_components", "ceremony_id", "ceremonies"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_key_components")),
        sa.UniqueConstraint("ceremony_id", "number", name=op.f("uq_key_components_ceremony_id_number")),
    )
    op.create_index("ix_key_components_key_name_rehearsal", "key_components", ["key_name", "rehearsal"])


def downgrade() -> None:
    op.drop_index("ix_key_components_key_name_rehearsal", "key_components")
    op.drop_table("key_components")
    op.drop_table("ceremony_steps")
    op.drop_index(op.f("ix_ceremonies_key_id"), "ceremonies")
    op.drop_index("ix_ceremonies_state_cleared", "ceremonies")
    op.drop_table("ceremonies")
    op.execute("DELETE FROM master_keys WHERE kind = 'backup'")
    change_kinds(OLD_KINDS)


def build_enum(name: str, values: tuple[str, ...]) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)


def refer(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{target}")
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=name, deferrable=True, initially="DEFERRED")


def change_kinds(kinds: tuple[str, ...]) -> None:
    condition = f"kind IN ({', '.join(repr(kind) for kind in kinds)})"
    with op.batch_alter_table("master_keys") as batch:  # SQLite makes the table anew, PostgreSQL alters it
        batch.drop_constraint(op.f("ck_master_keys_kind"), type_="check")
        batch.create_check_constraint(op.f("ck_master_keys_kind"), condition)
