"""What accuracy costs: latency, money or seconds, tokens; and how it grows while a model trains."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tastemaker.report.blocks import Block, Figure, Section, Table, Text
from tastemaker.report.charts import Dot, Line, lines, points, unbeaten
from tastemaker.report.words import NONE, count, duration, listed, measure_name, memory, number, percent, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tastemaker.report.reading import Comparison, Row
    from tastemaker.report.svg import Style


SAME_SHARE = 0.1
"""Share by which two prices may differ and count as the same: clocks are that noisy."""
SAME_PRICE = 0.1
"""Milliseconds a request, or seconds per 1,000, by which they may."""
NO_MEASURES = {"epoch", "loss", "learning_rate", "seconds"}
"""What stands in an entry of a learning curve beside the validation measure."""


def costs(comparison: Comparison, styles: Mapping[str, Style]) -> Section:
    """Return accuracy against latency and against cost, and the table of what each model takes."""
    rows = comparison.ranked()
    told = {
        frozenset((pair.a, pair.b)): pair.significant
        for pair in comparison.pairs
        if pair.variant in ("", comparison.lead)
    }
    better = partial(_better, told, few=comparison.too_few)
    latency = _against(
        rows, comparison.measure, styles, _latency, "latency", "milliseconds a request, median", better, SAME_PRICE
    )
    paid = any((_per_1000(row, "money") or 0) > 0 for row in rows)
    key, axis = ("money", "money per 1,000 requests") if paid else ("seconds", "seconds per 1,000 requests")
    least = 0.0 if paid else SAME_PRICE  # 0.1 ms a request is 0.1 s per 1,000
    cost = _against(rows, comparison.measure, styles, lambda row: _per_1000(row, key), "cost", axis, better, least)
    blocks: list[Block] = [
        latency or Text("Latency was not measured: no single requests were timed."),
        cost or Text("Cost per 1,000 requests was not measured."),
    ]
    blocks += [_table(rows)] if rows else []
    return Section("cost", "What accuracy costs", blocks)


def learning_curves(comparison: Comparison, styles: Mapping[str, Style]) -> Section:
    """Return the validation measure and the training loss over epochs."""
    rows = [row for row in comparison.ranked() if row.learning_curve]
    measures = dict.fromkeys(
        key for row in rows for entry in row.learning_curve for key in entry if key not in NO_MEASURES
    )
    blocks: list[Block] = [figure for name in measures if (figure := _validation(rows, name, styles))]
    loss = _loss(rows, styles)
    blocks += [loss] if loss else []
    if not blocks:
        blocks.append(Text("No model of this comparison trains in epochs, so there are no learning curves."))
    return Section("learning", "Learning curves", blocks)


def _better(told: Mapping[frozenset[str], bool], a: Dot, b: Dot, *, few: bool) -> bool:
    """Whether a is better than b by more than noise; where a pair was not tested, by any difference."""
    return a.y > b.y and not few and told.get(frozenset((a.name, b.name)), True)


def _latency(row: Row) -> float | None:
    return row.cost.latency_ms.get("p50")


def _per_1000(row: Row, key: str) -> float | None:
    value = row.cost.per_1000_requests.get(key)
    return float(value) if isinstance(value, int | float) else None


def _against(
    rows: list[Row],
    measure: str,
    styles: Mapping[str, Style],
    price: Callable[[Row], float | None],
    what: str,
    axis: str,
    better: Callable[[Dot, Dot], bool],
    least: float,
) -> Figure | None:
    """Return a measure against a price, with the models that no other clearly beats.

    Args:
        rows: of one variant.
        measure: the height.
        styles: of the models.
        price: the width, None where it is not known.
        what: name of the price in the heading.
        axis: name of the price at its axis.
        better: whether the first model is better than the second by more than noise.
        least: smaller differences of the price are noise of the clock.
    """
    dots = []
    for row in rows:
        x, y = price(row), row.value(measure)
        if x is not None and y is not None and x >= 0:
            dots.append(Dot(row.model, styles[row.model], x, y))
    if not dots:
        return None
    front = unbeaten(dots, better=better, cheaper=lambda a, b: b.x - a.x > max(least, SAME_SHARE * b.x))
    finding = (
        f"On the Pareto front, where nothing else is clearly cheaper or better: {listed([dot.name for dot in front])}."
    )
    finding += f" Prices within {percent(SAME_SHARE)} count as the same, and a gain inside the noise as none."
    name = measure_name(measure)
    heading = f"{name} against {what}"
    table = Table(
        heading,
        ["model", axis, name, "Pareto front"],
        [[dot.name, plain(dot.x), number(dot.y), "yes" if dot in front else "no"] for dot in dots],
    )
    svg = points(dots, front, x=f"{axis} (logarithmic)", y=name, label=f"{heading}. {finding}")
    return Figure(heading, finding, svg, table)


def _table(rows: list[Row]) -> Table:
    """Return seconds, memory, latency and what language models were asked."""
    known = (item for row in rows for item in row.cost.per_1000_requests.items())
    keys = list(dict.fromkeys(key for key, value in known if value is not None))
    columns = ["model", "fit", "rank", "peak memory", "p50 of a request", "p95 of a request"]
    cells = [
        [
            row.model,
            duration(row.cost.fit_seconds),
            duration(row.cost.rank_seconds),
            memory(row.cost.peak_mib),
            _milliseconds(row.cost.latency_ms.get("p50")),
            _milliseconds(row.cost.latency_ms.get("p95")),
            *(_amount(key, row.cost.per_1000_requests.get(key)) for key in keys),
        ]
        for row in rows
    ]
    columns += [f"{key.replace('_', ' ')} per 1,000" for key in keys]
    return Table("What each model takes", columns, cells)


def _milliseconds(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f} ms" if value >= 100 else f"{value:.2g} ms"


def _amount(key: str, value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return duration(value) if key == "seconds" else f"{value:,.4f}" if key == "money" and value else count(value)
    return plain(value)


def _validation(rows: list[Row], measure: str, styles: Mapping[str, Style]) -> Figure | None:
    series = _over_epochs(rows, measure, styles)
    if not series:
        return None
    best = [(max(one.points, key=lambda point: point[1]), one.name) for one in series]
    finding = f"{'; '.join(f'{name} peaks at epoch {point[0]:g} with {number(point[1])}' for point, name in best)}."
    name = measure_name(measure)
    heading = f"{name} over epochs, on validation"
    table = Table(
        heading,
        ["model", "epochs", "best epoch", name],
        [[model, f"{len(one.points)}", f"{x:g}", number(y)] for ((x, y), model), one in zip(best, series, strict=True)],
    )
    return Figure(heading, finding, lines(series, x="epoch", y=name, label=f"{heading}. {finding}"), table)


def _loss(rows: list[Row], styles: Mapping[str, Style]) -> Figure | None:
    """Return the training loss as a share of the first epoch's, so that different losses share one axis."""
    series = [
        Line(one.name, one.style, [(x, y / one.points[0][1]) for x, y in one.points])
        for one in _over_epochs(rows, "loss", styles)
        if one.points[0][1] > 0
    ]
    if not series:
        return None
    ends = [(one.points[-1], one.name) for one in series]
    finding = f"{'; '.join(f'{name} ends at {number(y)} of its first loss' for (_, y), name in ends)}."
    heading = "Training loss over epochs, as a share of the first"
    table = Table(heading, ["model", "epochs", "last share"], [[name, f"{x:g}", number(y)] for (x, y), name in ends])
    return Figure(
        heading, finding, lines(series, x="epoch", y="loss / first loss", label=f"{heading}. {finding}"), table
    )


def _over_epochs(rows: list[Row], key: str, styles: Mapping[str, Style]) -> list[Line]:
    series = []
    for row in rows:
        values = [(entry.get("epoch"), entry.get(key)) for entry in row.learning_curve]
        known = [(x, y) for x, y in values if x is not None and y is not None]
        if known:
            series.append(Line(row.model, styles[row.model], known))
    return series
