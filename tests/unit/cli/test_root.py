import json

import click
import pytest
from click.testing import CliRunner, Result

from kms.cli.context import Invocation, json_option
from kms.cli.root import RootGroup
from kms.errors import Code, Fault, KmsError

SECRET = "404142434445464748494A4B4C4D4E4F"


@click.group(cls=RootGroup)
def root() -> None:
    """Commands that end in every way a command can."""


@root.command()
@json_option
def fail(as_json: bool) -> None:
    assert as_json in {True, False}
    raise KmsError(Code.INPUT_INVALID, "The file has 2 faults.", faults=(Fault("line 1", "a"), Fault("line 2", "b")))


@root.command()
def fail_often() -> None:
    raise KmsError(Code.INPUT_INVALID, "Faults.", faults=tuple(Fault(f"line {line}", "x") for line in range(300)))


@root.command()
@json_option
def crash(as_json: bool) -> None:
    assert as_json in {True, False}
    raise ValueError(SECRET)


@root.command()
def interrupt() -> None:
    raise KeyboardInterrupt


@root.command()
@click.pass_context
def leave(ctx: click.Context) -> None:
    ctx.exit(7)


@root.command()
@click.argument("number", type=int)
def work(number: int) -> None:
    click.echo(number)


def run(*arguments: str, **options: object) -> Result:
    return CliRunner().invoke(root, arguments, **options)  # type: ignore[arg-type] # click's own options


def test_success() -> None:
    result = run("work", "5")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "5\n", "")


def test_an_error_is_told_with_its_code_and_each_fault_on_its_line() -> None:
    result = run("fail")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "Error [input.invalid] The file has 2 faults.",
        "  line 1: a",
        "  line 2: b",
    ]


def test_an_error_is_json_when_json_was_asked_for() -> None:
    result = run("fail", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert json.loads(result.stderr) == {
        "code": "input.invalid",
        "detail": "The file has 2 faults.",
        "faults": [{"where": "line 1", "what": "a"}, {"where": "line 2", "what": "b"}],
    }


def test_a_flood_of_faults_is_cut_and_says_so() -> None:
    lines = run("fail-often").stderr.splitlines()
    assert len(lines) == 202
    assert lines[-1] == "  and 100 more (--json shows all)"


def test_a_fault_of_ours_shows_a_reference_and_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KMS_DEBUG", raising=False)
    result = run("crash")
    assert result.exit_code == 70
    assert SECRET not in result.output
    assert "reference" in result.stderr
    assert "Traceback" not in result.stderr
    told = json.loads(run("crash", "--json").stderr)
    assert told["code"] == "platform.internal"
    assert told["reference"] in told["detail"]


def test_debug_shows_where() -> None:
    invocation = Invocation()
    invocation.debug = True
    assert "Traceback" in run("crash", obj=invocation).stderr
    assert "Traceback" in run("crash", env={"KMS_DEBUG": "1"}).stderr


def test_control_c() -> None:
    result = run("interrupt")
    assert result.exit_code == 130
    assert "Interrupted" in result.stderr


def test_a_commands_own_exit_code() -> None:
    assert run("leave").exit_code == 7


@pytest.mark.parametrize("arguments", [("nothing",), ("work", "five"), ("work",), ("work", "--strange")])
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_what_a_command_opened_is_closed_whatever_happens() -> None:
    for command in ("work", "fail", "crash", "interrupt"):
        closed: list[str] = []
        invocation = Invocation()
        invocation.resources.callback(closed.append, command)
        run(command, *(["5"] if command == "work" else []), obj=invocation)
        assert closed == [command]


def test_a_caller_that_wants_the_exception_gets_it() -> None:
    with pytest.raises(KmsError):
        root.main(["fail"], standalone_mode=False)
