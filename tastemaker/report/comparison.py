"""The page of a comparison, which a shop owner and a referee both read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tastemaker.report.blocks import Section
from tastemaker.report.findings import facts
from tastemaker.report.reading import Comparison, read
from tastemaker.report.sections.accuracy import bars_and_pairs, result
from tastemaker.report.sections.costs import costs, learning_curves
from tastemaker.report.sections.exposure import exposure
from tastemaker.report.sections.groups import cold_start, items_and_groups
from tastemaker.report.sections.item_map import item_map
from tastemaker.report.sections.record import record
from tastemaker.report.sections.trust import examples, trust
from tastemaker.report.svg import Style
from tastemaker.report.templating import page
from tastemaker.report.words import capped

if TYPE_CHECKING:
    from collections.abc import Sequence


def comparison_page(comparison: dict[str, Any]) -> str:
    """Return a comparison as one HTML page, without network and script.

    Args:
        comparison: `Comparison.to_dict()`, or the JSON that `tastemaker compare` wrote.

    Raises:
        DataError: the format is another, or a part has the wrong type.
    """
    known = read(comparison)
    version = capped(str(known.made_by.get("tastemaker") or ""), 40)
    return page(
        "comparison.html",
        title="tastemaker: comparison of recommenders",
        heading="Which recommender is best here?",
        facts=facts(known),
        sections=sections(known),
        version=version,
    )


def sections(comparison: Comparison) -> Sequence[Section]:
    """Return the sections in reading order."""
    styles = series_styles(comparison)
    return [
        result(comparison),
        bars_and_pairs(comparison, styles),
        cold_start(comparison, styles),
        items_and_groups(comparison, styles),
        exposure(comparison, styles),
        costs(comparison, styles),
        learning_curves(comparison, styles),
        item_map(comparison),
        trust(comparison, styles),
        examples(comparison),
        record(comparison),
    ]


def series_styles(comparison: Comparison) -> dict[str, Style]:
    """Return one look for each model, the same in all charts: the best has the accent, the floor is grey."""
    order = [*comparison.ranked(), *comparison.rows]
    own = list(dict.fromkeys(row.model for row in order if not row.floor))
    floor = list(dict.fromkeys(row.model for row in order if row.floor and row.model not in own))
    return {model: Style(number, model in floor) for number, model in enumerate([*own, *floor])}
