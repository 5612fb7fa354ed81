"""Documents that people write and send as they are: business rules."""

from __future__ import annotations

import tomllib
from typing import Any

from pydantic_core import from_json

from tastemaker.documents import as_json_values
from tastemaker.rules import RuleSet
from tastemaker.serve.limits import TOML
from tastemaker.serve.problems import Problem
from tastemaker.serve.schemas_data import RulesBody, RulesDocument, sound

_TOML = '[[rule]]\nname = "Nothing that is sold out"\nhide = { availability = ["out_of_stock"] }\n'
RULES_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"anyOf": [RulesBody.model_json_schema(), RulesDocument.model_json_schema()]}
            },
            TOML.decode(): {"schema": {"type": "string"}, "example": _TOML},
        },
    }
}
"""The body of rules as OpenAPI describes it."""


def rules_in(body: bytes, kind: bytes) -> dict[str, Any]:
    """Return the document of rules that a body holds, checked, as JSON values.

    Args:
        body: the document, or {"rules": DOCUMENT}.
        kind: its media type.

    Raises:
        Problem: 422, it is no document at all.
        ConfigError: there is a mistake in the rules.
    """
    document = _parsed(body, kind)
    if isinstance(document, dict) and set(document) == {"rules"}:
        document = document["rules"]
    elif document == {}:
        raise Problem(422, 'there are no rules in it; {"rules": {}} takes all rules away')
    if not isinstance(document, dict):
        raise Problem(422, 'the rules must be an object: {"rule": [...]}')
    try:
        sound(document)
    except ValueError as error:
        raise Problem(422, f"the rules {error}") from error
    RuleSet.parse(document)
    return document


def _parsed(body: bytes, kind: bytes) -> Any:  # noqa: ANN401  # JSON may hold anything
    try:
        if kind == TOML:
            return as_json_values(tomllib.loads(body.decode("utf-8")))
        return from_json(body, allow_inf_nan=False)
    except (ValueError, RecursionError) as error:
        notation = "TOML" if kind == TOML else "JSON"
        raise Problem(422, f"the body is not valid {notation}: {error}"[:300]) from error
