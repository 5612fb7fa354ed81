"""`tastemaker models`: what there is, what each model needs, and whom it can answer."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import typer

from tastemaker import registry
from tastemaker.cli import options
from tastemaker.cli.output import print_json, print_table
from tastemaker.errors import MissingExtra

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from tastemaker.recommender import Recommender

ABILITIES = {"ratings": "predict", "attribution": "contributions", "transfer": "transfer", "tuning": "tune"}
"""Optional ability -> the method that a model has if it can do it."""

COLUMNS = {
    "model": "model",
    "group": "group",
    "needs": "needs",
    "unseen shoppers": "unseen_shoppers",
    "no history": "empty_history",
    "unsold products": "cold_items",
    "wish": "wish",
    "tunable": "tunable",
    "can": "can",
}
"""Heading of the table -> key of the facts."""


def models(json: bool = options.JSON) -> None:
    """List every model: what it needs, warm and cold shoppers and products, and what else it can do."""
    rows = [describe(name) for name in registry.names()]
    if json:
        print_json(rows)
        return
    print_table(list(COLUMNS), [[_short(row.get(key)) for key in COLUMNS.values()] for row in rows])
    typer.echo(
        "unseen shoppers: answers histories it was not fitted on; no history: answers without one;\n"
        "unsold products: ranks products that nobody has bought; tunable: makes a choice on validation.\n"
        "Settings and defaults of each: tastemaker models --json"
    )


def describe(name: str) -> dict[str, Any]:
    """Return the facts about one model."""
    facts: dict[str, Any] = {"model": name, "group": registry.group_of(name)}
    try:
        kind = registry.model_class(name)
    except MissingExtra as error:
        return {**facts, "needs": [str(error)]}
    return {
        **facts,
        "needs": [*kind.takes, *([f"extra '{kind.extra}'"] if kind.extra else [])],
        "retrieves": kind.retrieves,
        "unseen_shoppers": True,
        "empty_history": _can(kind, "answers_empty_history"),
        "cold_items": _can(kind, "ranks_cold_items"),
        "wish": _can(kind, "reads_wish"),
        "tunable": hasattr(kind, "calibrate"),
        "can": [ability for ability, method in ABILITIES.items() if hasattr(kind, method)],
        "config": {key: _default(field) for key, field in kind.Config.model_fields.items()},
        "about": (kind.__doc__ or "").strip().splitlines()[0],
    }


def _default(field: FieldInfo) -> Any:  # noqa: ANN401  # any JSON value
    """Return the default of a setting; None where it must be given."""
    return None if field.is_required() else field.get_default(call_default_factory=True)


def _can(kind: type[Recommender], ability: str) -> bool | str:
    """Return whether a model has an ability, or when it has."""
    if isinstance(inspect.getattr_static(kind, ability), property):
        return "as its members"
    if getattr(kind, ability):
        return True
    for settings in ({"alpha": 0.5}, {"inputs": "text"}):
        if settings.keys() <= kind.Config.model_fields.keys() and getattr(kind(**settings), ability):
            return "with texts"
    return False


def _short(value: Any) -> Any:  # noqa: ANN401  # any table value
    return ", ".join(value) if isinstance(value, list) else value
