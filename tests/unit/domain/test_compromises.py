from kms.domain.compromises import FOR_OFFICERS, Affected, Remedy


def test_what_needs_people_is_counted_and_the_rest_is_not() -> None:
    assert Affected(dict.fromkeys(Remedy, 2)).for_officers == 2 * len(FOR_OFFICERS)
    assert Affected({Remedy.CAMPAIGN: 9, Remedy.DONE: 9, Remedy.NOT_KEYED: 9}).for_officers == 0
