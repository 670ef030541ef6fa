"""Rules that join the fields of peers, card ranges and the platform's role, over the file's raw tables.

Rules: as in `kms.config.cross_checks`.
"""

from collections.abc import Iterator
from typing import Any

from kms.config.faults import TomlTable

_ISSUER_FIELDS = ("url", "ca", "client_certificate", "client_key")
_PROVIDER_FIELDS = ("allowed_aids", "allowed_privileges")
_PROVIDER_LIMITS = ("max_open_transfers", "max_transfers_per_day", "hand_over_valid_minutes")

Found = Iterator[tuple[str, str]]


def find_peer_faults(raw: TomlTable) -> Found:
    """Every broken rule of peers, ranges and role."""
    peers, ranges = _tables(raw, "peers"), _tables(raw, "card_ranges")
    platform = raw.get("platform")
    name = platform.get("name") if isinstance(platform, dict) else None
    role = platform.get("role") if isinstance(platform, dict) else None
    for number, peer in peers:
        where = f"peers[{number}]"
        yield from _check_pin(where, peer)
        yield from _check_fields(where, peer)
        if peer.get("name") == name is not None:
            yield f"{where}.name", "Is this platform's own name"
        if role is not None and peer.get("role") == role:
            yield f"{where}.role", f"A platform whose role is {role} has no {role} as its peer"
    for field in ("name", "certificate_fingerprint", "certificate"):
        yield from _check_unique(peers, field)
    yield from _check_role(raw, role, has_ranges=bool(ranges))
    yield from _check_ranges(ranges, {peer.get("name") for _, peer in peers if peer.get("role") == "issuer"})


def _tables(raw: TomlTable, name: str) -> list[tuple[int, dict[str, Any]]]:
    found = raw.get(name)
    return [
        (number, item) for number, item in enumerate(found if isinstance(found, list) else []) if isinstance(item, dict)
    ]


def _check_pin(where: str, peer: dict[str, Any]) -> Found:
    if ("certificate_fingerprint" in peer) == ("certificate" in peer):
        yield f"{where}.certificate_fingerprint", "Give exactly one of certificate_fingerprint and certificate"


def _check_fields(where: str, peer: dict[str, Any]) -> Found:
    role = peer.get("role")
    needed, foreign = {
        "issuer": (_ISSUER_FIELDS, _PROVIDER_FIELDS + _PROVIDER_LIMITS),
        "provider": (_PROVIDER_FIELDS, _ISSUER_FIELDS),
    }.get(role if isinstance(role, str) else "", ((), ()))
    for field in needed:
        if field not in peer:
            yield f"{where}.{field}", f"Missing: a peer that is {_article(role)} needs it"
    for field in foreign:
        if field in peer:
            yield f"{where}.{field}", f"Does not apply to a peer that is {_article(role)}"


def _article(role: object) -> str:
    return "an issuer" if role == "issuer" else "a provider"


def _check_unique(peers: list[tuple[int, dict[str, Any]]], field: str) -> Found:
    seen: dict[str, int] = {}
    for number, peer in peers:
        value = peer.get(field)
        if isinstance(value, str) and (first := seen.setdefault(value.lower(), number)) != number:
            yield f"peers[{number}].{field}", f"Is the same as that of peers[{first}]"


def _check_role(raw: TomlTable, role: object, *, has_ranges: bool) -> Found:
    managed = [(number, entry.get("managed_by", "issuer")) for number, entry in _tables(raw, "applications")]
    for number, by in managed:
        if role in {"issuer", "provider"} and by in {"issuer", "provider"} and by != role:
            yield f"applications[{number}].managed_by", f"This platform's role is {role}: it manages no SSD as {by}"
    if has_ranges and role == "issuer":
        yield "card_ranges", "An issuer's platform knows its own cards: only a provider has ranges"
    if not has_ranges and role in {"provider", "both"} and any(by == "provider" for _, by in managed):
        yield "card_ranges", "Missing: applications that a provider manages need to know whose cards it meets"


def _check_ranges(ranges: list[tuple[int, dict[str, Any]]], issuers: set[object]) -> Found:
    taken: list[tuple[int, bytes, bytes]] = []
    for number, entry in ranges:
        where = f"card_ranges[{number}]"
        if isinstance(entry.get("issuer"), str) and entry["issuer"] not in issuers:
            yield f"{where}.issuer", "Is not the name of a peer whose role is issuer"
        first, last = _hex(entry.get("from")), _hex(entry.get("to"))
        if first is None or last is None:
            continue
        if len(first) != len(last):
            yield f"{where}.to", "Must be as long as from: identities of different lengths are not in one range"
        elif first > last:
            yield f"{where}.to", "Is before from"
        else:
            for other, low, high in taken:
                if len(low) == len(first) and low <= last and first <= high:
                    yield f"{where}.from", f"The range overlaps that of card_ranges[{other}]"
            taken.append((number, first, last))


def _hex(value: object) -> bytes | None:
    try:
        return bytes.fromhex(value) if isinstance(value, str) else None
    except ValueError:
        return None
