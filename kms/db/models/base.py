"""The declarative base: names of constraints, and the types every model shares.

Rules: every constraint has a name made from its table and columns, so that a migration can drop what an earlier one
made. Columns are named as the fields of the frozen values they hold.
"""

from datetime import datetime
from typing import Annotated, ClassVar

from sqlalchemy import ForeignKey, LargeBinary, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, mapped_column

from kms.db.types import UtcDateTime

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

Id = Annotated[str, mapped_column(String(36))]
PrimaryId = Annotated[str, mapped_column(String(36), primary_key=True)]
Name = Annotated[str, mapped_column(String(200))]
Note = Annotated[str, mapped_column(Text)]


class Base(DeclarativeBase):
    """All tables' metadata."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar = {datetime: UtcDateTime(), bytes: LargeBinary(), str: Text()}


def refer_to(column: str) -> ForeignKey:
    """Make a foreign key that is checked at commit.

    So a transaction may write its rows in any order: the order of writes is no part of the ports' contract.
    """
    return ForeignKey(column, deferrable=True, initially="DEFERRED")
