"""Every prompt template of the package, by name: what `tastemaker prompts` lists."""

from __future__ import annotations

from dataclasses import replace
from string import Formatter
from typing import TYPE_CHECKING

from tastemaker.text import item_writer, shopper_picker
from tastemaker.text.instructions import task_templates
from tastemaker.text.prompting import prompts
from tastemaker.text.prompting.prompts import Template
from tastemaker.text.prompting.wordings import WORDINGS
from tastemaker.text.wishes import wish_lm

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SOURCES = (prompts, wish_lm, item_writer, shopper_picker)
"""Modules whose templates are listed, beside wordings and task families."""


def templates() -> dict[str, Template]:
    """Return every template by its name, in the order of the modules that define them.

    Raises:
        ValueError: two different templates have one name.
    """
    found: dict[str, Template] = {}
    for template in _all():
        if found.setdefault(template.name, template).identity != template.identity:
            raise ValueError(f"two templates are called {template.name!r}")
    return found


def places_of(template: Template) -> tuple[str, ...]:
    """Return the named places of a template, in the order in which they stand."""
    return tuple(dict.fromkeys(place for _, place, _, _ in Formatter().parse(template.user) if place))


def _all() -> Iterator[Template]:
    for module in SOURCES:
        yield from _of_module(vars(module).values())
    for wording in WORDINGS.values():
        yield from wording.templates
    for family in task_templates.FAMILIES.values():
        for template in (*family.templates, *family.held_out):
            held_out = " (no training sees this wording)" if template in family.held_out else ""
            yield template if template.purpose else replace(template, purpose=f"task pairs: {family.asks}{held_out}")


def _of_module(values: Iterable[object]) -> Iterator[Template]:
    return (value for value in values if isinstance(value, Template))
