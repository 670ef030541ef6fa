"""The forms that fields of several sections share.

Rules: byte strings are written as hex, paths are absolute once loaded (`base_dir` comes as the validation context).
"""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo

from kms.domain.transfers import PLATFORM_NAME

# Bytes as hex; no coercion between types; no unknown keys.
STRICT = ConfigDict(extra="forbid", strict=True, val_json_bytes="hex")

_SECURITY_DOMAIN = 0x80  # GP Card Specification 2.3.1 table 11-7, privileges byte 1 b8


def find_base_dir(info: ValidationInfo) -> Path:
    """Find the folder that relative paths start from."""
    return info.context["base_dir"] if isinstance(info.context, dict) else Path()


def _resolve_path(path: Path, info: ValidationInfo) -> Path:
    return find_base_dir(info) / path


def _check_privileges(privileges: bytes) -> bytes:
    if len(privileges) not in {1, 3}:
        raise ValueError("Must be 1 or 3 bytes long (GP 2.3.1 section 11.1.2)")
    if not privileges[0] & _SECURITY_DOMAIN:
        raise ValueError("Must have the security domain privilege (80 in the first byte)")
    return privileges


ResolvedPath = Annotated[Path, AfterValidator(_resolve_path)]
Aid = Annotated[bytes, Field(min_length=5, max_length=16)]  # ISO/IEC 7816-5: RID of 5 bytes, PIX of up to 11
Privileges = Annotated[bytes, AfterValidator(_check_privileges)]
PlatformName = Annotated[str, Field(pattern=f"^{PLATFORM_NAME}$")]
