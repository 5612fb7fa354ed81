"""The charts: bars with intervals, lines, points with their Pareto front, dots in rows, ranges, and a map.

Each returns one SVG, 440 units wide, so that its letters stay readable on a phone; `label` is its alternative text.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from markupsafe import Markup

from tastemaker.report.axes import LETTER, LINE, Clearing, Scale, linear, logarithmic, spread, x_axis, y_axis
from tastemaker.report.svg import drawing, element, line, mark, text
from tastemaker.report.words import capped, number, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tastemaker.report.svg import Style

WIDTH = 440.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 292.0, 32.0, 250.0
"""The plot of a chart with a vertical axis; series are named right of it."""
MAP_LETTER = 6.0
"""Average width of a letter on the map, whose letters are smaller."""
NAME = 17
"""Letters of a series' name that fit right of a plot."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: a value and the interval it lies in."""

    name: str
    style: Style
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One series: points (x, y) in order of x."""

    name: str
    style: Style
    points: list[tuple[float, float]]

    def at(self, x: float) -> float:
        """Return y at `x`, between its neighbours; beyond the last point that point's y."""
        for before, after in itertools.pairwise(self.points):
            if before[0] <= x <= after[0] and after[0] > before[0]:
                return before[1] + (x - before[0]) / (after[0] - before[0]) * (after[1] - before[1])
        return self.points[-1][1]


@dataclass(frozen=True, slots=True)
class Dot:
    """One point with its name."""

    name: str
    style: Style
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Span:
    """One row that reaches from a worst to a best value, each with its name."""

    name: str
    style: Style
    worst: float
    best: float
    words: str


@dataclass(frozen=True, slots=True)
class Place:
    """One place on a map, its size between 0 and 1."""

    x: float
    y: float
    style: Style
    hint: str
    size: float


def bars(rows: Sequence[Bar], *, axis: str, label: str) -> Markup:
    """Draw horizontal bars from zero, each under its name, the interval as a whisker, bars of the floor open."""
    tall = 38.0
    bottom = 8 + tall * len(rows)
    scale = linear([*(row.value for row in rows), *(row.high or 0.0 for row in rows)], 4, WIDTH - 16)
    parts = [x_axis(scale, bottom, axis, top=4)]
    for place, row in enumerate(rows):
        y = 8 + tall * place
        start, end = sorted((scale(0), scale(row.value)))
        hint = f"{row.name}: {number(row.value)}"
        if row.low is not None and row.high is not None:
            hint += f", {number(row.low)} to {number(row.high)}"
        parts += [
            text(4, y + 12, shortened(row.name, 44), "label"),
            text(WIDTH - 8, y + 12, number(row.value), "value", "end"),
            element(
                "rect",
                element("title", hint),
                x=start,
                y=y + 18,
                width=max(end - start, 0.5),
                height=11,
                class_=f"bar {row.style.css}",
            ),
        ]
        if row.low is not None and row.high is not None:
            low, high = scale(row.low), scale(row.high)
            whisker = f"M{low:.1f} {y + 19.5:.1f}v8M{low:.1f} {y + 23.5:.1f}H{high:.1f}M{high:.1f} {y + 19.5:.1f}v8"
            parts += [element("path", d=whisker, class_="halo"), element("path", d=whisker, class_="whisker")]
    return drawing(WIDTH, bottom + 2 * LINE + 10, label, *parts)


