"""SVG by hand: escaped elements, markers that differ by shape, and one look for each series.

Colours are CSS variables of the page, so that the page decides on light, dark and print. A series never differs by
colour alone: it has its own marker and its own dashes too.
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup, escape

SERIES = 8
"""Colours s0 to s7 of the page; then they start again, with another marker."""

DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "12 4", "1 2", "6 2 1 2 1 2")
_MARKERS = (
    "M{x:.1f} {y:.1f}m-{r:.1f} 0a{r:.1f} {r:.1f} 0 1 0 {d:.1f} 0a{r:.1f} {r:.1f} 0 1 0 -{d:.1f} 0z",  # circle
    "M{x:.1f} {y:.1f}m-{r:.1f} -{r:.1f}h{d:.1f}v{d:.1f}h-{d:.1f}z",  # square
    "M{x:.1f} {y:.1f}m0 -{r:.1f}l{r:.1f} {d:.1f}h-{d:.1f}z",  # triangle
    "M{x:.1f} {y:.1f}m0 -{r:.1f}l{r:.1f} {r:.1f}l-{r:.1f} {r:.1f}l-{r:.1f} -{r:.1f}z",  # diamond
    "M{x:.1f} {y:.1f}m0 {r:.1f}l{r:.1f} -{d:.1f}h-{d:.1f}z",  # triangle, point down
    "M{x:.1f} {y:.1f}m0 -{l:.1f}l{s:.1f} {b:.1f}l{b:.1f} {s:.1f}l-{b:.1f} {s:.1f}l-{s:.1f} {b:.1f}"
    "l-{s:.1f} -{b:.1f}l-{b:.1f} -{s:.1f}l{b:.1f} -{s:.1f}z",  # star
    "M{x:.1f} {y:.1f}m-{h:.1f} -{l:.1f}h{r:.1f}v{m:.1f}h-{r:.1f}z",  # upright bar
    "M{x:.1f} {y:.1f}m-{l:.1f} -{h:.1f}h{m:.1f}v{r:.1f}h-{m:.1f}z",  # flat bar
)


@dataclass(frozen=True, slots=True)
class Style:
    """The look of one series in every chart: its number, and whether it belongs to the floor."""

    number: int
    floor: bool = False

    @property
    def css(self) -> str:
        """CSS class that sets the series' colour."""
        return "floor" if self.floor else f"s{self.number % SERIES}"

    @property
    def dash(self) -> str:
        """Pattern of its line."""
        return DASHES[self.number % len(DASHES)]

    def marker(self, x: float, y: float, radius: float = 4) -> str:
        """Return the path of its marker."""
        shape = _MARKERS[self.number % len(_MARKERS)]
        return shape.format(
            x=x,
            y=y,
            r=radius,
            d=2 * radius,
            h=radius / 2,
            l=1.3 * radius,
            m=2.6 * radius,
            s=0.4 * radius,
            b=0.9 * radius,
        )


def element(name: str, *children: object, **attributes: object) -> Markup:
    """Return one element; text and attribute values are escaped, `class_` and `text_anchor` lose their underscores."""
    written = [
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _plain(value))
        for key, value in attributes.items()
        if value is not None and value != ""
    ]
    inner = Markup("").join(escape(child) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), Markup("").join(written), inner)


def line(x1: float, y1: float, x2: float, y2: float, css: str, **attributes: object) -> Markup:
    """Return a straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=css, **attributes)


def text(x: float, y: float, words: str, css: str = "", anchor: str = "") -> Markup:
    """Return a line of text; `anchor` is "middle" or "end", the start by default."""
    return element("text", words, x=x, y=y, class_=css, text_anchor=anchor)


def mark(style: Style, x: float, y: float, *, hint: str = "", hollow: bool = False, radius: float = 4) -> Markup:
    """Return a series' marker, with a hint that shows on hover."""
    css = f"mark {style.css}{' hollow' if hollow else ''}"
    return element("path", element("title", hint) if hint else "", d=style.marker(x, y, radius), class_=css)


def drawing(width: float, height: float, label: str, *parts: Markup, role: str = "img") -> Markup:
    """Return the SVG with its alternative text."""
    return element("svg", *parts, viewBox=f"0 0 {width:g} {height:g}", role=role, aria_label=label)


def _plain(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
