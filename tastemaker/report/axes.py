"""Scales with round ticks, the frame that a chart stands in, and labels that keep clear of each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from tastemaker.report.svg import line, text
from tastemaker.report.words import MINUS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

LETTER = 7.2
"""Average width of a letter at the charts' font size of 13."""
LINE = 15.0
"""Distance of two lines of text."""


def round_ticks(low: float, high: float, *, wanted: int = 5) -> list[float]:
    """Return about `wanted` multiples of 1, 2 or 5 times a power of ten that lie within [low, high]."""
    if not high > low:
        return [low]
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((factor * power for factor in (1, 2, 5, 10)), key=lambda step: abs(math.log(step / rough)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return the powers of ten within [low, high], with 2 and 5 times them where there are fewer than three."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        ticks = [factor * 10.0**power for power in powers for factor in factors]
        ticks = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(ticks) >= 3:
            break
    return ticks


def tick_name(value: float) -> str:
    """Return a tick's value in as few letters as it needs."""
    if value and abs(value) >= 10_000:
        power = math.floor(math.log10(abs(value)) / 3)
        return f"{value / 1000**power:g}{'kMGT'[min(power, 4) - 1]}"
    return f"{value:.10f}".rstrip("0").rstrip(".").replace("-", MINUS) if abs(value) < 1 else f"{value:,g}"


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps data from [low, high] to pixels from [start, end], linearly or by logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a value; values outside go to the nearer end."""
        value = min(max(value, self.low), self.high)
        if self.high == self.low:
            return (self.start + self.end) / 2
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, wanted: int = 5) -> list[float]:
        """Return round values within the scale."""
        return log_ticks(self.low, self.high) if self.log else round_ticks(self.low, self.high, wanted=wanted)


def linear(values: Iterable[float], start: float, end: float, *, zero: bool = True) -> Scale:
    """Return a linear scale over `values` with a little room above, from zero if wanted and nothing is below it."""
    known = list(values)
    low, high = min(known, default=0.0), max(known, default=1.0)
    low = 0.0 if zero and low >= 0 else low
    room = 0.04 * (high - low) or abs(high) or 1.0
    return Scale(low if low == 0 else low - room, high + room, start, end)


def logarithmic(values: Iterable[float], start: float, end: float) -> Scale:
    """Return a logarithmic scale over positive `values` with room at both ends, at least a decade long."""
    known = list(values)
    middle = math.sqrt(min(known) * max(known))
    reach = max(1.4 * max(known) / middle, math.sqrt(10))
    return Scale(middle / reach, middle * reach, start, end, log=True)


def x_axis(scale: Scale, y: float, name: str, *, top: float, names: Sequence[str] | None = None) -> Markup:
    """Draw a horizontal axis at height `y` with light grid lines up to `top`; `names` replaces ticks 0, 1, 2, ..."""
    parts = []
    if names is None:
        named = [(tick, tick_name(tick)) for tick in scale.ticks()]
        parts += [line(scale(tick), top, scale(tick), y, "grid") for tick, _ in named]
    else:
        named = [(float(place), words) for place, words in enumerate(names)]
    for tick, words in named:
        for row, part in enumerate(words.split("\n"), start=1):
            parts.append(text(scale(tick), y + LINE * row, part, "tick", "middle"))
    rows = max((words.count("\n") + 1 for _, words in named), default=1)
    parts.append(line(scale.start, y, scale.end, y, "axis"))
    parts.append(text((scale.start + scale.end) / 2, y + LINE * (1 + rows) + 4, name, "name", "middle"))
    return Markup("").join(parts)


def y_axis(scale: Scale, x: float, name: str, *, right: float, tick: Callable[[float], str] = tick_name) -> Markup:
    """Draw a vertical axis at `x` as light grid lines to `right`, its name above it."""
    parts = [text(0, scale.end - 10, name, "name")]
    for value in scale.ticks():
        y = scale(value)
        parts += [line(x, y, right, y, "grid"), text(x - 6, y + 4, tick(value), "tick", "end")]
    return Markup("").join(parts)


def spread(wanted: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Move places apart until neighbours are `gap` apart, in order, within [low, high] as far as they fit."""
    order = sorted(range(len(wanted)), key=lambda place: wanted[place])
    gap = min(gap, (high - low) / max(len(wanted) - 1, 1))
    placed = [0.0] * len(wanted)
    floor = low
    for rank, place in enumerate(order):
        ceiling = high - gap * (len(order) - 1 - rank)
        placed[place] = min(max(wanted[place], floor), ceiling)
        floor = placed[place] + gap
    return placed


@dataclass(slots=True)
class Clearing:
    """Finds places for labels beside points, so that no label covers another or leaves the frame."""

    left: float
    top: float
    right: float
    bottom: float
    taken: list[tuple[float, float, float, float]]
    letter: float = LETTER

    def label(self, x: float, y: float, words: str, *, centred: bool = False) -> Markup:
        """Draw a label where it covers least, as near to (x, y) as that can be; one that is far gets a leader.

        It may cover (x, y) itself only if it is `centred` there.
        """
        wide = self.letter * len(words)
        choices = [(x, y + 4, "middle")] if centred else []
        choices += [(x + 8, y + 4, ""), (x - 8, y + 4, "end"), (x, y - 11, "middle"), (x, y + 18, "middle")]
        for away in range(15, 15 * 9, 15):
            for down in (4 - away, 4 + away):
                choices += [(x + 8, y + down, ""), (x - 8, y + down, "end")]
        boxes = []
        for place_x, place_y, anchor in choices:
            start = place_x - (wide if anchor == "end" else wide / 2 if anchor else 0)
            boxes.append((start, place_y - 11, start + wide, place_y + 3))
        best = min(range(len(boxes)), key=lambda place: (self._covered(boxes[place]), place))
        self.taken.append(boxes[best])
        label_x, label_y, anchor = choices[best]
        drawn = text(label_x, label_y, words, "label", anchor)
        return line(x, y, label_x, label_y - 4, "leader") + drawn if abs(label_y - y) > 20 else drawn

    def _covered(self, box: tuple[float, float, float, float]) -> float:
        """Return the area that a box shares with what is taken, and what it has outside the frame."""
        shared = sum(_overlap(box, other) for other in self.taken)
        inside = _overlap(box, (self.left, self.top, self.right, self.bottom))
        return shared + 4 * ((box[2] - box[0]) * (box[3] - box[1]) - inside)


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return wide * high if wide > 0 and high > 0 else 0.0
