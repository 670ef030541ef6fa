"""What holds for the repository as a whole: sizes, tests for modules, documents that list what there is."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from kms.errors import Code

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 500

# Modules with behaviour but without a test file of their name: a path or a folder, and what tests them instead.
TESTED_ELSEWHERE: dict[str, str] = {
    "kms/console/pages/": "tests/integration/test_console_pages.py asks for every page, form and refusal",
    "kms/db/console_queries.py": "tests/integration/test_console_queries.py runs every statement on both databases",
    "kms/service/plan_words.py": "tests/integration/test_console_pages.py shows it on a card's page",
    "kms/bootstrap_ceremonies.py": "tests/functional/test_ceremony_secrets.py holds a ceremony through it",
    "kms/cli/ceremonies.py": "tests/functional/test_cli_ceremonies.py runs its commands",
    "kms/domain/ceremonies.py": "tests/unit/service/ceremonies/test_service.py asks for every rule",
    "kms/domain/ceremony_records.py": "tests/integration/test_ceremony_records.py verifies and damages records",
    "kms/domain/ceremony_scripts.py": "tests/unit/config/test_ceremony_files.py has a file for every rule",
    "kms/hsm/ceremony_keys.py": "tests/contract/test_token_ceremony_keys.py runs it on each make of token",
    "kms/printing/ceremony_record.py": "tests/integration/test_ceremony_records.py prints a record",
    "kms/service/ceremonies/": "tests/unit/service/ceremonies/test_service.py holds ceremonies of every kind",
    "kms/single_use/": "tests/functional/test_ceremony_secrets.py starts every process",
    "kms/db/models/": "tests/contract/test_store.py writes and reads every column",
    "kms/db/sweeps.py": "tests/contract/test_sweeps.py compares every statement with Python, on both databases",
    "kms/db/sql_times.py": "tests/contract/test_sweeps.py compares its dates with Python's",
    "kms/service/action_definitions/": "tests/unit/console/test_matrix.py parses, describes and submits every one",
    "kms/bootstrap_doctor.py": "tests/functional/test_modes.py asks real tokens and databases through it",
    "kms/bootstrap_console.py": "tests/functional/test_console_api.py acts and decides through it",
    "kms/console_wsgi.py": "tests/functional/test_console_api.py serves it",
    "kms/service/policies.py": "tests/contract/test_sweeps.py runs it over memory and database alike",
    "kms/service/policy_explain.py": "tests/contract/test_sweeps.py runs it, too",
    "kms/service/policy_ports.py": "tests/contract/test_sweeps.py runs it, too",
    "kms/service/sweeps.py": "tests/contract/test_sweeps.py runs it, too",
    "kms/db/repositories/": "tests/contract/test_store.py runs over memory and database alike",
    "terminal/virtual_card/session.py": "tests/unit/terminal/virtual_card/test_authentication.py opens and ends them",
    "terminal/virtual_card/vpcd.py": "tests/integration/test_virtual_card_vpcd.py covers it: sockets alone",
}


def repository_files() -> list[Path]:
    """All files that are tracked or would be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - git from PATH
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = (ROOT / name for name in listed.stdout.decode().split("\0") if name)
    return [path for path in paths if path.is_file()]


def python_files(*folders: str) -> list[Path]:
    return [path for path in repository_files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders]


def has_behaviour(path: Path) -> bool:
    """Whether a module has any function with a body; records, enumerations and protocols have none to test."""
    functions = (
        node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)
    )
    return any(
        not (isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant))
        for function in functions
        for step in function.body
    )


def own_test(module: str) -> Path:
    """Where the test file of a module is: kms/card/tlv.py has tests/unit/card/test_tlv.py."""
    parts = Path(module).parts
    folders = parts[1:-1] if parts[0] == "kms" else parts[:-1]
    return ROOT.joinpath("tests", "unit", *folders, f"test_{parts[-1]}")


