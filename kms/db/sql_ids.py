"""Row identifiers that the database makes itself, for INSERT ... SELECT.

Rules: as `kms.domain.identifiers.build_uuid7`: the time first, then 74 random bits, so that ids stay ordered by time.
Rows of one statement share its millisecond; among themselves they are in no order.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, String, func, literal, literal_column

VARIANT = "89ab"  # RFC 9562 section 4.1


def build_id_expression(dialect: str, now: datetime) -> ColumnElement[str]:
    """An expression that gives another UUID of version 7 for each row. `dialect`: `sqlite` or `postgresql`."""
    stamp = f"{int(now.timestamp() * 1000):012x}"
    prefix = literal(f"{stamp[:8]}-{stamp[8:]}-7", String)
    if dialect == "postgresql":
        # A UUID of version 4 brings the variant and the random digits after its version digit.
        return prefix + func.substr(literal_column("gen_random_uuid()::text"), 16)
    three = "substr(lower(hex(randomblob(2))), 2)"
    variant = f"substr('{VARIANT}', 1 + (abs(random()) % 4), 1)"
    tail = literal_column(f"{three} || '-' || {variant} || {three} || '-' || lower(hex(randomblob(6)))", String)
    return prefix + tail
