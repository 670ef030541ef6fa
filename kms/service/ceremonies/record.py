"""The record of a ceremony: made from its steps as they were done, signed by the platform's key in the HSM, kept.

Rules: made once the ceremony is over, however it ended, and never again: what was signed is stored and given out each
time. It holds no wrapped key but the backup, which is what a backup is for.
"""

import json
from collections.abc import Mapping
from dataclasses import replace

from kms.domain.ceremonies import DEVELOPMENT, CeremonyState
from kms.domain.ceremony_records import build_payload, build_record_text
from kms.domain.ceremony_scripts import StepKind
from kms.domain.keys import PlatformKeyPurpose
from kms.errors import Code, KmsError
from kms.service.ceremonies.service import CeremonyService, CeremonyView
from kms.service.plain_values import to_plain
from kms.service.platform_keys import PlatformKeyService
from kms.service.ports import Store


class RecordService:
    """The use case. `platform`, `mode`: of this installation."""

    def __init__(
        self,
        *,
        store: Store,
        ceremonies: CeremonyService,
        platform_keys: PlatformKeyService,
        platform: str,
        mode: str,
    ) -> None:
        self._store = store
        self._ceremonies = ceremonies
        self._platform_keys = platform_keys
        self._platform = platform
        self._mode = mode

    def get(self, ceremony_id: str, *, actor: str) -> str:
        """The signed record of a ceremony that is over (JSON). Raises `ceremony.state` while it runs, `hsm.*`."""
        view = self._ceremonies.view(ceremony_id)
        if view.ceremony.record:
            return view.ceremony.record
        if view.ceremony.state is CeremonyState.RUNNING:
            raise KmsError(Code.CEREMONY_STATE, "The ceremony is not over: its record is made at its end.")
        if not view.ceremony.cleared:
            raise KmsError(Code.CEREMONY_STATE, "The ceremony's remains are not cleared away: see to the HSM first.")
        record = build_ceremony_record(view, self._platform, self._mode)
        key = self._platform_keys.ensure(PlatformKeyPurpose.SIGNING, actor=actor)
        signature = self._platform_keys.sign_with(key, build_payload(record))
        text = build_record_text(record, signature, key.public_key_der)
        with self._store.transaction() as tx:
            tx.ceremonies.save(replace(view.ceremony, record=text))
        return text


def build_ceremony_record(view: CeremonyView, platform: str, mode: str) -> Mapping[str, object]:
    """What is to be recorded of a ceremony, as plain values."""
    ceremony = view.ceremony
    record: dict[str, object] = {
        "title": f"{'REHEARSAL: ' if ceremony.rehearsal else ''}{view.script.purpose}",
        "rehearsal": ceremony.rehearsal,
        "platform": platform,
        "mode": mode,
        "software": ceremony.software,
        "ceremony": ceremony.id,
        "kind": ceremony.kind,
        "result": ceremony.state,
        "why_ended": ceremony.why,
        "script_name": ceremony.script_name,
        "script": ceremony.script,
        "script_sha256": ceremony.digest,
        "script_words": view.words,
        "key_name": ceremony.key_name,
        "key_generation": ceremony.generation,
        "expected_kcv": ceremony.expected_kcv,
        "kcv": ceremony.kcv,
        "kcv_method": ceremony.kcv_method,
        "because": ceremony.because,
        "started_by": ceremony.started_by,
        "started_at": ceremony.started_at,
        "finished_at": ceremony.finished_at,
        "exceptions": list_exceptions(view),
        "steps": [
            {
                "number": item.number,
                "do": item.do,
                "text": view.script.steps[item.number - 1].text,
                "role": item.role,
                "person": item.person_name,
                "person_id": item.person_id,
                "account_id": item.account_id,
                "login_session_id": item.login_session_id,
                "second_factor": item.factor,
                "done_at": item.done_at,
                "result": json.loads(item.result),
            }
            for item in view.steps
        ],
        "not_done": [
            {"number": number, "do": step.do}
            for number, step in enumerate(view.script.steps, start=1)
            if number > ceremony.position
        ],
    }
    plain = to_plain(record)
    if not isinstance(plain, dict):
        raise TypeError("a mapping stays one")
    return plain


def list_exceptions(view: CeremonyView) -> list[str]:
    """What a reader must know that was not as it should be, or was decided otherwise."""
    found = []
    if view.ceremony.rehearsal:
        found.append("REHEARSAL: done on a scratch token, with no effect on the platform")
    if view.ceremony.state is not CeremonyState.DONE:
        found.append(f"ended before its last step: {view.ceremony.state}, {view.ceremony.why}")
    if any(item.factor == DEVELOPMENT for item in view.steps):
        found.append("the development login of lab mode acted for several people")
    if any(item.do is StepKind.WAIVE_BACKUP for item in view.steps):
        found.append("no backup was made: waived by the officers of that step")
    return found
