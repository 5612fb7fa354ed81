"""The one Jinja2 environment: everything is escaped, a missing name is an error."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from tastemaker.characters import strip_hostile
from tastemaker.report.words import capped


def page(template: str, **values: Any) -> str:  # noqa: ANN401  # whatever the template names
    """Fill a template of the package; control, bidirectional and invisible characters are removed from the result."""
    environment = Environment(
        loader=PackageLoader("tastemaker"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["capped"] = capped
    return strip_hostile(environment.get_template(template).render(**values))
