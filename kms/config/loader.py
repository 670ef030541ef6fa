"""Loading the configuration file: read, check everything, build the frozen values or report every fault at once."""

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from kms.config.cross_checks import find_cross_faults
from kms.config.faults import TomlTable, build_json, parse_faults, read_toml
from kms.config.profiles import load_profiles
from kms.config.values import Config, Sections
from kms.domain.card_ranges import CardRange
from kms.errors import Code, Fault, KmsError

_SECTIONS = TypeAdapter(Sections)


def load_config(path: Path) -> Config:
    """Read a configuration file and its card profiles. Raises `config.invalid` with every fault and its field."""
    raw = read_toml(path)
    if isinstance(raw, Fault):
        raise _error(path, (raw,))
    base_dir = _find_base_dir(path, raw)
    sections: Sections | None = None
    faults: tuple[Fault, ...] = ()
    try:
        sections = _SECTIONS.validate_json(build_json(raw), context={"base_dir": base_dir})
    except ValidationError as error:
        faults = parse_faults(path, error)
    faults += find_cross_faults(path, raw)
    profiles_dir = _find_profiles_dir(base_dir, raw)
    profiles, profile_faults = load_profiles(profiles_dir) if profiles_dir else ({}, ())
    faults += profile_faults
    if sections is None or faults:
        raise _error(path, faults)
    return Config(
        source=path,
        platform=sections.platform,
        database=sections.database,
        hsm=sections.hsm,
        server=sections.server,
        visits=sections.visits,
        audit=sections.audit,
        recovery=sections.recovery,
        approvals=sections.approvals,
        console=sections.console,
        ceremonies=sections.ceremonies,
        scheduler=sections.scheduler,
        metrics=sections.metrics,
        cards=sections.cards,
        keys=sections.keys,
        applications=sections.applications,
        profiles=profiles,
        peers=sections.peers,
        card_ranges=tuple(CardRange(entry.first, entry.last, entry.issuer) for entry in sections.card_ranges),
    )


def _find_base_dir(path: Path, raw: TomlTable) -> Path:
    """Find the absolute folder that relative paths start from; a `base_dir` of the wrong type is the schema's fault."""
    given = raw.get("base_dir", ".")
    return (path.parent / given if isinstance(given, str) else path.parent).resolve()


def _find_profiles_dir(base_dir: Path, raw: TomlTable) -> Path | None:
    """Find the profiles' folder as written, so that their faults show together with the file's own."""
    cards = raw.get("cards")
    given = cards.get("profiles_dir") if isinstance(cards, dict) else None
    return base_dir / given if isinstance(given, str) else None


def _error(path: Path, faults: tuple[Fault, ...]) -> KmsError:
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return KmsError(
        Code.CONFIG_INVALID, f"The configuration {path} has {count}; mend each and start again", faults=faults
    )
