"""Health: whether the process lives, and whether it can work.

Rules: no address here waits for anything: the parts answer from what they know. `/readyz` names what is away.
"""

from typing import Literal

from apiflask import APIBlueprint
from pydantic import BaseModel

from kms.api.openapi import may_answer
from kms.api.services import ApiPlatform
from kms.errors import Code, Fault, KmsError


class Health(BaseModel):
    """The state of the process. `recovery`: it works, and the platform only looks at cards until officers confirm."""

    status: Literal["alive", "ready", "recovery"]


def build_health(platform: ApiPlatform) -> APIBlueprint:
    """Build the health addresses."""
    health = APIBlueprint("health", __name__)

    @health.get("/healthz")
    @health.output(Health)
    @health.doc(summary="Whether the process lives", extensions=may_answer())
    def alive() -> Health:
        return Health(status="alive")

    @health.get("/readyz")
    @health.output(Health)
    @health.doc(summary="Whether database and HSM answer", extensions=may_answer(Code.NOT_READY, Code.INTERNAL))
    def ready() -> Health:
        faults: list[Fault] = []
        for name, part in (("database", platform.store), ("hsm", platform.vault)):
            try:
                part.check()
            except KmsError as error:
                faults.append(Fault(name, error.detail))
        if faults:
            away = " and ".join(fault.where for fault in faults)
            raise KmsError(Code.NOT_READY, f"Not ready: {away} away", faults=tuple(faults))
        return Health(status="recovery" if platform.recovery.is_recovering else "ready")

    return health
