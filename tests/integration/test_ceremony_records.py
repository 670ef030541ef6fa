"""The record: made from the steps as they were done, verified off-line, and by openssl alone."""

import base64
import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kms.domain.ceremonies import Subject
from kms.domain.ceremony_records import build_payload, verify_record
from kms.errors import Code, KmsError
from kms.printing.ceremony_record import build_html, build_pdf
from tests.fakes.ceremony_scene import CeremonyScene


@pytest.fixture(scope="module")
def text() -> str:
    return make_record()


def make_record(*, rehearsal: bool = False) -> str:
    scene = CeremonyScene()
    ceremony_id = scene.start("generate-ssd-master", Subject("cards", because="<b>yearly</b>"), rehearsal=rehearsal)
    with pytest.raises(KmsError, match=f"^{Code.CEREMONY_STATE}: "):
        scene.records.get(ceremony_id, actor="person alice")
    scene.run(ceremony_id)
    record = scene.records.get(ceremony_id, actor="person alice")
    assert scene.records.get(ceremony_id, actor="person bob") == record
    return record


def test_record_tells_what_was_done(text: str) -> None:
    record = verify_record(text).record
    steps = record["steps"]
    assert isinstance(steps, list)
    assert [(item["number"], item["person"]) for item in steps[:2]] == [(1, "alice"), (1, "bob")]
    assert record["exceptions"] == ["no backup was made: waived by the officers of that step"]
    assert "CKA_EXTRACTABLE" in json.dumps(steps)
    assert record["kcv_method"] == "aes-cmac-zero"


def test_openssl_verifies_it(text: str, tmp_path: Path) -> None:
    content = json.loads(text)
    (tmp_path / "payload").write_bytes(build_payload(content["record"]))
    (tmp_path / "signature").write_bytes(base64.b64decode(content["signature"]))
    (tmp_path / "key.pem").write_text(content["public_key"])
    command = ["openssl", "dgst", "-sha256", "-verify", "key.pem", "-signature", "signature", "payload"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Verified OK" in done.stdout


def test_any_change_is_noticed(text: str) -> None:
    content = json.loads(text)

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.integers(0, 10_000), st.sampled_from("0A z"))
    def change(position: int, by: str) -> None:
        payload = build_payload(content["record"]).decode()
        at = position % len(payload)
        changed = payload[:at] + by + payload[at + 1 :]
        try:
            record = json.loads(changed)
        except ValueError:
            return
        if record == content["record"] or not isinstance(record, dict):
            return
        with pytest.raises(KmsError, match=f"^{Code.CEREMONY_RECORD}: "):
            verify_record(json.dumps({**content, "record": record}))

    change()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "kms-ceremony-record/1"}', "[" * 100_000])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(KmsError, match=f"^{Code.CEREMONY_RECORD}: "):
        verify_record(text)


def test_another_key_than_the_known_one_is_refused(text: str) -> None:
    with pytest.raises(KmsError, match=f"^{Code.CEREMONY_RECORD}: "):
        verify_record(text, b"another")


def test_rehearsal_is_marked_on_paper_too() -> None:
    verified = verify_record(make_record(rehearsal=True))
    assert str(verified.record["title"]).startswith("REHEARSAL")
    html = build_html(verified)
    assert "REHEARSAL: nothing of this is in force" in html
    assert "&lt;b&gt;yearly" in html
    assert build_pdf(verified).startswith(b"%PDF-")
