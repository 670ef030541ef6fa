import os

import pytest

from kms.errors import Code, KmsError
from kms.hsm.library import Library, get_library


def test_a_process_has_one_library_for_a_path_and_so_one_lock() -> None:
    assert get_library("/nonexistent/a.so") is get_library("/nonexistent/a.so")
    assert get_library("/nonexistent/a.so") is not get_library("/nonexistent/b.so")


def test_a_library_that_was_not_initialised_may_cross_a_fork_and_another_may_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = Library("/nonexistent/a.so")
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -1)
        library.check_process()
    library.epoch = 1
    library.check_process()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(KmsError, match="fork") as failure:
        library.check_process()
    assert failure.value.code is Code.HSM_UNAVAILABLE


def test_nothing_is_found_before_it_is_initialised() -> None:
    library = Library("/nonexistent/a.so")
    assert not library.is_initialised
    assert library.find_token("label") is None
