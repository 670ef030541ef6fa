"""Card profiles from TOML: one file per profile, named after it, fields as in `kms.card.profile.CardProfile`.

Rules: the profile's fields and types are the class's own, byte strings are written as hex, unknown keys are refused.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints

from pydantic import BaseModel, ValidationError, create_model

from kms.card.profile import CardProfile
from kms.config.faults import build_json, parse_faults, read_toml
from kms.config.schema import STRICT
from kms.errors import Fault, KmsError


def load_profiles(folder: Path) -> tuple[Mapping[str, CardProfile], tuple[Fault, ...]]:
    """Read every `NAME.toml` of a folder: the profiles by name, and every fault of every file."""
    if not folder.is_dir():
        return {}, (Fault(str(folder), "The folder of card profiles is not there"),)
    model = _build_model()
    profiles: dict[str, CardProfile] = {}
    faults: list[Fault] = []
    for path in sorted(folder.glob("*.toml")):
        found = _load_profile(path, model)
        if isinstance(found, CardProfile):
            profiles[found.name] = found
        else:
            faults.extend(found)
    return MappingProxyType(profiles), tuple(faults)


def _load_profile(path: Path, model: type[BaseModel]) -> CardProfile | tuple[Fault, ...]:
    raw = read_toml(path)
    if isinstance(raw, Fault):
        return (raw,)
    if raw.get("name", path.stem) != path.stem:
        return (Fault(f"{path}: name", f"Must be the file's own name, {path.stem}"),)
    try:
        checked = model.model_validate_json(build_json({**raw, "name": path.stem}))
        return CardProfile(**{name: getattr(checked, name) for name in model.model_fields})
    except ValidationError as error:
        return parse_faults(path, error)
    except KmsError as error:  # the class's own rules, which join fields
        return tuple(Fault(f"{path}: {fault.where}", fault.what) for fault in error.faults)


def _build_model() -> type[BaseModel]:
    """Build a strict schema with the fields, types and defaults of `CardProfile`."""
    types = get_type_hints(CardProfile)
    fields: dict[str, Any] = {item.name: (types[item.name], _default(item)) for item in dataclasses.fields(CardProfile)}
    return create_model("CardProfileFile", __config__=STRICT, **fields)


def _default(item: dataclasses.Field[Any]) -> Any:  # noqa: ANN401 (a default is of its field's type)
    if item.default is not dataclasses.MISSING:
        return item.default
    return item.default_factory() if item.default_factory is not dataclasses.MISSING else ...
