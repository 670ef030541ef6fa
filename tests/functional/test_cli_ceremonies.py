"""`kms ceremony` in the lab: a master generated, one imported, and the record verified."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from kms.card.keys import KeyType
from kms.cli import cli
from tests.fakes.ceremony_scene import SCRIPTS, make_components
from tests.fakes.installation import Installation
from tests.functional.test_people import site

__all__ = ["site"]


@pytest.fixture
def ready(site: Installation) -> Installation:
    with site.config.open("a") as file:
        file.write(f'\n[ceremonies]\nfolder = "{SCRIPTS}"\n')
    return site


def kms(site: Installation, *arguments: str, given: str = "") -> Any:  # noqa: ANN401 - JSON
    done = CliRunner().invoke(cli, ["--config", str(site.config), "ceremony", *arguments, "--json"], input=given)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout[done.stdout.index("{") :])


def go_on(site: Installation, ceremony: str, *components: str) -> Any:  # noqa: ANN401 - JSON
    left = list(components)
    while (shown := kms(site, "show", ceremony))["next_step"] is not None:
        if shown["next_do"] == "enter-component":
            assert len(kms(site, "enter", ceremony, given=left.pop(0) + "\n")["kcv"]) in {6, 10}
            continue
        kcv = ["--kcv", shown["kcv"]] if shown["next_do"] == "confirm-kcv" else []
        kms(site, "step", ceremony, str(shown["next_step"]), *kcv)
    return shown


def test_ceremonies_of_the_lab(ready: Installation, tmp_path: Path) -> None:
    checked = kms(ready, "check", str(SCRIPTS / "generate-ssd-master.toml"))
    assert len(checked["words"].split()) == 12
    started = kms(ready, "start", "generate-ssd-master", "--key", "ssd", "--because", "first")
    assert go_on(ready, started["id"])["state"] == "DONE"
    components, _, kcv = make_components(KeyType.AES256, 2)
    importing = kms(ready, "start", "import-vendor-master-aes", "--key", "maker", "--kcv", kcv.hex())
    done = go_on(ready, importing["id"], *[item.hex() for item in components])
    assert (done["state"], done["kcv"]) == ("DONE", kcv.hex().upper())
    record, pdf = tmp_path / "record.json", tmp_path / "record.pdf"
    out = ready.run("ceremony", "record", importing["id"], "--out", str(record), "--pdf", str(pdf))
    assert out.exit_code == 0, out.output
    assert pdf.read_bytes().startswith(b"%PDF-")
    verified = kms(ready, "verify", str(record))
    assert verified["kcv"] == kcv.hex().upper()
    record.write_text(record.read_text().replace('"maker"', '"faker"'))
    assert ready.run("ceremony", "verify", str(record)).exit_code == 1


def test_aborted_ceremony_leaves_nothing(ready: Installation) -> None:
    started = kms(ready, "start", "generate-isd-master", "--key", "isd")
    for number in ("1", "2"):
        kms(ready, "step", started["id"], number)
    assert kms(ready, "abort", started["id"], "--because", "a drill")["cleared"] is True