def lines(
    series: Sequence[Line],
    *,
    x: str,
    y: str,
    label: str,
    names: Sequence[str] | None = None,
    zero: bool = True,
    square: bool = False,
) -> Markup:
    """Draw series as lines, each named at its right end.

    Args:
        series: at least one, each with at least one point.
        x: name of the horizontal axis.
        y: name of the vertical axis.
        label: alternative text.
        names: names of the places 0, 1, 2, ...; a line end within a name starts a second row.
        zero: whether the vertical axis starts at zero.
        square: both axes go from 0 to 1, with the line of equal shares.
    """
    points = [point for one in series for point in one.points]
    vertical = linear((point[1] for point in points), BOTTOM, TOP, zero=zero)
    if square:
        across, vertical = Scale(0, 1, LEFT, RIGHT), Scale(0, 1, BOTTOM, TOP)
    elif names is not None:
        across = Scale(-0.4, len(names) - 0.6, LEFT, RIGHT)
    else:
        across = Scale(min(point[0] for point in points), max(point[0] for point in points), LEFT + 6, RIGHT - 6)
    parts = [y_axis(vertical, LEFT, y, right=RIGHT), x_axis(across, BOTTOM, x, top=BOTTOM, names=names)]
    if square:
        parts += [line(LEFT, BOTTOM, RIGHT, TOP, "axis"), text(LEFT + 112, TOP + 100, "equal shares", "tick", "end")]
    ends = [one.points[-1] if not square else (0.8, one.at(0.8)) for one in series]
    wanted = [vertical(end[1]) for end in ends]
    for one, end, height in zip(series, ends, spread(wanted, gap=LINE, low=TOP, high=BOTTOM), strict=True):
        trace = "M" + "L".join(f"{across(a):.1f} {vertical(b):.1f}" for a, b in one.points)
        parts.append(element("path", d=trace, class_=f"line {one.style.css}", stroke_dasharray=one.style.dash))
        marked = one.points if len(one.points) <= 12 else [end]
        parts += [
            mark(one.style, across(a), vertical(b), hint=f"{one.name}: {_place(a, names)}, {number(b)}")
            for a, b in marked
        ]
        leader = f"M{across(end[0]) + 5:.1f} {vertical(end[1]):.1f}L{RIGHT + 4:.1f} {height:.1f}"
        parts += [
            element("path", d=leader, class_="leader"),
            mark(one.style, RIGHT + 12, height, radius=3.5),
            text(RIGHT + 20, height + 4, shortened(one.name, NAME), "label"),
        ]
    rows = max((name.count("\n") for name in names), default=0) if names is not None else 0
    return drawing(WIDTH, BOTTOM + LINE * (2 + rows) + 10, label, *parts)


def pareto(dots: Sequence[Dot]) -> list[Dot]:
    """Return the dots that no other dot beats: none has a smaller or equal x and a larger y; in order of x."""
    front: list[Dot] = []
    for dot in sorted(dots, key=lambda dot: (dot.x, -dot.y)):
        if not front or dot.y > front[-1].y:
            front.append(dot)
    return front


def unbeaten(
    dots: Sequence[Dot], *, better: Callable[[Dot, Dot], bool], cheaper: Callable[[Dot, Dot], bool]
) -> list[Dot]:
    """Return the dots that no other beats, in order of x.

    One beats another if it is better and not dearer, or cheaper and not worse, each by more than noise.
    """

    def beats(a: Dot, b: Dot) -> bool:
        return (better(a, b) and not cheaper(b, a)) or (cheaper(a, b) and not better(b, a))

    return sorted((dot for dot in dots if not any(beats(other, dot) for other in dots)), key=lambda dot: dot.x)


def points(dots: Sequence[Dot], front: Sequence[Dot], *, x: str, y: str, label: str) -> Markup:
    """Draw points over a logarithmic x axis; those that are not on the front are hollow, steps go along the highest.

    An x of zero has no logarithm: such points stand at the left edge, which is then named 0.
    """
    positive = [dot.x for dot in dots if dot.x > 0]
    free = len(positive) < len(dots)
    left, right = LEFT + (34 if free else 0), WIDTH - 8
    across = logarithmic(positive, left, right) if positive else Scale(0, 1, left, right)
    vertical = linear((dot.y for dot in dots), BOTTOM, TOP)

    def at(dot: Dot) -> tuple[float, float]:
        return (across(dot.x) if dot.x > 0 else LEFT + 10, vertical(dot.y))

    places = [at(dot) for dot in pareto(front or dots)]
    steps = f"M{places[0][0]:.1f} {places[0][1]:.1f}" + "".join(f"H{a:.1f}V{b:.1f}" for a, b in places[1:])
    parts = [y_axis(vertical, LEFT, y, right=right)]
    if positive:
        parts.append(x_axis(across, BOTTOM, x, top=TOP))
    if free:
        parts.append(text(LEFT + 10, BOTTOM + LINE, "0", "tick", "middle"))
    parts.append(element("path", d=f"{steps}H{right:.1f}", class_="front"))
    clearing = Clearing(LEFT, TOP - 20, WIDTH, BOTTOM, [(a - 5, b - 5, a + 5, b + 5) for a, b in map(at, dots)])
    for dot in dots:
        a, b = at(dot)
        hint = f"{dot.name}: {number(dot.y)} at {dot.x:,.4g}"
        parts.append(mark(dot.style, a, b, hint=hint, hollow=dot not in front, radius=5))
        parts.append(clearing.label(a, b, shortened(dot.name, 22)))
    return drawing(WIDTH, BOTTOM + 2 * LINE + 10, label, *parts)


