"""The OpenAPI text of our own addresses: every operation names the problems it may answer with.

Rules: an operation lists its codes where it is written (`may_answer`); statuses and schema follow from the one table
in `kms.web.problems`. SERAM's addresses are described by GlobalPlatform's own text and stay out of ours.
"""

from http import HTTPStatus
from typing import Any

from apiflask import APIFlask

from kms.errors import Code
from kms.web.problems import PROBLEM_TYPE, STATUS, Problem

_CODES = "x-problem-codes"
_PROBLEM_REF = "#/components/schemas/Problem"


def may_answer(*codes: Code) -> dict[str, Any]:
    """Say which problems an operation may answer with."""
    return {_CODES: [str(code) for code in codes]}


def describe_problems(app: APIFlask) -> None:
    """Put the problems of every operation into the generated text."""

    @app.spec_processor
    def add_problems(spec: dict[Any, Any] | str) -> dict[Any, Any] | str:
        if isinstance(spec, str):  # the type is APIFlask's; only its YAML output is text
            return spec
        schemas = spec.setdefault("components", {}).setdefault("schemas", {})
        schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs"))
        schemas["Problem"] = schema
        for path in spec["paths"].values():
            for operation in path.values():
                _add_responses(operation)
        return spec


def _add_responses(operation: dict[str, Any]) -> None:
    by_status: dict[HTTPStatus, list[str]] = {}
    for code in operation[_CODES]:
        by_status.setdefault(STATUS[Code(code)], []).append(code)
    for status, codes in sorted(by_status.items()):
        operation["responses"][str(int(status))] = {
            "description": f"Problem: {', '.join(sorted(codes))}",
            "content": {PROBLEM_TYPE: {"schema": {"$ref": _PROBLEM_REF}}},
        }
