"""What is done when several items get one tuple of codes: a further code tells them apart, or some move next door."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

import numpy as np

from tastemaker.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tastemaker.types import Bool, Int32, Int64

    Alternatives = Callable[[Int64, int], list[Int32]]
    """From items, and how many are wanted, to tuples that would also do for each item, the best first, [w, levels]."""

Policy = Literal["suffix", "nearest", "allow"]
"""One more level that counts the items of a tuple; the nearest free tuple; or none: equal tuples are equal items."""

TRIED = 4096
"""Alternatives of an item that are looked at, at most."""


def settle(
    codes: Int32,
    policy: Policy,
    *,
    places: int,
    alternatives: Alternatives,
    order: Int64,
    taken: Int32,
) -> tuple[Int32, Bool]:
    """Return the final tuples, and which items did not get their first choice to themselves.

    With "suffix" a tuple holds `places` items, told apart by one more code; with "nearest" it holds one. Who finds no
    place moves to the nearest tuple that has one.

    Args:
        codes: first choices, [n, levels].
        policy: as above.
        places: items of one tuple, with "suffix".
        alternatives: other tuples for given items.
        order: the items in the order in which they choose, [n].
        taken: final tuples that are given away already, [t, levels (+ 1)].

    Raises:
        ConfigError: an item finds no free tuple.
    """
    levels = codes.shape[1]
    if policy == "allow":
        counts = Counter(map(tuple, np.concatenate([taken, codes]).tolist()))
        return codes, np.array([counts[tuple(row)] > 1 for row in codes.tolist()], dtype=np.bool_)
    room = places if policy == "suffix" else 1
    used: dict[tuple[int, ...], set[int]] = {}
    for row in taken.tolist():
        used.setdefault(tuple(row[:levels]), set()).add(row[levels] if policy == "suffix" else 0)
    chosen, suffixes = codes.copy(), np.zeros(len(codes), dtype=np.int32)
    moved = np.zeros(len(codes), dtype=np.bool_)
    waiting = []
    for item in order:
        holders = used.setdefault(tuple(codes[item].tolist()), set())
        moved[item] = bool(holders)
        if len(holders) < room:
            suffixes[item] = _lowest_free(holders)
            holders.add(int(suffixes[item]))
        else:
            waiting.append(int(item))
    for item in waiting:
        chosen[item] = _free(item, used, room, alternatives)
        holders = used.setdefault(tuple(chosen[item].tolist()), set())
        suffixes[item] = _lowest_free(holders)
        holders.add(int(suffixes[item]))
    if policy == "suffix":
        chosen = np.concatenate([chosen, suffixes[:, None]], axis=1)
    return chosen, moved


def _free(item: int, used: dict[tuple[int, ...], set[int]], room: int, alternatives: Alternatives) -> Int32:
    """Return the best alternative of an item that has room."""
    width = 16
    while width <= TRIED:
        (found,) = alternatives(np.array([item]), width)
        for row in map(tuple, found.tolist()):
            if len(used.get(row, ())) < room:
                return np.array(row, dtype=np.int32)
        if len(found) < width:
            break
        width *= 4
    raise ConfigError("no free identifier is left near an item: raise codes or levels")


def _lowest_free(holders: set[int]) -> int:
    return next(place for place in range(len(holders) + 1) if place not in holders)
