"""Every lasting object of the token held against what is on record (R19): expected ones as made, others reported.

Rules: nothing is believed from an earlier look. A key that is not as it was made loses its place in the connection, so
its next use looks it up, and is refused, again. Reading alone: nothing is repaired or removed here.
"""

from collections.abc import Iterator, Sequence

from pkcs11 import Attribute, Object
from pkcs11.types import DecryptMixin, UnwrapMixin, WrapMixin

from kms.domain.token_objects import ExpectedObject, ObjectFinding, ObjectReport, UnexpectedObject
from kms.errors import KmsError
from kms.hsm.connection import Connection
from kms.hsm.key_pairs import check_key_pair
from kms.hsm.masters import get_master


def check_objects(connection: Connection, expected: Sequence[ExpectedObject], now: float) -> ObjectReport:
    """See `Vault.check_objects`. About ten calls for each object. `now`: monotonic seconds."""
    connection.check_mechanisms()
    known = {item.object_id for item in expected}
    return ObjectReport(
        tuple(_check(connection, item, now) for item in expected if item.is_made),
        tuple(_find_unexpected(connection, known)),
    )


def _check(connection: Connection, item: ExpectedObject, now: float) -> ObjectFinding:
    connection.masters.pop(item.object_id, None)
    try:
        if item.master is not None:
            get_master(connection, item.master, now)
        if item.pair is not None:
            check_key_pair(connection, item.object_id, *item.pair, now)
    except KmsError as error:
        connection.masters.pop(item.object_id, None)
        return ObjectFinding(item.name, item.object_id, error.code, error.detail)
    return ObjectFinding(item.name, item.object_id, None, "")


def _find_unexpected(connection: Connection, known: set[bytes]) -> Iterator[UnexpectedObject]:
    for found in list(connection.hsm_session.get_objects({Attribute.TOKEN: True})):
        names = found.get_attributes([Attribute.ID, Attribute.LABEL, Attribute.CLASS])
        object_id = names.get(Attribute.ID) or b""
        if object_id not in known:
            kind = names.get(Attribute.CLASS)
            yield UnexpectedObject(
                object_id,
                str(names.get(Attribute.LABEL) or ""),
                str(getattr(kind, "name", kind)).lower().replace("_", " "),
                is_dangerous(found),
            )


def is_dangerous(found: Object) -> bool:
    """Whether an object could both wrap a key and open what it wrapped."""
    # Wrap, then decrypt or unwrap as something readable, and the wrapped key is out.
    return isinstance(found, WrapMixin) and isinstance(found, DecryptMixin | UnwrapMixin)
