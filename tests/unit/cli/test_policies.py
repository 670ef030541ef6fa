from click.testing import CliRunner

from kms.cli import cli


def test_commands_are_explained() -> None:
    for command in ("check", "apply", "list", "show", "history", "explain", "unknown"):
        result = CliRunner().invoke(cli, ["policies", command, "--help"])
        assert result.exit_code == 0
        assert "Usage: " in result.output
