"""For whom and for what a model works: history length, item popularity and age, shopper and product groups."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from tastemaker.report.axes import LETTER
from tastemaker.report.blocks import Block, Figure, Section, Table, Text, styles_key
from tastemaker.report.charts import LEFT, RIGHT, Dot, Line, Span, dots_in_rows, lines, spans
from tastemaker.report.findings import alike, highest
from tastemaker.report.reading import LEAST
from tastemaker.report.words import capped, count, measure_name, number, p_said, p_value, title

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tastemaker.report.reading import Comparison, Gap, Row, Slice
    from tastemaker.report.svg import Style

HISTORY = "history length"
ITEMS = ("target popularity", "target age")
MOST_PLACES = 6
"""Groups that have room side by side; more are drawn one below the other."""
FALLBACK = " Without purchases, models that have no answer show the fallback's best-sellers."
GAPS = (
    f"The worst and the best group of each kind, of those with {LEAST} questions and more. A gap is inside the noise "
    "if groups drawn at random lie as far apart in more than 1 of 20 trials, corrected for the number of kinds (Holm)."
)
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
    if any(row.gaps for row in rows):
        blocks += [Text(GAPS), *_gap_figures(rows, styles)]
    else:
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
    finding = f"With {_shown(names[0])} shown, {_highest_at(series, 0.0, queries)}; "
    finding += f"with {_shown(names[-1])}, {_highest_at(series, len(names) - 1.0, queries)}."
    finding += FALLBACK if names[0] == "0" and _enough(queries) else ""
    heading = f"{measure_name(measure)} by purchases shown"
    return Figure(
        heading,
        f"{finding} The same {count(queries)} shopper{'' if queries == 1 else 's'} at every length.",
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
    first, last = (_highest_at(series, float(x), groups[plain_names[x]]) for x in (0, len(names) - 1))
    finding = f"In “{plain_names[0]}”, {first}; in “{plain_names[-1]}”, {last}."
    finding += FALLBACK if plain_names[0] == "0" and _enough(groups["0"]) else ""
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
    drawn, compared = [], []
    for group in (group for group in groups if group in largest):
        values = [(row, _value(row.slices, by, group, measure)) for row in rows]
        dots = [Dot(row.model, styles[row.model], value, 0.0) for row, value in values if value is not None]
        if dots:
            drawn.append((f"{group} (n {count(groups[group])})", dots))
            compared += drawn[-1:] if _enough(groups[group]) else []
    if not drawn:
        return None
    name = measure_name(measure)
    finding = _ends_of(compared, [gap.significant for row in rows for gap in row.gaps if gap.by == by])
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


def _gap_figures(rows: list[Row], styles: Mapping[str, Style]) -> list[Figure]:
    """Return a figure for each kind of groups, the widest gap that is more than noise first."""
    kinds = dict.fromkeys((gap.by, gap.measure) for row in rows for gap in row.gaps)
    order = sorted(kinds, key=lambda kind: max(map(_rank, _of_kind(rows, *kind).values())), reverse=True)
    return [figure for by, measure in order if (figure := _gaps(rows, by, measure, styles))]


def _of_kind(rows: list[Row], by: str, measure: str) -> dict[str, Gap]:
    return {row.model: gap for row in rows for gap in row.gaps if (gap.by, gap.measure) == (by, measure)}


def _rank(gap: Gap) -> tuple[bool, float]:
    """Return a key that grows with how much a gap says."""
    return gap.significant is True, gap.gap or 0.0


def _gaps(rows: list[Row], by: str, measure: str, styles: Mapping[str, Style]) -> Figure | None:
    """Return the way from the worst to the best group for each model, and which of them is more than noise."""
    found = _of_kind(rows, by, measure)
    known = [
        Span(
            model,
            styles[model],
            gap.worst_value,
            gap.best_value,
            f"{capped(gap.worst, 12)} {number(gap.worst_value)} to {capped(gap.best, 12)} {number(gap.best_value)}",
        )
        for model, gap in found.items()
        if gap.worst_value is not None and gap.best_value is not None
    ]
    if not known:
        return None
    name = measure_name(measure)
    heading = f"Gap in {name} by {_title(by)}"
    finding = _widest(found)
    table = Table(
        heading,
        ["model", "worst group", "queries", name, "best group", "queries of it", f"best {name}", "gap", "p (Holm)", ""],
        [
            [
                model,
                gap.worst,
                count(gap.worst_queries),
                number(gap.worst_value),
                gap.best,
                count(gap.best_queries),
                number(gap.best_value),
                number(gap.gap),
                p_value(gap.p_holm),
                {True: "more than noise", False: "inside the noise", None: "not tested"}[gap.significant],
            ]
            for model, gap in found.items()
        ],
    )
    svg = spans(known, axis=f"{name} (open: worst group, filled: best)", label=f"{heading}. {finding}")
    return Figure(heading, finding, svg, table)


def _widest(gaps: Mapping[str, Gap]) -> str:
    """Say which gap that is more than noise is the widest, or that all are inside the noise."""
    model, gap = max(gaps.items(), key=lambda one: _rank(one[1]))
    ends = [
        ("“" + capped(gap.worst, 40) + "”", gap.worst_queries),
        ("“" + capped(gap.best, 40) + "”", gap.best_queries),
    ]
    between = " and ".join(name if queries is None else f"{name} (n {count(queries)})" for name, queries in ends)
    widest = f"{model}, {number(gap.gap)} between {between}"
    if gap.significant:
        return f"Widest beyond the noise: {widest}, {p_said(gap.p_holm)}."
    if gap.significant is None:
        return f"Widest: {widest}; whether that is more than noise was not tested."
    few = len(gaps) == 1
    return f"{'The gap is' if few else 'All gaps are'} inside the noise; the widest: {widest}, {p_said(gap.p_holm)}."


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


def _ends_of(groups: Sequence[tuple[str, list[Dot]]], tested: Sequence[bool | None]) -> str:
    """Name the groups with the highest and the lowest best value, of those that are large enough.

    Args:
        groups: name and one dot a model.
        tested: for each model whether its gap between these groups is more than noise, None = not tested.
    """
    if len(groups) < 2:
        return f"Too few groups with {LEAST} questions to compare."
    top, low = max(groups, key=_best_dot), min(groups, key=_best_dot)
    if alike([_best_dot(top), _best_dot(low)]):
        return f"All groups alike: the best model has {number(_best_dot(top))} in each."
    finding = f"Highest in {top[0]}: {number(_best_dot(top))} by the best model; lowest in {low[0]}: "
    finding += f"{number(_best_dot(low))}."
    return f"{finding} All gaps are inside the noise." if tested and not any(tested) and None not in tested else finding


def _highest_at(series: list[Line], x: float, queries: float | None) -> str:
    """Name the highest series at a place, if enough questions were asked there."""
    if not _enough(queries):
        return f"too few questions to compare (n {count(queries)})"
    return highest([(one.name, value) for one in series for place, value in one.points if place == x])


def _enough(queries: float | None) -> bool:
    return queries is None or queries >= LEAST


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
