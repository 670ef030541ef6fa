"""Times that the database computes itself, for statements over many rows.

Rules: exact to the microsecond, as `kms.db.types.UtcDateTime` stores them, and the same as Python would compute.
`column` and `seconds` are SQL of ours, never values from outside.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, literal_column

from kms.db.types import UtcDateTime
from kms.domain.policies import JITTER_DIGITS, JITTER_STEPS

_HEX = "'0123456789abcdef'"


def build_shifted(dialect: str, column: str, seconds: str) -> ColumnElement[datetime]:
    """A time so many seconds later (earlier where negative). `dialect`: `sqlite` or `postgresql`."""
    if dialect == "postgresql":
        return literal_column(f"({column} + make_interval(secs => {seconds}))", UtcDateTime())
    # SQLite counts in milliseconds: the fraction of the second is put aside and comes back as it was.
    shifted = f"datetime(substr({column}, 1, 19), ({seconds}) || ' seconds') || substr({column}, 20)"
    return literal_column(f"({shifted})", UtcDateTime())


def build_jitter(dialect: str, column: str, most: int) -> str:
    """SQL for the seconds, 0 to `most`, that follow from an id (`kms.domain.policies.Policy.find_rotation`)."""
    find = "strpos" if dialect == "postgresql" else "instr"
    digits = (f"({find}({_HEX}, substr({column}, {36 - at}, 1)) - 1) * {16**at}" for at in range(JITTER_DIGITS))
    return f"CAST({most} AS BIGINT) * ({' + '.join(digits)}) / {JITTER_STEPS}"