def first_column(document: str) -> set[str]:
    """The names in backquotes that begin the table rows of a document."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return set(re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE))


def requirement_names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~; ]", requirement)[0] for requirement in requirements}


def test_no_module_is_over_500_lines() -> None:
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in repository_files()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] != "migrations"  # a record of one day, never edited
    }
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def modules_with_behaviour() -> list[str]:
    files = (path for path in python_files("kms", "terminal") if path.name not in {"__init__.py", "__main__.py"})
    return sorted(str(path.relative_to(ROOT)) for path in files if has_behaviour(path))


def is_tested_elsewhere(module: str) -> bool:
    return module in TESTED_ELSEWHERE or f"{Path(module).parent}/" in TESTED_ELSEWHERE


def test_every_module_has_its_test_file() -> None:
    missing = [name for name in modules_with_behaviour() if not own_test(name).exists()]
    assert [name for name in missing if not is_tested_elsewhere(name)] == []


def test_the_list_of_modules_tested_elsewhere_is_true() -> None:
    needless = [name for name in TESTED_ELSEWHERE if not (ROOT / name).exists()]
    needless += [name for name in TESTED_ELSEWHERE if name.endswith(".py") and own_test(name).exists()]
    named = [re.match(r"tests/\S+", reason) for reason in TESTED_ELSEWHERE.values()]
    assert needless == []
    assert [match.group() for match in named if match and not (ROOT / match.group()).exists()] == []


def test_the_core_asks_no_clock() -> None:
    """Time is an input of the core. import-linter keeps `time` out; `datetime` is needed for its types."""
    asked = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in python_files("kms")
        if path.relative_to(ROOT).parts[1] in {"card", "domain"}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today"}
    ]
    assert asked == []


@pytest.mark.parametrize(
    "pattern",
    [
        re.escape(str(ROOT)) + r"\b",
        r"/home/[a-z]",
        r"/Users/[a-z]",
        r"pypi\.org/simple|files\.pythonhosted\.org",
        r"--(extra-)?index[-]url|--find[-]links",
    ],
    ids=["this checkout", "home", "users", "registry", "registry option"],
)
def test_nothing_of_one_machine_is_in_the_tree(pattern: str) -> None:
    found = []
    for path in repository_files():
        if path == Path(__file__).resolve():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in re.finditer(pattern, text)]
    assert found == []


def test_the_index_of_decisions_is_complete() -> None:
    index = (ROOT / "docs/adr/README.md").read_text(encoding="utf-8")
    records = {path.name for path in (ROOT / "docs/adr").glob("[0-9]*.md")}
    assert set(re.findall(r"\]\((\d{4}-[^)]+\.md)\)", index)) == records


def test_decisions_have_different_numbers() -> None:
    numbers = [path.name[:4] for path in (ROOT / "docs/adr").glob("[0-9]*.md")]
    assert sorted(numbers) == sorted(set(numbers))


def test_every_dependency_is_accounted_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = requirement_names(project["dependencies"] + project["optional-dependencies"]["dev"])
    wanted |= set((ROOT / "setup/packages.txt").read_text(encoding="utf-8").split())
    assert first_column("docs/dependencies.md") == wanted


def test_every_error_code_is_documented() -> None:
    assert first_column("docs/errors.md") == {str(code) for code in Code}


def test_every_make_target_the_readme_names_exists() -> None:
    named = set(re.findall(r"`make ([a-z]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert named - targets == set()


def test_every_test_that_a_document_names_exists() -> None:
    missing = []
    for path in repository_files():
        if path.suffix == ".md":
            named = re.findall(r"`(tests/[^`\s]+)`", path.read_text(encoding="utf-8"))
            missing += [f"{path.relative_to(ROOT)}: {name}" for name in named if not (ROOT / name).exists()]
    assert missing == []


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for path in repository_files():
        if path.suffix != ".md":
            continue
        targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
        broken += [f"{path.relative_to(ROOT)}: {name}" for name in targets if not (path.parent / name).exists()]
    assert broken == []
