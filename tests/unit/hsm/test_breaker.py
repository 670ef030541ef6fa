from kms.hsm.breaker import Breaker


def test_nothing_waits_before_the_first_failure() -> None:
    breaker = Breaker(0.25, 2.0)
    assert not breaker.is_tripped
    assert breaker.get_pause(now=100.0) == 0.0


def test_each_failure_in_a_row_doubles_the_pause_up_to_the_longest() -> None:
    breaker = Breaker(0.25, 2.0)
    pauses = []
    for _ in range(5):
        breaker.record_failure(now=10.0)
        pauses.append(breaker.get_pause(now=10.0))
    assert pauses == [0.25, 0.5, 1.0, 2.0, 2.0]
    assert breaker.is_tripped


def test_the_pause_runs_out() -> None:
    breaker = Breaker(0.25, 2.0)
    breaker.record_failure(now=10.0)
    assert breaker.get_pause(now=10.2) > 0
    assert breaker.get_pause(now=10.25) == 0


def test_a_success_starts_over() -> None:
    breaker = Breaker(0.25, 2.0)
    breaker.record_failure(now=10.0)
    breaker.record_failure(now=11.0)
    breaker.record_success()
    assert not breaker.is_tripped
    breaker.record_failure(now=20.0)
    assert breaker.get_pause(now=20.0) == 0.25


def test_many_failures_do_not_overflow() -> None:
    breaker = Breaker(0.25, 2.0)
    for _ in range(5000):
        breaker.record_failure(now=10.0)
    assert breaker.get_pause(now=10.0) == 2.0
