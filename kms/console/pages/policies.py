"""Policies in force, and every version that ever was."""

import json

from kms.console.pages.site import Site
from kms.domain.people import Principal
from kms.domain.permissions import Action
from kms.domain.policies import PolicyVersion
from kms.domain.policy_text import build_policy_text


def add_policies(site: Site) -> None:
    """Add the pages."""
    policies = site.services.policies

    @site.page("/policies", Action.RECORDS_READ)
    def list_policies(principal: Principal) -> str:
        return site.render(
            "policies.html", principal, versions=policies.list(), undated=policies.list_undated(limit=20)
        )

    @site.page("/policies/<path:name>", Action.RECORDS_READ)
    def show_policy(principal: Principal, name: str) -> str:
        versions = policies.history(name)
        return site.render(
            "policy.html", principal, name=name, versions=[(item, _show_policy(item)) for item in versions]
        )


def _show_policy(version: PolicyVersion) -> str:
    return json.dumps(json.loads(build_policy_text(version.policy)), indent=2, ensure_ascii=False)
