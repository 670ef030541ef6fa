import os

from bench.cpu import list_children, read_children_cpu, read_cpu


def test_the_cpu_of_a_process_only_grows_and_is_that_of_this_process_here() -> None:
    before = read_cpu(os.getpid())
    assert 0 < before <= read_cpu(os.getpid()) <= sum(os.times()[:2]) + 0.05


def test_a_process_without_children_has_their_cpu_too() -> None:
    assert read_children_cpu(os.getpid()) == sum(read_cpu(child) for child in list_children(os.getpid()))
