"""What a configuration is known by: a digest over its files.

Rules: the files as they are, byte for byte, so that any change of them shows. PINs and passwords are in none of them.
"""

import hashlib

from kms.config.values import Config


def compute_digest(config: Config) -> str:
    """SHA-256 over the configuration file and the card profiles that it names, with their names; in hex."""
    digest = hashlib.sha256()
    for path in (config.source, *sorted(config.cards.profiles_dir.glob("*.toml"))):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
