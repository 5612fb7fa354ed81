"""Which model is best: the table of all rows, variants side by side, bars with intervals, paired differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tastemaker.report.blocks import Block, Figure, Hidden, Section, Table, Text, Verdict, styles_key
from tastemaker.report.charts import Bar, Dot, bars, dots_in_rows
from tastemaker.report.findings import alike, headline, verdict_of
from tastemaker.report.reading import ABOVE
from tastemaker.report.svg import Style
from tastemaker.report.words import (
    MEASURES,
    NONE,
    capped,
    duration,
    figure,
    interval,
    listed,
    measure_name,
    memory,
    number,
    p_value,
    signed,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tastemaker.report.reading import Comparison, Row


def result(comparison: Comparison) -> Section:
    """Return the verdict in words, the table of all rows, and the variants side by side."""
    blocks: list[Block] = [Text(sentence) for sentence in headline(comparison)]
    blocks += [Text(f"Note: {capped(note, 600)}") for note in _notes(comparison)]
    if comparison.rows:
        blocks.append(_rows(comparison, comparison.lead))
    if len(comparison.variant_names) > 1:
        blocks += [
            Text(
                "A choice of the protocol can move every figure more than a better model does. "
                f"All charts below show the first variant, “{capped(comparison.lead)}”."
            ),
            _variants(comparison),
            *(
                Hidden(f"All columns under “{capped(name)}”", _rows(comparison, name))
                for name in comparison.variant_names
                if name != comparison.lead
            ),
        ]
    if comparison.ranked():
        blocks.append(_all_measures(comparison))
    blocks.append(_glossary(comparison))
    return Section("result", "Result", blocks)


def _notes(comparison: Comparison) -> list[str]:
    """Return the notes, those that say the same of several models as one."""
    models = dict.fromkeys(row.model for row in comparison.rows)
    said: dict[str, list[str]] = {}
    for note in comparison.notes:
        model = next((name for name in models if note.startswith(f"{name} ")), "")
        said.setdefault(note.removeprefix(f"{model} "), []).append(model)
    return [f"{listed(names)}: {note}" if names != [""] else note for note, names in said.items()]


def bars_and_pairs(comparison: Comparison, styles: Mapping[str, Style]) -> Section:
    """Return bars with intervals for the headline measure and for recall, the variants, and all paired tests."""
    blocks: list[Block] = []
    for measure in dict.fromkeys([comparison.measure, comparison.recall]):
        rows = [row for row in comparison.ranked() if row.value(measure) is not None]
        blocks.append(
            _bars(rows, measure, comparison.lead, styles)
            if rows
            else Text(f"{measure_name(measure)} was not measured, so there is nothing to draw.")
        )
    across = _across(comparison)
    blocks += [across] if across else []
    matrices = [(name, _matrix(comparison, name)) for name in comparison.variant_names]
    tested = [(name, matrix) for name, matrix in matrices if matrix is not None]
    if not tested:
        blocks.append(Text("Models were not tested against each other in pairs."))
    for place, (name, matrix) in enumerate(tested):
        if place == 0:
            blocks += [
                Text(
                    "Each cell is the row's model minus the column's, over the same shoppers. ▲ and ▼ mark differences "
                    "that are significant after Holm's correction over all pairs of the variant; ≈ is inside the noise."
                ),
                matrix,
            ]
        else:
            blocks.append(Hidden(f"Paired differences under “{capped(name)}”", matrix))
    return Section("differences", "How sure is that", blocks)


def _rows(comparison: Comparison, variant: str) -> Table:
    """Return all rows of one variant, best first, failed ones last."""
    seeds = len(comparison.seeds) > 1
    recall = [comparison.recall] if comparison.recall != comparison.measure else []
    columns = ["model", measure_name(comparison.measure), "95 % interval", "verdict", "against the floor", "p (Holm)"]
    columns += [f"spread over {len(comparison.seeds)} seeds"] if seeds else []
    columns += [*map(measure_name, recall), "fit + rank", "peak memory"]
    rows = [*comparison.ranked(variant), *(row for row in comparison.failed() if row.variant == variant)]
    cells: list[list[str | Verdict]] = []
    for row in rows:
        measured = row.measured(comparison.measure)
        cells.append(
            [
                row.model,
                number(measured.value),
                interval(measured),
                verdict_of(comparison, row),
                signed(row.against_floor.difference),
                p_value(row.against_floor.p_holm),
                *([_spread(comparison, row)] if seeds else []),
                *(number(row.value(name)) for name in recall),
                duration(row.seconds),
                memory(row.cost.peak_mib),
            ]
        )
    strong = frozenset({0} if rows and not rows[0].error and not comparison.too_few else ())
    return Table(f"All models under “{capped(variant, 120)}”, best first", columns, cells, strong)


def _variants(comparison: Comparison) -> Table:
    """Return models x variants with the headline measure and the mark of the verdict."""
    names = comparison.variant_names
    models = dict.fromkeys([row.model for row in comparison.ranked()] + [row.model for row in comparison.rows])
    by_place = {(row.model, row.variant): row for row in comparison.rows}
    return Table(
        f"{measure_name(comparison.measure)} under each variant of the protocol",
        ["model", *(capped(name, 70) for name in names)],
        [[model, *(_marked(comparison, by_place.get((model, name))) for name in names)] for model in models],
    )


def _marked(comparison: Comparison, row: Row | None) -> str:
    return NONE if row is None else f"{number(row.value(comparison.measure))} {verdict_of(comparison, row).symbol}"


def _spread(comparison: Comparison, row: Row) -> str:
    """Return the standard deviation over seeds; in words where no list changed or some seeds have no fit."""
    spread = row.measured(comparison.measure).spread
    if spread is None:
        return NONE
    never = all(not measured.spread for measured in row.metrics.values())
    words = "same lists" if never else number(spread)
    fits = row.seeds if row.seeds is not None and row.seeds < len(comparison.seeds) else None
    return words if fits is None else f"{words}, {fits} fit{'' if fits == 1 else 's'}"


def _across(comparison: Comparison) -> Figure | None:
    """Return one row a model with a marker for each variant of the protocol, if there is more than one."""
    name = measure_name(comparison.measure)
    looks = {variant: Style(number) for number, variant in enumerate(comparison.variant_names)}
    found: dict[str, list[Dot]] = {row.model: [] for row in comparison.ranked()}
    for row in comparison.rows:
        value = row.value(comparison.measure)
        if value is not None and not row.error:
            found.setdefault(row.model, []).append(Dot(row.variant, looks[row.variant], value, 0.0))
    drawn = [(model, dots) for model, dots in found.items() if dots]
    if len(looks) < 2 or not drawn:
        return None
    moved = {model: max(dot.x for dot in dots) - min(dot.x for dot in dots) for model, dots in drawn}
    most = max(moved, key=lambda model: moved[model])
    finding = f"The choice of protocol alone moves {most} by {number(moved[most])}, the most of all models."
    heading = f"{name} under each variant of the protocol"
    svg = dots_in_rows(drawn, axis=name, label=f"{heading}. {finding}")
    key = styles_key([(capped(variant, 100), look) for variant, look in looks.items()])
    return Figure(heading, finding, svg, _variants(comparison), key)


def _bars(rows: list[Row], measure: str, variant: str, styles: Mapping[str, Style]) -> Figure:
    """Return one chart of bars; its finding names the highest and the lowest."""
    name = measure_name(measure)
    order = sorted(rows, key=lambda row: row.value(measure) or 0.0, reverse=True)
    ends = [(row.model, row.value(measure) or 0.0) for row in (order[0], order[-1])]
    finding = f"Highest: {ends[0][0]} with {number(ends[0][1])}; lowest: {ends[1][0]} with {number(ends[1][1])}."
    if alike([value for _, value in ends]):
        finding = f"All alike: {number(ends[0][1])}." if ends[0][1] else "Nobody hit anything."
    table = Table(
        f"{name}, value and interval",
        ["model", name, "95 % interval"],
        [[row.model, number(row.value(measure)), interval(row.measured(measure))] for row in order],
    )
    drawn = []
    for row in order:
        measured = row.measured(measure)
        drawn.append(Bar(row.model, styles[row.model], measured.value or 0.0, measured.low, measured.high))
    title = f"{name}, {capped(variant, 100)}" if variant else name
    svg = bars(drawn, axis=f"{name} (whisker: 95 % interval, open bar: floor)", label=f"Bars: {title}. {finding}")
    return Figure(title, finding, svg, table)


def _matrix(comparison: Comparison, variant: str) -> Table | None:
    """Return paired differences of all models of a variant, or None where none was tested."""
    pairs = [pair for pair in comparison.pairs if pair.variant in ("", variant)]
    if not pairs:
        return None
    cells = {}
    for pair in pairs:
        difference = pair.difference
        for a, b, sign in ((pair.a, pair.b, 1), (pair.b, pair.a, -1)):
            if difference is not None:
                symbol = "≈" if not pair.significant else "▲" if sign * difference > 0 else "▼"
                cells[a, b] = f"{symbol} {signed(sign * difference)}"
    tested = {name for pair in pairs for name in (pair.a, pair.b)}
    models = [row.model for row in comparison.ranked(variant) if row.model in tested]
    models += sorted(tested - set(models))
    measure = pairs[0].measure or comparison.measure
    return Table(
        f"Paired differences of {measure_name(measure)} under “{capped(variant, 120)}”: row minus column",
        ["model", *models],
        [[row, *("·" if row == column else cells.get((row, column), NONE) for column in models)] for row in models],
    )


def _all_measures(comparison: Comparison) -> Hidden:
    """Return every measure of every row of the lead variant."""
    rows = comparison.ranked()
    measures = list(dict.fromkeys(measure for row in rows for measure in row.metrics))
    cells = [[measure_name(name), *(figure(name, row.value(name)) for row in rows)] for name in measures]
    table = Table("Every measure", ["measure", *(row.model for row in rows)], cells)
    return Hidden("Every measure of every model", table)


def _glossary(comparison: Comparison) -> Hidden:
    """Say what the measures and the verdicts mean."""
    used = dict.fromkeys(measure.partition("@")[0] for row in comparison.rows for measure in row.metrics)
    cells = [list(MEASURES[name]) for name in used if name in MEASURES]
    cells.append(["interval", "made by a method that covers the mean over all such shoppers about 95 times in 100"])
    cells.append(["floor", "methods without training, which a model should beat before its cost is paid"])
    cells.append([f"▲ {ABOVE}", "the difference to the best of the floor is significant after Holm's correction"])
    cells.append(["≈", "inside the noise: no proof of a difference with this many shoppers, and no proof of none"])
    return Hidden("What the words mean", Table("Measures and verdicts", ["word", "meaning"], cells))
