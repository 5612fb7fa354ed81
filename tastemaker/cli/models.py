"""`tastemaker models`: what there is, what each model needs, and whom it can answer."""

from __future__ import annotations

from typing import Any

import typer

from tastemaker import registry
from tastemaker.cli.output import JSON_OPTION, print_json, print_table
from tastemaker.errors import MissingExtra

ABILITIES = {"ratings": "predict", "attribution": "contributions", "chooses on validation": "calibrate"}
"""Optional ability -> the method that a model has if it can do it."""


def models(json: bool = JSON_OPTION) -> None:
    """List every model: what it needs, warm and cold shoppers and products, and what else it can do."""
    rows = [describe(name) for name in registry.names()]
    if json:
        print_json(rows)
        return
    columns = ("model", "group", "takes", "extra", "unseen_histories", "empty_history", "cold_items", "wish", "does")
    print_table(columns, [[_short(row.get(column)) for column in columns] for row in rows])
    typer.echo("Details of one model: python -c \"import tastemaker.registry as r; help(r.model_class('ease'))\"")


def describe(name: str) -> dict[str, Any]:
    """Return the facts about one model."""
    facts: dict[str, Any] = {"model": name, "group": registry.group_of(name)}
    try:
        kind = registry.model_class(name)
    except MissingExtra as error:
        return {**facts, "missing": str(error), "extra": "missing"}
    return {
        **facts,
        "takes": list(kind.takes),
        "extra": kind.extra,
        "unseen_histories": True,
        "empty_history": kind.answers_empty_history,
        "cold_items": kind.ranks_cold_items,
        "wish": kind.reads_wish,
        "does": [ability for ability, method in ABILITIES.items() if hasattr(kind, method)],
        "config": {key: field.default for key, field in kind.Config.model_fields.items()},
        "about": (kind.__doc__ or "").strip().splitlines()[0],
    }


def _short(value: Any) -> Any:  # noqa: ANN401  # any table value
    return ", ".join(value) if isinstance(value, list) else value
