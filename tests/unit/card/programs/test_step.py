from kms.card.programs.base import Batch, Evidence, Finished
from kms.card.programs.replace_keys import ReplaceKeys
from kms.card.programs.step import Step
from tests.unit.card.programs.runner import build_card, our_set, parameters, run, vendor_set


def test_a_step_goes_on_or_ends_and_brings_its_proofs_either_way() -> None:
    on = Step(batch=Batch((b"\x00\xa4\x04\x00",)), proved=(Evidence("a", 1),))
    assert on.outcome is None
    end = Step(outcome=Finished(), proved=(Evidence("a", 1),))
    assert end.batch is None
    assert end.state is None


def test_commands_show_in_no_repr() -> None:
    batch = run(ReplaceKeys(parameters(), vendor_set(), our_set(1)), build_card()).batches[1]
    assert batch.commands[1].hex() not in repr(Step(batch=batch))
    assert str(batch.commands[1]) not in repr(Step(batch=batch))
