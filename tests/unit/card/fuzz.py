"""What every parser promises for any bytes: a value, or a `KmsError` with one of its codes; never anything else."""

from collections.abc import Callable
from typing import TypeVar

from kms.errors import Code, KmsError

T = TypeVar("T")


def read_or_refuse(parse: Callable[[bytes], T], data: bytes, *codes: Code) -> T | None:
    """Return what `parse` reads, or None when it refuses with one of `codes`; any other error passes."""
    try:
        return parse(data)
    except KmsError as refused:
        if refused.code in codes:
            return None
        raise
