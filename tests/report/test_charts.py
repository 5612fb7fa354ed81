"""Charts against their definitions: round ticks, true lengths, the Pareto front, labels that keep apart."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tastemaker
from tastemaker.report import charts
from tastemaker.report.axes import Clearing, Scale, linear, log_ticks, logarithmic, round_ticks, spread, tick_name
from tastemaker.report.svg import SERIES, Style, element

FINITE = st.floats(-1e6, 1e6, allow_nan=False)
POSITIVE = st.floats(1e-6, 1e9)


def numbers(svg, tag, *names):
    """Return attributes of every such element as floats."""
    found = []
    for body in re.findall(rf"<{tag} ([^>]*)>", svg):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', body))
        if all(name in attributes for name in names):
            found.append([float(attributes[name]) for name in names])
    return found


@given(low=FINITE, size=st.floats(1e-4, 1e6))
def test_ticks_are_round_even_and_inside(low, size):
    high = low + size
    ticks = round_ticks(low, high)
    assert 2 <= len(ticks) <= 10
    assert low - 1e-6 * size <= ticks[0]
    assert ticks[-1] <= high + 1e-6 * size
    step = ticks[1] - ticks[0]
    assert all(math.isclose(b - a, step, rel_tol=1e-5, abs_tol=1e-7 * abs(low)) for a, b in itertools.pairwise(ticks))
    leading = round(step / 10 ** math.floor(math.log10(step) + 1e-6), 4)
    assert leading in (1, 2, 5)


def test_ticks_by_hand():
    assert round_ticks(0, 0.0569) == pytest.approx([0, 0.01, 0.02, 0.03, 0.04, 0.05])
    assert round_ticks(3, 3) == [3]
    assert log_ticks(0.3, 410) == [1, 10, 100]
    assert log_ticks(0.9, 6) == [1, 2, 5]
    assert [tick_name(value) for value in (0, 0.05, -0.1, 2, 1500, 20000, 3e6)] == [
        "0",
        "0.05",
        "−0.1",
        "2",
        "1,500",
        "20k",
        "3M",
    ]


@given(values=st.lists(POSITIVE, min_size=1, max_size=6))
def test_a_log_axis_always_has_ticks_and_holds_its_values(values):
    scale = logarithmic(values, 0, 100)
    assert len(scale.ticks()) >= 1
    assert all(0 < scale(value) < 100 for value in values)


@given(values=st.lists(FINITE, min_size=1, max_size=6))
def test_a_scale_keeps_the_order(values):
    scale = linear(values, 0, 100)
    places = [scale(value) for value in sorted(values)]
    assert places == sorted(places)
    assert 0 <= places[0] <= places[-1] <= 100


@given(wanted=st.lists(st.floats(0, 100), max_size=9), gap=st.floats(1, 40))
def test_labels_keep_apart_in_order(wanted, gap):
    placed = spread(wanted, gap=gap, low=0, high=100)
    room = min(gap, 100 / max(len(wanted) - 1, 1))
    order = sorted(range(len(wanted)), key=lambda place: wanted[place])
    ordered = [placed[place] for place in order]
    assert all(b - a >= room - 1e-9 for a, b in itertools.pairwise(ordered))
    assert all(-1e-9 <= value <= 100 + 1e-9 for value in placed)


def test_labels_stay_where_they_are_if_there_is_room():
    assert spread([70, 10, 40], gap=15, low=0, high=100) == [70, 10, 40]


def test_labels_beside_points_do_not_overlap():
    clearing = Clearing(0, 0, 400, 300, [])
    for _ in range(4):
        clearing.label(200, 150, "als")
    boxes = clearing.taken
    for place, a in enumerate(boxes):
        for b in boxes[place + 1 :]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=8))
def test_pareto_front_against_its_definition(places):
    dots = [charts.Dot(str(number), Style(0), x, y) for number, (x, y) in enumerate(places)]
    front = charts.pareto(dots)

    def beaten(dot):
        return any(o.x <= dot.x and o.y >= dot.y and (o.x, o.y) != (dot.x, dot.y) for o in dots)

    assert {(dot.x, dot.y) for dot in front} == {(dot.x, dot.y) for dot in dots if not beaten(dot)}
    assert [dot.x for dot in front] == sorted({dot.x for dot in front})


def test_bars_are_as_long_as_their_values():
    rows = [charts.Bar("a", Style(0), 0.08, 0.06, 0.1), charts.Bar("b", Style(1), 0.02), charts.Bar("c", Style(2), 0.0)]
    svg = charts.bars(rows, axis="recall", label="bars")
    (long,), (short,), (none,) = numbers(svg, "rect", "width")
    assert long / short == pytest.approx(4, rel=0.01)
    assert none == 0.5
    [whisker] = set(re.findall(r'd="M([\d.]+) [\d.]+v8M[\d.]+ [\d.]+H([\d.]+)', svg))
    assert (float(whisker[0]) - 4) / long == pytest.approx(0.75, rel=0.01)
    assert (float(whisker[1]) - 4) / long == pytest.approx(1.25, rel=0.01)


def test_lines_go_through_their_points():
    series = [charts.Line("a", Style(0), [(0, 0.0), (1, 0.5), (2, 1.0)]), charts.Line("b", Style(1), [(0, 1.0)])]
    svg = charts.lines(series, x="x", y="y", label="l", names=["none", "few", "all"])
    [trace] = re.findall(r'd="M([^"]*L[^"]*L[^"]*)" class="line s0"', svg)
    (x0, y0), (x1, y1), (x2, y2) = (map(float, point.split()) for point in trace.split("L"))
    assert x2 - x1 == pytest.approx(x1 - x0, abs=0.2)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)
    assert y0 == charts.BOTTOM
    assert all(f">{name}</text>" in svg for name in ("none", "few", "all", "a", "b"))


def test_a_line_between_its_points():
    line = charts.Line("a", Style(0), [(0, 0.0), (0.8, 0.4), (1, 1.0)])
    assert line.at(0.4) == pytest.approx(0.2)
    assert line.at(0.9) == pytest.approx(0.7)
    assert line.at(2) == 1.0


def test_points_that_cost_nothing_stand_at_the_edge():
    dots = [
        charts.Dot("free", Style(0), 0, 0.5),
        charts.Dot("paid", Style(1), 3, 0.6),
        charts.Dot("worse", Style(2), 4, 0.1),
    ]
    svg = charts.points(dots, dots[:2], x="money", y="recall", label="l")
    assert ">0</text>" in svg
    assert svg.count("hollow") == 1
    all_free = charts.points(dots[:1], dots[:1], x="money", y="recall", label="l")
    assert "nan" not in all_free


def test_noise_is_no_gain_on_the_front():
    """Dearer by less than 1 is the same price, higher by less than 0.1 the same value."""
    a, b, c, d, e = (
        charts.Dot(name, Style(0), x, y)
        for name, x, y in (("a", 1, 0.5), ("b", 1.5, 0.55), ("c", 4, 0.59), ("d", 9, 0.9), ("e", 9, 0.1))
    )
    front = charts.unbeaten(
        [e, d, c, b, a], better=lambda one, other: one.y > other.y + 0.1, cheaper=lambda one, other: one.x < other.x - 1
    )
    assert [dot.name for dot in front] == ["a", "b", "d"]  # c is dearer than a and no better by more than noise
    assert charts.points([a, b, c, d, e], front, x="x", y="y", label="l").count("hollow") == 2


def test_one_item_or_items_in_one_place_can_be_mapped():
    place = charts.Place(1.0, 1.0, Style(0), "a title", 0.5)
    svg = charts.cloud([("group", [place, place])], label="map")
    assert svg.count('tabindex="0"') == 1
    assert 'aria-label="a title"' in svg


def test_elements_escape_what_they_hold():
    drawn = element("text", "<b>&", class_='x" onload="y', text_anchor="end", dx=1.25, hidden=None)
    assert drawn == '<text class="x&#34; onload=&#34;y" text-anchor="end" dx="1.2">&lt;b&gt;&amp;</text>'


def test_series_differ_without_colour():
    looks = [(Style(number).marker(0, 0), Style(number).dash) for number in range(SERIES)]
    assert len({marker for marker, _ in looks}) == len({dash for _, dash in looks}) == SERIES


def test_scale_ends():
    scale = Scale(10, 1000, 0, 100, log=True)
    assert [round(scale(value)) for value in (1, 10, 100, 1000, 5000)] == [0, 0, 50, 100, 100]
    assert Scale(2, 2, 0, 100)(2) == 50


def luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_colours_have_contrast(mode):
    """WCAG 2.2: 4.5 to 1 for text, 3 to 1 for what a chart draws."""
    folder = Path(tastemaker.__file__).parent / "templates"
    blocks = [
        re.findall(r":root \{(.*?)\}", (folder / name).read_text(), re.S) for name in ("colours.css", "comparison.css")
    ]
    colours = dict(re.findall(r"--(\w+): (#\w{6});", "".join(found[mode] for found in blocks)))
    for name in ("ink", "soft", "accent", "good", "bad"):
        assert contrast(colours[name], colours["paper"]) >= 4.5, name
        assert contrast(colours[name], colours["tint"]) >= 4.5, name
    for number in range(SERIES):
        assert contrast(colours[f"s{number}"], colours["paper"]) >= 3, number
