"""The published values the trials compare with, computed again by the `cryptography` package."""

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from pkcs11 import Mechanism

from kms.hsm import trials


def encrypt(algorithm: AES | TripleDES, data: bytes, iv: bytes | None = None) -> bytes:
    mode = modes.ECB() if iv is None else modes.CBC(iv)  # noqa: S305 - known answers of this mode
    encryptor = Cipher(algorithm, mode).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def triple_des(value: bytes) -> TripleDES:
    return TripleDES((value + value[:8])[:24])


def test_the_aes_answers_are_right() -> None:
    assert encrypt(AES(trials.AES_KEY), trials.AES_PLAIN) == trials.AES_CIPHER
    assert encrypt(AES(trials.AES_CIPHER), bytes(16)) == trials.AES_DERIVED_ZERO
    mac = CMAC(AES(trials.CMAC_KEY))
    mac.update(trials.CMAC_MESSAGE)
    assert mac.finalize() == trials.CMAC_VALUE


def test_the_triple_des_answers_are_right() -> None:
    key = triple_des(trials.DES_KEY)
    assert encrypt(key, bytes(8)) == trials.DES_ZERO_CIPHER
    assert encrypt(key, bytes(16), bytes(8)) == trials.DES_CBC_CIPHER
    derived = triple_des(encrypt(key, bytes(16), bytes(8)))
    assert encrypt(derived, bytes(8)) == trials.DES_CBC_DERIVED_ZERO
    assert encrypt(TripleDES(trials.DES_ZERO_CIPHER * 3), bytes(16), bytes(8)) == trials.DES3_CBC_CIPHER


def test_each_trial_names_a_mechanism_and_says_what_it_is_for() -> None:
    names = [trial.name for trial in trials.TRIALS]
    assert len(set(names)) == len(names)
    assert all(trial.name in Mechanism.__members__ and trial.why for trial in trials.TRIALS)
