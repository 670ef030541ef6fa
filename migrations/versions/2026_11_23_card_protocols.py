"""Which secure channel protocols a card speaks, and what type of keys a security domain is to have."""

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

OLD_SCHEMES = ("none", "visa2", "emv-cps-1.1")
NEW_SCHEMES = (*OLD_SCHEMES, "kdf3")
KEY_TYPES = ("DES2", "DES3", "AES128", "AES192", "AES256")


def upgrade() -> None:
    with op.batch_alter_table("cards") as batch:  # SQLite makes the table anew, PostgreSQL alters it
        batch.add_column(sa.Column("scp02_i", sa.Integer(), nullable=True))
        batch.add_column(sa.Column("scp03_i", sa.Integer(), nullable=True))
        batch.add_column(sa.Column("scp02_claimed", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch.add_column(sa.Column("scp03_claimed", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute("UPDATE cards SET scp02_i = scp_i WHERE scp = 2")
    op.execute("UPDATE cards SET scp03_i = scp_i WHERE scp = 3")
    with op.batch_alter_table("cards") as batch:
        batch.drop_constraint(op.f("ck_cards_scp"), type_="check")
        batch.drop_column("scp")
        batch.drop_column("scp_i")
        batch.alter_column("scp02_claimed", server_default=None, existing_type=sa.Boolean(), existing_nullable=False)
        batch.alter_column("scp03_claimed", server_default=None, existing_type=sa.Boolean(), existing_nullable=False)
        batch.create_check_constraint(op.f("ck_cards_scp02_i"), "scp02_i BETWEEN 0 AND 255")
        batch.create_check_constraint(op.f("ck_cards_scp03_i"), "scp03_i BETWEEN 0 AND 255")
        change_schemes(batch, NEW_SCHEMES)
    key_type = sa.Enum(*KEY_TYPES, name="key_type", native_enum=False, create_constraint=True, length=32)
    with op.batch_alter_table("security_domains") as batch:
        batch.add_column(sa.Column("key_type", key_type, nullable=True))


def downgrade() -> None:
    """Back to one protocol a card: of one that speaks both, SCP02 stays; one not recognized counts as i=55."""
    with op.batch_alter_table("security_domains") as batch:
        batch.drop_constraint(op.f("ck_security_domains_key_type"), type_="check")
        batch.drop_column("key_type")
    with op.batch_alter_table("cards") as batch:
        batch.add_column(sa.Column("scp", sa.Integer(), nullable=False, server_default="2"))
        batch.add_column(sa.Column("scp_i", sa.Integer(), nullable=False, server_default="85"))
    op.execute("UPDATE cards SET scp = 3, scp_i = scp03_i WHERE scp03_i IS NOT NULL AND scp02_i IS NULL")
    op.execute("UPDATE cards SET scp_i = scp02_i WHERE scp02_i IS NOT NULL")
    op.execute("UPDATE cards SET diversification = 'none' WHERE diversification = 'kdf3'")
    with op.batch_alter_table("cards") as batch:
        batch.drop_constraint(op.f("ck_cards_scp02_i"), type_="check")
        batch.drop_constraint(op.f("ck_cards_scp03_i"), type_="check")
        batch.drop_column("scp02_i")
        batch.drop_column("scp03_i")
        batch.drop_column("scp02_claimed")
        batch.drop_column("scp03_claimed")
        batch.alter_column("scp", server_default=None, existing_type=sa.Integer(), existing_nullable=False)
        batch.alter_column("scp_i", server_default=None, existing_type=sa.Integer(), existing_nullable=False)
        batch.create_check_constraint(op.f("ck_cards_scp"), "scp IN (2, 3)")
        change_schemes(batch, OLD_SCHEMES)


def change_schemes(batch: BatchOperations, schemes: tuple[str, ...]) -> None:
    condition = f"diversification IN ({', '.join(repr(scheme) for scheme in schemes)})"
    batch.drop_constraint(op.f("ck_cards_diversification"), type_="check")
    batch.create_check_constraint(op.f("ck_cards_diversification"), condition)
