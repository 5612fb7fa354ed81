"""Whether held-out purchases repeat known ones oftener than known ones repeat each other: copies, not customs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tastemaker.guards.chance import beyond_chance

if TYPE_CHECKING:
    from tastemaker.types import Bool, Float64, Int64

FAR = 3
"""How many times as high the odds of a repeat may be among targets: customs grow, so the newest purchase repeats an
older one oftener than purchases on average do (1.7 times as high in a made-up grocery whose shoppers settle down)."""


class Purchases(NamedTuple):
    """Who bought what: two numbers each; a thing is a product, or a product at a time.

    Attributes:
        owners: shopper or question, -1 where it is not known.
        things: as long as `owners`.
    """

    owners: Int64
    things: Int64


def copies(targets: Purchases, known: Purchases) -> Bool:
    """Return which targets are also among what is known of their owner, if these are too many for customs.

    A target is expected there as often as a known purchase is repeated by another known one of the same owner. Owners
    with fewer than 2 known purchases tell nothing.
    """
    size = max(targets.owners.max(initial=0), known.owners.max(initial=0)) + 1
    counts = count(known, known)
    of_owner = np.bincount(known.owners, minlength=size)
    repeats = np.bincount(known.owners, weights=counts > 1, minlength=size)
    share = np.minimum(repeats / np.maximum(of_owner - 1, 1), 1)  # one more purchase to match than a known one has
    return _if_too_many(count(targets, known) > 0, targets.owners, share, of_owner)


def shared(some: Purchases, others: Purchases, known: Purchases) -> Bool:
    """Return which of some purchases are also among others, if these are too many for customs.

    They are expected to be the same as often as neighbours among the known ones are, for each of the others.
    """
    size = max(part.owners.max(initial=0) for part in (some, others, known)) + 1
    follows = np.flatnonzero(known.owners[1:] == known.owners[:-1])
    same = known.things[follows] == known.things[follows + 1]
    pairs = np.bincount(known.owners[follows], minlength=size)
    share = np.bincount(known.owners[follows], weights=same, minlength=size) / np.maximum(pairs, 1)
    asked = np.bincount(others.owners[others.owners >= 0], minlength=size)
    known_rows = np.bincount(known.owners, minlength=size)
    return _if_too_many(count(some, others) > 0, some.owners, np.minimum(share * asked, 1), known_rows)


def _if_too_many(found: Bool, owners: Int64, share: Float64, known: Int64) -> Bool:
    """Return `found` where the owner is known, or nothing at all if as many can be expected.

    Args:
        found: which targets are repeats.
        owners: of the targets.
        share: of repeats that is expected, for each owner.
        known: number of purchases behind that share, for each owner.
    """
    told = (owners >= 0) & (known[owners] >= 2)
    n, hits = int(told.sum()), int((found & told).sum())
    if not hits:
        return np.zeros(len(found), dtype=bool)
    rate = float(share[owners[told]].mean())
    beside = int(known[np.unique(owners[told])].sum())
    far = hits * (1 - rate) > FAR * rate * (n - hits)
    too_many = far and beyond_chance(hits, n, round(rate * beside), beside)
    return found & (owners >= 0) & too_many


def count(wanted: Purchases, among: Purchases) -> Int64:
    """Return how often each wanted purchase is among the others; 0 for unknown owners."""
    size = max(wanted.things.max(initial=-1), among.things.max(initial=-1)) + 1
    distinct, counts = np.unique(among.owners * size + among.things, return_counts=True)
    if not len(distinct):
        return np.zeros(len(wanted.things), dtype=np.int64)
    keys = wanted.owners * size + wanted.things
    places = np.minimum(np.searchsorted(distinct, keys), len(distinct) - 1)
    return np.where((distinct[places] == keys) & (wanted.owners >= 0), counts[places], 0)
