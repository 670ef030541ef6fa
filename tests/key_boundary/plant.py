"""Gives a token values in every form in which they must not cross: a child process of its test, behind pkcs11-spy.

Run as `python -m tests.key_boundary.plant` with `settings` (of `HsmSettings`) and `values` (bytes in hex, by form) as
JSON on standard input. Each value crosses as a label, as data to encipher, as data to sign, and as what comes back.
"""

import json
import sys
from typing import Any

from pkcs11 import Attribute, KeyType, Mechanism

from kms.hsm.library import get_library
from kms.hsm.settings import HsmSettings


def main() -> None:
    asked = json.load(sys.stdin)
    settings = HsmSettings(**asked["settings"])
    library = get_library(settings.module)
    library.initialise(settings.environment)
    token = library.find_token(settings.token_label)
    assert token is not None
    with token.open(user_pin=settings.pin) as session:
        key: Any = session.generate_key(KeyType.AES, 256, template={Attribute.TOKEN: False})
        for value in map(bytes.fromhex, asked["values"].values()):
            list(session.get_objects({Attribute.ID: value}))
            padded = value + bytes(-len(value) % 16)
            enciphered = key.encrypt(padded, mechanism=Mechanism.AES_ECB)
            key.decrypt(enciphered, mechanism=Mechanism.AES_ECB)
            key.sign(value, mechanism=Mechanism.AES_CMAC)
        key.destroy()


if __name__ == "__main__":
    main()
