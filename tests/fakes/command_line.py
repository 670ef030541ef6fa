"""The `kms` command line without an installation: what can be said before a configuration is read."""

from click.testing import CliRunner

from kms.cli import cli


def check_wrong_usage(*arguments: str, what: str) -> None:
    result = CliRunner().invoke(cli, ["--config", "/nowhere/issuer.toml", *arguments])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert what in result.stderr


def read_help(group: str) -> list[str]:
    """Names of the commands that a group's help lists."""
    text = CliRunner().invoke(cli, [group, "--help"]).stdout
    _, commands = text.split("Commands:\n")
    return [line.split()[0] for line in commands.splitlines() if line.startswith("  ") and line[2] != " "]
