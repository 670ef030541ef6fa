import pytest

from kms.domain.fitness import Finding, Severity, build_token_name, check_token_allowed
from kms.errors import Code, KmsError

NAME = "Maker:Model 7:0123"


def test_a_token_is_named_by_what_it_says_itself() -> None:
    assert build_token_name("Maker ", "Model 7", " 0123") == NAME


def test_a_token_of_the_list_is_taken() -> None:
    check_token_allowed(NAME, "Model 7", ("Other:Model 7:9", NAME))


@pytest.mark.parametrize(
    ("name", "model", "allowed"),
    [
        (NAME, "Model 7", ()),
        (NAME, "Model 7", ("Maker:Model 7:0124",)),
        (NAME, "Model 7", ("Maker:Model 7:01234",)),
        ("SoftHSM project:SoftHSM v2:1", "SoftHSM v2", ("SoftHSM project:SoftHSM v2:1",)),
        ("Mozilla Foundation:NSS 3:0", "NSS 3", ("Mozilla Foundation:NSS 3:0",)),
    ],
    ids=["empty list", "another serial", "longer serial", "SoftHSM2 though listed", "NSS though listed"],
)
def test_any_other_token_is_refused_by_its_name(name: str, model: str, allowed: tuple[str, ...]) -> None:
    with pytest.raises(KmsError) as caught:
        check_token_allowed(name, model, allowed)
    assert caught.value.code is Code.HSM_TOKEN
    assert name in caught.value.detail


@pytest.mark.parametrize(("severity", "in_the_way"), list(zip(Severity, (True, True, False), strict=True)))
def test_only_a_weakness_is_left_to_the_site(severity: Severity, in_the_way: bool) -> None:
    finding = Finding("database.url", severity, "the database is SQLite", "one file", "Use PostgreSQL")
    assert finding.is_in_the_way is in_the_way
    fault = finding.build_fault()
    assert (fault.where, fault.what) == (
        "database.url",
        "Production mode refuses: the database is SQLite. Use PostgreSQL",
    )
