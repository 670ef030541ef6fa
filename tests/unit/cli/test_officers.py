from pathlib import Path

import pytest
from click.testing import CliRunner

from kms.cli import cli
from tests.fakes.command_line import check_wrong_usage, read_help


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("init", "--officer", "alice"), "LOGIN=NAME"),
        (("init", "--administrator", "=Adam"), "LOGIN=NAME"),
        (("init", "--people", "/nowhere/people.toml"), "does not exist"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_opened(arguments: tuple[str, ...], what: str) -> None:
    check_wrong_usage("officers", *arguments, what=what)


def test_help_names_every_command() -> None:
    assert read_help("officers") == ["init", "list"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[[people]", "cannot be read as TOML"),
        ("people = 5", "[[people]] tables and nothing else"),
        ('[[people]]\nname = "A"\nlogin = "aa"\nroles = []\n[more]', "nothing else"),
        ('[[people]]\nname = "A"\nlogin = "aa"', "person 1: needs name, login and roles"),
        ('[[people]]\nname = 5\nlogin = "aa"\nroles = []', "person 1: name and login are texts"),
        ('[[people]]\nname = "A"\nlogin = "aa"\nroles = ["king"]', "person 1: 'king' is not a valid Role"),
    ],
)
def test_a_file_of_people_with_faults_is_refused_before_all_else(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "people.toml"
    path.write_text(text)
    result = CliRunner().invoke(cli, ["--config", "/nowhere/issuer.toml", "officers", "init", "--people", str(path)])
    assert result.exit_code == 1
    assert what in result.stderr
    assert result.stdout == ""
