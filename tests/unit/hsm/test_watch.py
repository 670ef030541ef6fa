import threading

from kms.errors import Code, KmsError
from kms.hsm.gateway import Gateway
from kms.hsm.settings import HsmSettings
from kms.hsm.watch import Watch

SETTINGS = HsmSettings("/nonexistent/library.so", "label", "pin", call_timeout_s=0.04, heartbeat_s=0.01)


class ScriptedGateway(Gateway):
    """A gateway whose calls take as long as it says."""

    call_age = 0.0

    def __init__(self) -> None:
        super().__init__(SETTINGS)
        self.asked_twice = threading.Event()
        self._asked = 0

    def get_call_age(self) -> float:
        return self.call_age

    def ask_sign_of_life(self) -> None:
        self._asked += 1
        if self._asked > 1:
            self.asked_twice.set()
        raise KmsError(Code.HSM_UNAVAILABLE, "away")


def test_an_hsm_that_is_away_is_asked_again_and_again() -> None:
    gateway, hung = ScriptedGateway(), threading.Event()
    watch = Watch(gateway, hung.set)
    watch.start()
    assert gateway.asked_twice.wait(5)
    watch.stop()
    assert not hung.is_set()


def test_a_hanging_call_is_told_once() -> None:
    gateway = ScriptedGateway()
    told: list[str] = []
    hung = threading.Event()

    def on_hang() -> None:
        told.append("hang")
        hung.set()

    gateway.call_age = 1.0
    watch = Watch(gateway, on_hang)
    watch.start()
    assert hung.wait(5)
    watch.stop()
    assert told == ["hang"]
