"""Records from JSON values, with errors that name the field."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, TypeVar

from tastemaker.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

T = TypeVar("T")

TUPLES = ("categories", "item_ids", "propensities")
"""Fields that JSON holds as a list."""


def record(kind: type[T], values: Mapping[str, Any], place: str) -> T:
    """Return a record with these fields; what they hold is checked when it is stored.

    Raises:
        DataError: a field is unknown or missing.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]  # a dataclass
    for name in values:
        if name not in fields:
            raise DataError(f"{place}: {name}: unknown field{did_you_mean(name, fields)}")
    for name, field in fields.items():
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and name not in values:
            raise DataError(f"{place}: {name} is missing; an {kind.__name__.lower()} needs it")
    lists = {name: tuple(values[name]) for name in TUPLES if isinstance(values.get(name), list)}
    return kind(**{**values, **lists})


def parsed(lines: Iterable[str | bytes], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place and the value of each JSON line; empty lines are passed over.

    Raises:
        DataError: a line is no JSON object, or no UTF-8.
    """
    for number, line in enumerate(lines, start=1):
        place = f"{name}:{number}"
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{place}: no JSON: {error}") from error
        if not isinstance(value, dict):
            raise DataError(f"{place}: {type(value).__name__}, not a JSON object in {{...}}")
        yield place, value
