"""Exploration that can be replayed: lists shuffled now and then, with the exact probability of what was shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tastemaker.errors import DataError
from tastemaker.experiments.assignment import bucket

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


def explore(
    items: Sequence[Any], n: int, *, top: int, epsilon: float, key: str, fixed: Collection[int] = ()
) -> tuple[list[Any], list[float]]:
    """Return a list of n products and how probable each was at its place, for an impression's `propensities`.

    With probability `epsilon` the free ones among the first `top` places are shuffled, all orders alike probable; a
    product that stood at a free place is then at each of the m free places with probability 1 / m. So it is shown at
    its own place with 1 - epsilon + epsilon / m, and at another with epsilon / m.

    Args:
        items: a ranked list, after all rules.
        n: length of the list that is shown.
        top: how many places take part; more than n brings products in that would not be shown otherwise.
        epsilon: how often, from 0 to 1.
        key: what the draw depends on, e.g. the request_id.
        fixed: places, counted from 0, that stay as they are, such as those of pins.

    Raises:
        DataError: `epsilon` is no probability.
    """
    if not 0 <= epsilon <= 1:
        raise DataError(f"exploration: epsilon {epsilon} must lie between 0 and 1")
    free = [place for place in range(min(top, len(items))) if place not in fixed]
    shuffles = bucket("explore", key) < epsilon
    order = sorted(free, key=lambda place: bucket("shuffle", key, str(place))) if shuffles else free
    shown = list(items)
    for place, origin in zip(free, order, strict=True):
        shown[place] = items[origin]
    chances = [1.0] * len(shown)
    for place, origin in zip(free, order, strict=True):
        chances[place] = epsilon / len(free) + (1 - epsilon if place == origin else 0.0)
    return shown[:n], chances[:n]
