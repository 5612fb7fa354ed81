"""What the lists are like beyond hits: how much of the catalogue they show, and how evenly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tastemaker.report.blocks import Block, Figure, Section, Table, Text
from tastemaker.report.charts import Line, lines
from tastemaker.report.words import figure, measure_name, number, percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tastemaker.report.reading import Comparison, Row
    from tastemaker.report.svg import Style

BEYOND_HITS = (
    "coverage",
    "category_coverage",
    "gini",
    "popularity_lift",
    "novelty",
    "diversity",
    "category_diversity",
    "serendipity",
    "miscalibration",
    "revenue_recall",
    "revenue_ndcg",
)


def exposure(comparison: Comparison, styles: Mapping[str, Style]) -> Section:
    """Return coverage by list length, Lorenz curves, and the table of measures beyond hits."""
    rows = comparison.ranked()
    blocks: list[Block] = [
        _coverage(rows, styles) or Text("Coverage by list length was not measured."),
        _lorenz(rows, comparison.k, styles) or Text("How evenly items are shown was not measured."),
        _table(rows, comparison.k) or Text("Novelty, diversity, popularity lift and calibration were not measured."),
    ]
    return Section("exposure", "What the lists show of the catalogue", blocks)


def _coverage(rows: list[Row], styles: Mapping[str, Style]) -> Figure | None:
    series = _known(rows, styles, "coverage")
    if not series:
        return None
    ends = sorted(((one.points[-1][1], one.name) for one in series), reverse=True)
    k = max(one.points[-1][0] for one in series)
    finding = f"In lists of {k:g}, {ends[0][1]} shows {percent(ends[0][0])} of the catalogue"
    finding += f", {ends[-1][1]} {percent(ends[-1][0])}." if len(ends) > 1 else "."
    lengths = sorted({x for one in series for x, _ in one.points})
    table = Table(
        "Share of the catalogue in at least one list",
        ["model", *(f"k = {length:g}" for length in lengths)],
        [[one.name, *(number(dict(one.points).get(length)) for length in lengths)] for one in series],
    )
    heading = "Coverage by list length"
    svg = lines(series, x="list length k", y="share of the catalogue", label=f"{heading}. {finding}")
    return Figure(heading, finding, svg, table)


def _lorenz(rows: list[Row], k: str, styles: Mapping[str, Style]) -> Figure | None:
    series = [one for one in _known(rows, styles, "lorenz") if len(one.points) > 1]
    if not series:
        return None
    halves = sorted((_share_of_top(one), one.name) for one in series)
    finding = f"The most shown tenth of the items takes {percent(halves[0][0])} of the places with {halves[0][1]}"
    finding += f", {percent(halves[-1][0])} with {halves[-1][1]}." if len(halves) > 1 else "."
    gini = {row.model: row.value(f"gini@{k}") for row in rows}
    table = Table(
        "Exposure of items",
        ["model", "places of the top tenth", "Gini"],
        [[one.name, percent(_share_of_top(one)), number(gini.get(one.name))] for one in series],
    )
    heading = "How evenly items are shown (Lorenz curves)"
    svg = lines(
        series, x="share of items, least shown first", y="share of places", label=f"{heading}. {finding}", square=True
    )
    return Figure(heading, finding, svg, table)


def _known(rows: list[Row], styles: Mapping[str, Style], curve: str) -> list[Line]:
    """Return a curve of every row that has it, without its unknown points."""
    series = []
    for row in rows:
        points = [(x, y) for x, y in getattr(row.curves, curve) if x is not None and y is not None]
        if points:
            series.append(Line(row.model, styles[row.model], sorted(points)))
    return series


def _share_of_top(series: Line) -> float:
    """Return the share of places that the most shown tenth of the items takes."""
    return 1 - series.at(0.9)


def _table(rows: list[Row], k: str) -> Table | None:
    measures = list(dict.fromkeys(name for row in rows for name in row.metrics))
    taken = [name for name in measures if name.endswith(f"@{k}") and any(row.value(name) is not None for row in rows)]
    shown = [name for kind in BEYOND_HITS for name in taken if name.partition("@")[0] == kind]
    if not shown:
        return None
    cells = [[row.model, *(figure(name, row.value(name)) for name in shown)] for row in rows]
    return Table("Measures beyond hits", ["model", *map(measure_name, shown)], cells)