def dots_in_rows(rows: Sequence[tuple[str, Sequence[Dot]]], *, axis: str, label: str) -> Markup:
    """Draw one row a group with a marker for each model at its x."""
    tall = 38.0
    bottom = 8 + tall * len(rows)
    scale = linear((dot.x for _, dots in rows for dot in dots), 10, WIDTH - 18)
    parts = [x_axis(scale, bottom, axis, top=4)]
    for place, (name, dots) in enumerate(rows):
        y = 8 + tall * place
        parts += [text(4, y + 12, capped(name, 60), "label"), line(4, y + 24, WIDTH - 8, y + 24, "grid")]
        parts += [mark(dot.style, scale(dot.x), y + 24, hint=f"{dot.name}: {number(dot.x)}") for dot in dots]
    return drawing(WIDTH, bottom + 2 * LINE + 10, label, *parts)


def spans(rows: Sequence[Span], *, axis: str, label: str) -> Markup:
    """Draw one row a model from its worst group (hollow) to its best (filled)."""
    tall = 38.0
    bottom = 8 + tall * len(rows)
    scale = linear((value for row in rows for value in (row.worst, row.best)), 10, WIDTH - 18)
    parts = [x_axis(scale, bottom, axis, top=4)]
    for place, row in enumerate(rows):
        y = 8 + tall * place
        room = int((WIDTH - 24) / LETTER) - len(row.words)
        parts += [
            text(4, y + 12, shortened(row.name, max(room, 8)), "label"),
            text(WIDTH - 8, y + 12, row.words, "tick", "end"),
            line(scale(row.worst), y + 24, scale(row.best), y + 24, f"line {row.style.css}"),
            mark(row.style, scale(row.worst), y + 24, hollow=True, hint=f"worst: {number(row.worst)}"),
            mark(row.style, scale(row.best), y + 24, hint=f"best: {number(row.best)}"),
        ]
    return drawing(WIDTH, bottom + 2 * LINE + 10, label, *parts)


def cloud(groups: Sequence[tuple[str, Sequence[Place]]], *, label: str) -> Markup:
    """Draw a map: each group's places with its own marker, its name, if it has one, at its middle.

    Places tell their hint on hover; the largest place of each group takes the keyboard's focus and tells it too.
    """
    known = [place for _, places in groups for place in places]
    high = 400.0
    across = _padded([place.x for place in known], 12, WIDTH - 12)
    vertical = _padded([place.y for place in known], high - 12, 12)
    parts = [element("rect", x=0.5, y=0.5, width=WIDTH - 1, height=high - 1, class_="frame")]
    for _, places in groups:
        marks = [
            mark(one.style, across(one.x), vertical(one.y), hint=one.hint, radius=1.4 + 2.2 * one.size)
            for one in places
        ]
        parts.append(element("g", *marks, class_="cloud"))
    largest = [max(places, key=lambda place: place.size) for _, places in groups]
    corners = [(across(one.x), vertical(one.y)) for one in largest]
    clearing = Clearing(0, 0, WIDTH, high, [(x - 8, y - 8, x + 8, y + 8) for x, y in corners], MAP_LETTER)
    for name, places in groups:
        middle = (median(across(one.x) for one in places), median(vertical(one.y) for one in places))
        parts.append(clearing.label(*middle, capped(name, 24), centred=True) if name else Markup())
    for one, (x, y) in zip(largest, corners, strict=True):
        words = capped(one.hint, 48)
        wide = MAP_LETTER * len(words)
        start = min(max(x - wide / 2, 6), WIDTH - 6 - wide)
        told = (
            element("rect", x=start - 4, y=max(y - 26, 4), width=wide + 8, height=18, class_="card"),
            text(start + wide / 2, max(y - 13, 17), words, "label", "middle"),
        )
        point = mark(one.style, x, y, hint=one.hint, radius=5)
        parts.append(element("g", point, *told, class_="landmark", tabindex=0, role="img", aria_label=one.hint))
    return drawing(WIDTH, high, label, *parts, role="group")


def _padded(values: Sequence[float], start: float, end: float) -> Scale:
    return Scale(min(values), max(values), start, end)


def _place(x: float, names: Sequence[str] | None) -> str:
    return f"{x:g}" if names is None else names[int(x)].replace("\n", ", ")
