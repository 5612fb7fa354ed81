"""The page of `tastemaker attack`: what each kind of attack wins before and after defence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tastemaker.errors import DataError
from tastemaker.report.blocks import Block, Code, Figure, Hidden, Section, Table, Text
from tastemaker.report.charts import Span, spans
from tastemaker.report.svg import Style
from tastemaker.report.templating import page
from tastemaker.report.words import capped, percent, plain, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CONDITIONS = ("before", "after")


def attack_page(result: Mapping[str, Any]) -> str:
    """Return what `attacks.measure` found as one HTML page, without network and script.

    Raises:
        DataError: it is no such result.
    """
    try:
        sections = [_kinds(result), _attacks(result), _record(result)]
        protocol = result["protocol"]
        facts = (
            f"{plain(protocol['targets'])} products attacked, {plain(protocol['shoppers'])} shoppers asked, "
            f"{plain(len(result['attacks']))} attacks"
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"attack: not a result of `tastemaker attack` ({error!r}); run it again with --out") from error
    version = capped(str(result.get("made_by", {}).get("tastemaker") or ""), 40)
    return page(
        "comparison.html",
        title="tastemaker: attacks on product texts",
        heading="What can a seller win by writing?",
        facts=facts,
        sections=sections,
        version=version,
    )


def _kinds(result: Mapping[str, Any]) -> Section:
    """Say what the worst kind wins, and draw all kinds before and after."""
    kinds = result["kinds"]
    k = result["protocol"]["k"]
    worst = {
        condition: max(kinds, key=lambda one: one[condition]["exposure_gain"]["value"] or 0.0)
        for condition in CONDITIONS
    }
    words = [
        f"{condition.capitalize()} defence, {worst[condition]['kind']} wins most: a poisoned product enters the first "
        f"{k} of {percent(worst[condition][condition]['exposure_gain']['value'] or 0.0)} of the lists."
        for condition in CONDITIONS
    ]
    rows = [
        Span(
            one["kind"],
            Style(number),
            one["before"]["exposure_gain"]["value"] or 0.0,
            one["after"]["exposure_gain"]["value"] or 0.0,
            " to ".join(percent(one[condition]["exposure_gain"]["value"] or 0.0) for condition in CONDITIONS),
        )
        for number, one in enumerate(kinds)
    ]
    heading, finding = "Exposure won by kind of attack", " ".join(words)
    axis = f"share of lists entered at the first {k} (open: before defence, filled: after)"
    figure = Figure(
        heading,
        finding,
        spans(rows, axis=axis, label=f"{heading}. {finding}"),
        _table("Kinds of attacks", "kind", kinds),
    )
    blocks: list[Block] = [Text(finding), Text(_bound(result)), figure, _table("Kinds of attacks", "kind", kinds)]
    return Section("result", "Kinds of attacks", blocks)


def _bound(result: Mapping[str, Any]) -> str:
    """Say what bounds a rise."""
    bounds = {name: limit for name, limit in result["protocol"]["max_rise"].items() if limit is not None}
    if not bounds:
        return "No stage has a bound on rising: the texts are read by a model that ranks the whole catalogue."
    limits = "; ".join(f"stage {name}: {limit} places" for name, limit in bounds.items())
    return f"A candidate may rise above the list of the stage before by so many places at most: {limits}."


def _attacks(result: Mapping[str, Any]) -> Section:
    """Return every attack with its source."""
    sources = Table(
        "Where the attacks come from",
        ["attack", "kind", "field", "language", "source"],
        [[one[name] for name in ("name", "kind", "field", "language", "source")] for one in result["attacks"]],
    )
    blocks: list[Block] = [_table("Attacks", "name", result["attacks"]), Hidden("Sources", sources)]
    return Section("attacks", "Single attacks", blocks)


def _record(result: Mapping[str, Any]) -> Section:
    """Return the protocol and the command."""
    rows = [[name.replace("_", " "), plain(value, length=160)] for name, value in result["protocol"].items()]
    blocks: list[Block] = [Table("Protocol", ["what", "value"], rows)]
    command = result.get("made_by", {}).get("command")
    if command:
        blocks.append(Code(" ".join(map(str, command))))
    return Section("protocol", "Protocol", blocks)


def _table(label: str, first: str, rows: list[Mapping[str, Any]]) -> Table:
    """Return the figures of attacks or kinds."""
    columns = [
        first,
        "places won, before",
        "after",
        "first places won, before",
        "after",
        "stopped",
        "most, after",
        "flagged",
    ]
    cells = [
        [
            str(one[first]),
            *(_interval(one[condition]["rank_gain"], _whole) for condition in CONDITIONS),
            *(_interval(one[condition]["exposure_gain"], percent) for condition in CONDITIONS),
            _interval(one["stopped"], percent),
            plain(one["after"]["most"]),
            percent(one["flagged"]),
        ]
        for one in rows
    ]
    return Table(label, columns, cells)


def _interval(measured: Mapping[str, float | None], written: Callable[[float], str]) -> str:
    value, low, high = (measured[name] for name in ("value", "low", "high"))
    if value is None:
        return "–"
    return written(value) if low is None or high is None else f"{written(value)} [{written(low)}, {written(high)}]"


def _whole(value: float) -> str:
    return signed(value) if abs(value) < 10 else f"{value:+,.0f}".replace("-", "−")
