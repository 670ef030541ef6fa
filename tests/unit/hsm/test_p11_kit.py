import ctypes
from pathlib import Path

import pytest

from kms.errors import Code, KmsError
from kms.hsm import p11_kit


def test_without_p11_kit_the_setting_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def load(name: str) -> ctypes.CDLL:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", load)
    with pytest.raises(KmsError, match=r"hsm\.p11_kit_modules") as failure:
        p11_kit.use_modules(tmp_path)
    assert failure.value.code is Code.HSM_UNAVAILABLE
