import pytest

from kms.config import load_config
from tests.unit.config.conftest import WriteConfig, find_faults
from tests.unit.config.peer_texts import ISSUER_PEER, MANAGED, PIN, PROVIDER_PEER, RANGE, ROLE

BOTH = ('role = "issuer"', 'role = "both"')


def _faults(write_config: WriteConfig, *changes: tuple[str, str], more: str) -> dict[str, str]:
    path = write_config(*changes)
    path.write_text(path.read_text() + more)
    return find_faults(path)


def test_a_platform_of_both_roles_has_peers_of_both(write_config: WriteConfig) -> None:
    path = write_config(BOTH, MANAGED)
    path.write_text(path.read_text() + PROVIDER_PEER + ISSUER_PEER + RANGE)
    assert [peer.name for peer in load_config(path).peers] == ["bikes", "bank"]


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        (PROVIDER_PEER.replace("certificate_fingerprint", "#"), "peers[0].certificate_fingerprint", "exactly one"),
        (PROVIDER_PEER + 'certificate = "x.pem"\n', "peers[0].certificate_fingerprint", "exactly one"),
        (PROVIDER_PEER.replace("allowed_aids", "#"), "peers[0].allowed_aids", "Missing: a peer that is a provider"),
        (PROVIDER_PEER.replace("allowed_privileges", "#"), "peers[0].allowed_privileges", "Missing"),
        (PROVIDER_PEER + 'url = "https://x"\n', "peers[0].url", "Does not apply to a peer that is a provider"),
        (PROVIDER_PEER.replace('"bikes"', '"issuer"'), "peers[0].name", "own name"),
        (PROVIDER_PEER + PROVIDER_PEER.replace(PIN, "cd" * 32), "peers[1].name", "same as that of peers[0]"),
        (
            PROVIDER_PEER + PROVIDER_PEER.replace('"bikes"', '"boats"').replace("ab", "AB"),
            "peers[1].certificate_fingerprint",
            "same as that of peers[0]",
        ),
        (ISSUER_PEER, "peers[0].role", "no issuer as its peer"),
    ],
)
def test_peers_of_an_issuer_that_do_not_fit_are_named(
    write_config: WriteConfig, text: str, where: str, what: str
) -> None:
    faults = _faults(write_config, more=text)
    assert what in faults[where]
    assert len(faults) == 1


@pytest.mark.parametrize("field", ["url", "ca", "client_certificate", "client_key"])
def test_an_issuer_can_be_called_only_with_all_it_takes(write_config: WriteConfig, field: str) -> None:
    lines = [line for line in ISSUER_PEER.splitlines() if not line.startswith(f"{field} =")]
    faults = _faults(write_config, ROLE, MANAGED, more="\n".join(lines) + RANGE)
    assert faults == {f"peers[0].{field}": "Missing: a peer that is an issuer needs it"}


def test_what_a_provider_may_ask_for_says_nothing_of_an_issuer(write_config: WriteConfig) -> None:
    peer = ISSUER_PEER + 'allowed_aids = ["A000000952"]\nmax_open_transfers = 1\n'
    faults = _faults(write_config, ROLE, MANAGED, more=peer + RANGE)
    assert faults.keys() == {"peers[0].allowed_aids", "peers[0].max_open_transfers"}


def test_a_provider_has_no_provider(write_config: WriteConfig) -> None:
    faults = _faults(write_config, ROLE, MANAGED, more=PROVIDER_PEER + ISSUER_PEER + RANGE)
    assert faults.keys() == {"peers[0].role"}


def test_the_catalogue_fits_the_role(write_config: WriteConfig) -> None:
    assert find_faults(write_config(MANAGED)).keys() == {"applications[0].managed_by"}
    faults = _faults(write_config, ROLE, more=ISSUER_PEER + RANGE)
    assert faults == {"applications[0].managed_by": "This platform's role is provider: it manages no SSD as issuer"}


def test_a_provider_needs_to_know_whose_cards_it_meets(write_config: WriteConfig) -> None:
    assert "Missing" in _faults(write_config, ROLE, MANAGED, more=ISSUER_PEER)["card_ranges"]
    assert "Missing" in _faults(write_config, BOTH, MANAGED, more=ISSUER_PEER)["card_ranges"]


def test_an_issuer_has_no_ranges(write_config: WriteConfig) -> None:
    assert "only a provider" in _faults(write_config, more=RANGE)["card_ranges"]


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        (RANGE.replace('"bank"', '"nobody"'), "card_ranges[0].issuer", "Is not the name of a peer"),
        (RANGE.replace("47FF", "47FF00"), "card_ranges[0].to", "as long as from"),
        (RANGE.replace("47FF", "46FF"), "card_ranges[0].to", "Is before from"),
        (
            RANGE + RANGE.replace("4700", "47FF").replace('to = "47FF"', 'to = "4800"'),
            "card_ranges[1].from",
            "overlaps",
        ),
        (RANGE + RANGE.replace("4700", "4600"), "card_ranges[1].from", "overlaps that of card_ranges[0]"),
        (RANGE.replace("4700", "470"), "card_ranges[0].from", "hex"),
        (RANGE.replace("from =", "first ="), "card_ranges[0].from", "Missing"),
    ],
)
def test_ranges_that_do_not_fit_are_named(write_config: WriteConfig, text: str, where: str, what: str) -> None:
    assert what in _faults(write_config, ROLE, MANAGED, more=ISSUER_PEER + text)[where]


def test_ranges_side_by_side_and_of_other_lengths_are_fine(write_config: WriteConfig) -> None:
    path = write_config(ROLE, MANAGED)
    next_one = RANGE.replace("4700", "4800").replace("47FF", "48FF")
    longer = RANGE.replace("4700", "470000").replace("47FF", "47FFFF")
    path.write_text(path.read_text() + ISSUER_PEER + RANGE + next_one + longer)
    assert len(load_config(path).card_ranges) == 3
