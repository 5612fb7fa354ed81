"""The catalogue as a map: items that are alike stand together."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tastemaker.report.blocks import Figure, Section, Table, Text, styles_key
from tastemaker.report.charts import Place, cloud
from tastemaker.report.svg import SERIES, Style
from tastemaker.report.words import capped, count

if TYPE_CHECKING:
    from tastemaker.report.reading import Comparison, Point

MOST_POINTS = 1500
"""Points drawn, the most popular first: more make the page large and the map a blot."""
OTHER = "other categories"
NAMED = SERIES - 1
"""Categories with a marker of their own."""
TITLES = 3
"""Items of each category that the table names."""


def item_map(comparison: Comparison) -> Section:
    """Return the map of item vectors with its categories."""
    known = [point for point in comparison.map.points if point.x is not None and point.y is not None]
    if not known:
        return Section("map", "Map of the items", [Text("No item vectors were mapped.")])
    drawn = sorted(known, key=lambda point: -(point.popularity or 0))[:MOST_POINTS]
    groups = _by_category(drawn)
    most = max((point.popularity or 0 for point in drawn), default=0) or 1
    places = []
    for number, (name, points) in enumerate(groups.items()):
        style = Style(number)
        places.append((name, [_place(point, style, most) for point in points]))
    finding = f"{count(len(drawn))} items in {len(groups)} groups; the largest is {capped(next(iter(groups)), 40)}."
    if len(drawn) < len(known):
        finding += f" The {count(len(drawn))} most popular of {count(len(known))} are drawn."
    heading = f"Items by their {capped(comparison.map.of or 'vectors', 120)}"
    named = [("" if name == OTHER else name, members) for name, members in places]
    svg = cloud(named, label=f"{heading}. {finding}")
    reading = (
        "Near means alike; larger means bought more often. A title shows on hover, those of the best-sellers on focus."
    )
    table = Table(
        "Items on the map by category",
        ["category", "items", "bought most"],
        [[capped(name, 60), count(len(points)), _titles(points)] for name, points in groups.items()],
    )
    key = styles_key([(capped(name, 40), members[0].style) for name, members in places])
    return Section("map", "Map of the items", [Figure(heading, f"{finding} {reading}", svg, table, key, wide=True)])


def _by_category(points: list[Point]) -> dict[str, list[Point]]:
    """Return the points of the largest categories, largest first, and the rest in one group."""
    found: dict[str, list[Point]] = defaultdict(list)
    for point in points:
        found[capped(point.category, 60) or "no category"].append(point)
    order = sorted(found, key=lambda name: (-len(found[name]), name))
    if len(order) <= SERIES:
        return {name: found[name] for name in order}
    rest = [point for name in order[NAMED:] for point in found[name]]
    return {**{name: found[name] for name in order[:NAMED]}, OTHER: rest}


def _place(point: Point, style: Style, most: float) -> Place:
    size = max(point.popularity or 0, 0) / most
    return Place(point.x or 0.0, point.y or 0.0, style, capped(point.title, 60) or "no title", size**0.5)


def _titles(points: list[Point]) -> str:
    return "; ".join(capped(point.title, 60) for point in points[:TITLES])
