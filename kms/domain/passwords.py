"""What a password may be (NIST SP 800-63B section 5.1.1): long, and none of those that everybody tries first.

Rules: no rules of composition, no forced change. Text is taken in its NFC form, so that the same characters are the
same password on every keyboard.
"""

import unicodedata

from kms.errors import Code, KmsError

MIN_LENGTH = 12  # characters
MAX_LENGTH = 128
MIN_DIFFERENT = 5  # characters

# Long ones of the published lists of leaked passwords, without the digits and signs that people put after them.
COMMON = frozenset(
    """
    password passwordpassword passw0rd p@ssword p@ssw0rd mypassword thisismypassword iloveyou iloveyouforever qwerty
    qwertyuiop qwertyqwerty qwertyuiopasdf qwertyuiopasdfgh qwertyuiopasdfghjkl 1q2w3e4r5t6y 1qaz2wsx3edc
    1qaz2wsx3edc4rfv q1w2e3r4t5y6 zaq12wsxcde3 asdfghjkl asdfghjklzxcvbnm zxcvbnmasdfghjkl abcdefghijkl abcdefghijklm
    administrator adminadmin adminadminadmin welcome welcomewelcome letmein letmeinletmein changeme changemechangeme
    changeit supersecret topsecret mastermaster masterkey trustno monkeymonkey dragondragon sunshinesunshine
    princessprincess footballfootball baseballbaseball superman batman starwars unknown default secret secretsecret
    correcthorsebatterystaple manchesterunited liverpoolfc
    """.split()  # noqa: SIM905 - a list of words reads as one
)


def normalise_password(password: str) -> str:
    """The one form in which a password is hashed and compared; cut to one character more than is allowed."""
    return unicodedata.normalize("NFC", password[: MAX_LENGTH + 1])[: MAX_LENGTH + 1]


def check_password(password: str, *, login: str, name: str) -> None:
    """Raise `input.invalid` for a password that is too short, too long, or easily guessed. Never shows it."""
    password = normalise_password(password)
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise KmsError(Code.INPUT_INVALID, f"A password has {MIN_LENGTH} to {MAX_LENGTH} characters.")
    plain = password.casefold()
    core = plain.strip("0123456789!?.,;:-_+*#$%&/()=@ ")
    own = {login.casefold(), *(part for part in name.casefold().split() if len(part) > 2)}
    remains = core
    for word in sorted(own, key=len, reverse=True):
        remains = remains.replace(word, "")
    if core in COMMON or plain in COMMON or not remains or len(set(plain)) < MIN_DIFFERENT:
        raise KmsError(
            Code.INPUT_INVALID, "This password is among the first that are tried: take several words of your own."
        )
