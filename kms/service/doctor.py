"""What stands between this installation and production: one list of rules, asked by `kms doctor` and at each start.

Rules: token and database are looked at each by itself, so that one that is away hides nothing of the other. Nothing is
changed.
"""

from collections.abc import Iterator

from kms.config import Config
from kms.domain.fitness import Finding, Severity
from kms.errors import Code, KmsError
from kms.service.fitness.records import find_record_findings
from kms.service.fitness.settings import IsDevelopment, find_setting_findings
from kms.service.fitness.token import find_token_findings
from kms.service.ports import Store, Vault


class Doctor:
    """The use case. `vault`: the platform's token, opened as production mode opens it; None: its PIN is unreadable."""

    def __init__(self, *, config: Config, store: Store, vault: Vault | None, is_development: IsDevelopment) -> None:
        self._config = config
        self._store = store
        self._vault = vault
        self._is_development = is_development

    def examine(self) -> tuple[Finding, ...]:
        """Everything that was found, settings first."""
        return (*find_setting_findings(self._config, self._is_development), *self.examine_parts())

    def examine_parts(self) -> tuple[Finding, ...]:
        """What was found in token and database alone."""
        return (*self._examine_token(), *self._examine_records())

    def _examine_token(self) -> Iterator[Finding]:
        if self._vault is None:
            yield _build_unseen("hsm", "the token's PIN cannot be read", "`kms hsm status` says why")
            return
        try:
            status = self._vault.status()
        except KmsError as error:
            yield _build_token_finding(error)
            return
        yield from find_token_findings(status, self._config.hsm.allowed_tokens, has_peers=bool(self._config.peers))

    def _examine_records(self) -> list[Finding]:
        try:
            self._store.check()
            with self._store.reading() as reading:
                return list(find_record_findings(reading))
        except KmsError as error:
            text = f"the database could not be looked at: {error.detail}"
            return [_build_unseen("database", text, "Mend that, and ask again")]


def _build_token_finding(error: KmsError) -> Finding:
    """What became of a token that is away, or, in production mode, not to be logged in to."""
    if error.code is Code.HSM_TOKEN:
        what, _, mend = error.detail.partition(": ")
        why = "An unknown device may be anybody's, and software keeps keys on the server's disk"
        return Finding("hsm.allowed_tokens", Severity.REFUSED, what, why, mend)
    return _build_unseen("hsm", f"the token could not be looked at: {error.detail}", "Mend that, and ask again")


def _build_unseen(where: str, what: str, mend: str) -> Finding:
    return Finding(where, Severity.UNSEEN, what.rstrip("."), "What was not looked at is not known to be right", mend)
