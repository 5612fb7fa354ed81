"""For whom and for what a model works: history length, item popularity and age, shopper and product groups."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from tastemaker.report.axes import LETTER
from tastemaker.report.blocks import Block, Figure, Section, Table, Text, styles_key
from tastemaker.report.charts import LEFT, RIGHT, Dot, Line, Span, dots_in_rows, lines, spans
from tastemaker.report.words import capped, count, measure_name, number, title

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tastemaker.report.reading import Comparison, Row, Slice
    from tastemaker.report.svg import Style

HISTORY = "history length"
ITEMS = ("target popularity", "target age")
MOST_PLACES = 6
"""Groups that have room side by side; more are drawn one below the other."""
MOST_GROUPS = 12
"""Groups of one grouping that a chart shows; the largest first."""


def cold_start(comparison: Comparison, styles: Mapping[str, Style]) -> Section:
    """Return accuracy by the number of purchases shown, and by the number that shoppers have."""
    rows = comparison.ranked()
    blocks: list[Block] = []
    shown = _shown_lengths(rows, comparison.measure, styles)
    blocks.append(
        shown
        or Text("How fast each model learns a new shopper was not measured: no run showed only part of the histories.")
    )
    natural = _by_group(rows, HISTORY, comparison.measure, styles, "purchases in the history")
    blocks.append(natural or Text("Accuracy by history length was not measured."))
    return Section("cold-start", "New shoppers", blocks)


def items_and_groups(comparison: Comparison, styles: Mapping[str, Style]) -> Section:
    """Return recall by popularity and age of the wanted item, other groups, and the gaps between groups."""
    rows = comparison.ranked()
    blocks: list[Block] = []
    for by in ITEMS:
        figure = _by_group(rows, by, comparison.recall, styles, _title(by))
        blocks.append(figure or Text(f"Recall by {_title(by)} was not measured."))
    known = dict.fromkeys(one.by for row in rows for one in row.slices)
    others = [by for by in known if by not in (HISTORY, *ITEMS)]
    blocks += [figure for by in others if (figure := _dots(rows, by, comparison.measure, styles))]
    if not others:
        blocks.append(Text("No shopper or product columns were named, so groups of shoppers were not compared."))
    gaps = dict.fromkeys((gap.by, gap.measure) for row in rows for gap in row.gaps)
    blocks += [figure for by, measure in gaps if (figure := _gaps(rows, by, measure, styles))]
    if not gaps:
        blocks.append(Text("Gaps between groups were not measured."))
    return Section("groups", "Items and groups", blocks)


def _shown_lengths(rows: list[Row], measure: str, styles: Mapping[str, Style]) -> Figure | None:
    """Return accuracy over the number of newest purchases that the model was shown, for the same shoppers."""
    lengths = {entry.get("length") for row in rows for entry in row.cold_start}
    order = [*sorted(length for length in lengths if length is not None), *([None] if None in lengths else [])]
    series = []
    for row in rows:
        values = {entry.get("length"): entry.get(measure) for entry in row.cold_start}
        points = [(float(x), value) for x, length in enumerate(order) if (value := values.get(length)) is not None]
        if points:
            series.append(Line(row.model, styles[row.model], points))
    if not series:
        return None
    names = ["all" if length is None else f"{length:g}" for length in order]
    queries = max((entry.get("queries") or 0 for row in rows for entry in row.cold_start), default=0)
    finding = f"With {_shown(names[0])} shown, {_best_at(series, 0.0)}; "
    finding += f"with {_shown(names[-1])}, {_best_at(series, len(names) - 1.0)}."
    heading = f"{measure_name(measure)} by purchases shown"
    return Figure(
        heading,
        f"{finding} The same {count(queries)} shoppers at every length.",
        lines(series, x="newest purchases shown", y=measure_name(measure), label=f"{heading}. {finding}", names=names),
        _series_table(heading, "model", series, names),
    )


def _by_group(rows: list[Row], by: str, measure: str, styles: Mapping[str, Style], axis: str) -> Figure | Text | None:
    """Return a measure over groups that have an order, such as lengths, with the number of queries in each."""
    groups = _groups(rows, by)
    if len(groups) > MOST_PLACES:
        return _dots(rows, by, measure, styles)
    series = []
    for row in rows:
        values = {
            one.group: one.metrics[measure].value for one in row.slices if one.by == by and measure in one.metrics
        }
        points = [(float(x), value) for x, group in enumerate(groups) if (value := values.get(group)) is not None]
        if points:
            series.append(Line(row.model, styles[row.model], points))
    if not series:
        return None
    if len(groups) == 1:
        [(group, queries)] = groups.items()
        return Text(f"All {count(queries)} questions are in one group by {axis}: “{capped(group)}”.")
    letters = int((RIGHT - LEFT) / len(groups) / LETTER)
    wrapped = ["\n".join(wrap(group, letters, max_lines=2, placeholder="…")) for group in groups]
    rows_of = max(name.count("\n") for name in wrapped)
    names = [
        f"{name}{(rows_of - name.count(chr(10))) * chr(10)}\nn {_short(queries)}"
        for name, queries in zip(wrapped, groups.values(), strict=True)
    ]
    plain_names = list(groups)
    first, last = _best_at(series, 0.0), _best_at(series, len(names) - 1.0)
    finding = f"In “{plain_names[0]}”, {first}; in “{plain_names[-1]}”, {last}."
    heading = f"{measure_name(measure)} by {axis}"
    return Figure(
        heading,
        finding,
        lines(series, x=axis, y=measure_name(measure), label=f"{heading}. {finding}", names=names),
        _interval_table(heading, rows, by, measure, groups),
    )


def _dots(rows: list[Row], by: str, measure: str, styles: Mapping[str, Style]) -> Figure | None:
    """Return a measure over groups without an order: one row a group, one marker a model."""
    groups = _groups(rows, by)
    largest = sorted(groups, key=lambda group: -(groups[group] or 0))[:MOST_GROUPS]
    drawn = []
    for group in largest:
        values = [(row, _value(row.slices, by, group, measure)) for row in rows]
        dots = [Dot(row.model, styles[row.model], value, 0.0) for row, value in values if value is not None]
        if dots:
            drawn.append((f"{group} (n {count(groups[group])})", dots))
    if not drawn:
        return None
    name = measure_name(measure)
    top, low = max(drawn, key=_best_dot), min(drawn, key=_best_dot)
    finding = (
        f"Easiest group: {top[0]}, best {number(_best_dot(top))}; hardest: {low[0]}, best {number(_best_dot(low))}."
    )
    if len(groups) > len(largest):
        finding += f" The {len(largest)} largest of {len(groups)} groups are drawn."
    heading = f"{name} by {_title(by)}"
    return Figure(
        heading,
        finding,
        dots_in_rows(drawn, axis=name, label=f"{heading}. {finding}"),
        _interval_table(heading, rows, by, measure, groups),
        key=styles_key([(row.model, styles[row.model]) for row in rows]),
    )


def _gaps(rows: list[Row], by: str, measure: str, styles: Mapping[str, Style]) -> Figure | None:
    """Return the way from the worst to the best group for each model."""
    found = [(row, gap) for row in rows for gap in row.gaps if (gap.by, gap.measure) == (by, measure)]
    known = [
        Span(
            row.model,
            styles[row.model],
            gap.worst_value,
            gap.best_value,
            f"{capped(gap.worst, 12)} {number(gap.worst_value)} to {capped(gap.best, 12)} {number(gap.best_value)}",
        )
        for row, gap in found
        if gap.worst_value is not None and gap.best_value is not None
    ]
    if not known:
        return None
    name = measure_name(measure)
    widest = max(known, key=lambda span: span.best - span.worst)
    finding = f"Widest: {widest.name}, {number(widest.best - widest.worst)} between the best and the worst group."
    heading = f"Gap in {name} by {_title(by)}"
    table = Table(
        heading,
        ["model", "worst group", name, "best group", f"best {name}", "gap"],
        [
            [row.model, gap.worst, number(gap.worst_value), gap.best, number(gap.best_value), number(gap.gap)]
            for row, gap in found
        ],
    )
    svg = spans(known, axis=f"{name} (open: worst group, filled: best)", label=f"{heading}. {finding}")
    return Figure(heading, finding, svg, table)


def _groups(rows: list[Row], by: str) -> dict[str, int | None]:
    """Return the groups of a grouping with their queries, in the order given."""
    return {one.group: one.queries for row in rows for one in row.slices if one.by == by}


def _value(slices: list[Slice], by: str, group: str, measure: str) -> float | None:
    found = [
        one.metrics[measure].value for one in slices if (one.by, one.group) == (by, group) and measure in one.metrics
    ]
    return found[0] if found else None


def _best_dot(row: tuple[str, list[Dot]]) -> float:
    return max(dot.x for dot in row[1])


def _best_at(series: list[Line], x: float) -> str:
    """Name the best series at a place."""
    values = [(value, one.name) for one in series for place, value in one.points if place == x]
    if not values or max(values)[0] == 0:
        return "no model has a hit" if values else "nothing was measured"
    return f"{max(values)[1]} is best with {number(max(values)[0])}"


def _title(by: str) -> str:
    """Name a grouping; a target is the item that was bought."""
    return title(by).replace("target", "item")


def _shown(name: str) -> str:
    return "the whole history" if name == "all" else f"{name} purchase{'' if name == '1' else 's'}"


def _short(queries: int | None) -> str:
    """Return a count that fits under a tick."""
    if queries is None:
        return "–"
    for size, unit in ((1_000_000, "M"), (1000, "k")):
        if queries >= size:
            return f"{queries / size:.1f}{unit}" if queries < 10 * size else f"{queries / size:.0f}{unit}"
    return f"{queries}"


def _series_table(label: str, first: str, series: list[Line], names: list[str]) -> Table:
    values = [dict(one.points) for one in series]
    return Table(
        label,
        [first, *names],
        [
            [one.name, *(number(known.get(float(x))) for x in range(len(names)))]
            for one, known in zip(series, values, strict=True)
        ],
    )


def _interval_table(label: str, rows: list[Row], by: str, measure: str, groups: dict[str, int | None]) -> Table:
    """Return groups x models, with the intervals where they are known."""
    cells = []
    for group, queries in groups.items():
        found = [
            next((one.metrics.get(measure) for one in row.slices if (one.by, one.group) == (by, group)), None)
            for row in rows
        ]
        values = [
            "–"
            if one is None
            else number(one.value)
            if one.low is None or one.high is None
            else f"{number(one.value)} [{number(one.low)}, {number(one.high)}]"
            for one in found
        ]
        cells.append([group, count(queries), *values])
    return Table(label, [_title(by), "queries", *(row.model for row in rows)], cells)
