"""What is tried where nobody says: ranges for the usual settings, and for others what their own bounds say.

A setting that stands at the end of its range (alpha = 1: no texts) is a switch that is off; it stays off. What costs
time rather than moves accuracy (epochs, batch size), or says what the data are (feedback), is left as it is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, get_origin

from pydantic import ValidationError

from tastemaker import registry
from tastemaker.errors import ConfigError, did_you_mean
from tastemaker.search.space import Choices, Range, Values, table_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic.fields import FieldInfo

    from tastemaker.configurable import Config
    from tastemaker.search.space import Space


def _around(factor: float) -> Callable[[Any], Values]:
    """Return a rule: from a `factor`-th of what is set to `factor` times it, on a logarithmic scale."""

    def rule(value: Any) -> Values:  # noqa: ANN401  # a number
        if isinstance(value, int):
            return Range(max(1, round(value / factor)), round(value * factor), log=True)
        return Range(_short(value / factor), _short(value * factor), log=True)

    return rule


def _doubled(value: Any) -> Values:  # noqa: ANN401  # a number
    """Return half of what is set, the same, and twice as much."""
    return Choices((max(1, value // 2), value, 2 * value) if value > 1 else (1, 2))


USUAL: dict[str, Callable[[Any], Values]] = {
    "dim": _doubled,
    "layers": lambda value: Range(1, max(3, value)),
    "dropout": lambda value: Range(min(0.1, value), max(0.7, value)),
    "learning_rate": _around(5),
    "weight_decay": lambda value: Choices(tuple(sorted({0.0, 0.01, 0.1, float(value)}))),
    "reg": _around(30),
    "confidence": _around(10),
    "neighbours": _around(5),
    "shrinkage": lambda value: Range(0.0, max(100.0, value)),
    "recency": lambda value: Range(min(0.2, value), 1.0),
    "window": lambda value: Range(1, max(20, value)),
}
"""Setting -> rule, from the value that is set to what is tried around it."""

LEFT_ALONE = frozenset({"combine", "feedback", "inputs", "mode", "profile", "start", "wish_weight"})
"""Settings that say what the data are, what is read of them or which package is needed, and not how well."""


def default_space(settings: Mapping[str, Any]) -> Space:
    """Return what is tried for a pipeline by default: settings of its stages and of their members."""
    space: Space = {}
    for number, stage in enumerate(settings["stage"]):
        tables = {f"stage.{number}": stage}
        tables |= {f"stage.{number}.member.{place}": one for place, one in enumerate(stage.get("member", []))}
        for address, table in tables.items():
            for name in registry.model_class(table["model"]).Config.model_fields:
                values = default_values(table, name)
                if values is not None:
                    space[f"{address}.{name}"] = values
    return space


def usual_values(settings: Mapping[str, Any], key: str, *, place: str) -> Values | None:
    """Return what is tried by default for the setting at a dotted address, None where there is nothing usual.

    Raises:
        ConfigError: no such setting.
    """
    table = table_at(settings, key)
    name = key.rpartition(".")[2]
    if table is None:
        raise ConfigError(f"{place}: no setting of a stage's model; say what to try, e.g. {key}=1,2,3")
    fields = registry.model_class(table["model"]).Config.model_fields
    if name not in fields:
        raise ConfigError(f"{place}: {table['model']} has no such setting{did_you_mean(name, fields)}")
    return default_values(table, name)


def default_values(table: Mapping[str, Any], name: str) -> Values | None:
    """Return what is tried by default for one setting of a model, or None where it is left as it is.

    Args:
        table: "model" and those of its settings that are set.
        name: of the setting.
    """
    kind = registry.model_class(table["model"]).Config
    field = kind.model_fields[name]
    value = table.get(name, field.get_default(call_default_factory=True))
    if name in LEFT_ALONE or value is None:
        return None
    if field.annotation is float:
        value = float(value)
    low, high = _bounds(field)
    if name in USUAL and isinstance(value, int | float):
        return _inside(USUAL[name](value), low, high)
    if field.annotation is bool:
        return Choices((False, True))
    if get_origin(field.annotation) is Literal:
        return _literals(kind, table, name)
    if isinstance(value, float) and high - low <= 1 and low < value < high:
        open_below = any(getattr(one, "gt", None) is not None for one in field.metadata)
        open_above = any(getattr(one, "lt", None) is not None for one in field.metadata)
        edge = 0.05 * (high - low)
        return Range(min(low + edge * open_below, value), max(high - edge * open_above, value))
    return None


def _literals(kind: type[Config], table: Mapping[str, Any], name: str) -> Values | None:
    """Return the words that go with what else is set."""
    own = {key: value for key, value in table.items() if key in kind.model_fields}
    allowed = []
    for word in kind.model_fields[name].annotation.__args__:  # type: ignore[union-attr]  # a Literal
        try:
            kind.model_validate({**own, name: word})
        except ValidationError:
            continue
        allowed.append(word)
    return Choices(tuple(allowed)) if len(allowed) > 1 else None


def _bounds(field: FieldInfo) -> tuple[float, float]:
    """Return the smallest and the largest value that a field takes; infinite where there is no bound."""
    low, high = -math.inf, math.inf
    for one in field.metadata:
        for bound in (getattr(one, "ge", None), getattr(one, "gt", None)):
            low = low if bound is None else max(low, bound)
        for bound in (getattr(one, "le", None), getattr(one, "lt", None)):
            high = high if bound is None else min(high, bound)
    return low, high


def _inside(values: Values, low: float, high: float) -> Values | None:
    """Return what lies within the bounds, or None where that is nothing to choose from."""
    if isinstance(values, Choices):
        kept = tuple(value for value in values.values if low <= value <= high)  # type: ignore[operator]  # numbers
        return Choices(kept) if len(kept) > 1 else None
    values = Range(max(values.low, low), min(values.high, high), log=values.log)
    return values if values.low < values.high else None


def _short(value: float) -> float:
    """Round to two significant digits."""
    return float(f"{value:.2g}")
