"""Histories as tensors: batches of similar length, so that hardly any padding is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from tastemaker.data.queries import Queries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from tastemaker.types import Int64


HIDDEN = -1
"""In the place of an item: there is one, or will be, and nobody says which."""


@dataclass(frozen=True, slots=True)
class Batch:
    """b histories of at most L items.

    Attributes:
        items: int64 [b, L], oldest first, filled up with 0 on the right.
        lengths: int64 [b], each at least 1.
        shoppers: int64 [b], user numbers, -1 for unknown ones; None where nobody is known.
    """

    items: Tensor
    lengths: Tensor
    shoppers: Tensor | None = None

    @property
    def real(self) -> Tensor:
        """Which places hold an item, bool [b, L]."""
        return torch.arange(self.items.shape[1], device=self.items.device) < self.lengths[:, None]

    @property
    def ages(self) -> Tensor:
        """Steps back from the newest item, int64 [b, L]; 0 also on the filling."""
        places = torch.arange(self.items.shape[1], device=self.items.device)
        return (self.lengths[:, None] - 1 - places).clamp(min=0)

    @property
    def last(self) -> tuple[Tensor, Tensor]:
        """Index of each history's newest item: rows [b] and columns [b]."""
        return torch.arange(len(self.items), device=self.items.device), self.lengths - 1


def batch_of(queries: Queries, rows: Int64, max_length: int, *, device: str = "cpu") -> Batch:
    """Return the newest `max_length` items of the histories at `rows`."""
    ends = queries.offsets[1:][rows]
    lengths = np.minimum(queries.lengths[rows], max_length)
    width = int(lengths.max(initial=1))
    places = np.arange(width)
    at = np.minimum((ends - lengths)[:, None] + places, max(len(queries.items) - 1, 0))
    items = np.where(places < lengths[:, None], queries.items[at] if len(queries.items) else 0, 0)
    shoppers = None if queries.users is None else queries.users[rows]
    told = (items, lengths) if shoppers is None else (items, lengths, shoppers)
    return Batch(*(torch.from_numpy(numbers.astype(np.int64)).to(device) for numbers in told))


def windows(histories: Queries, most: int, *, shared: int) -> Queries:
    """Cut histories longer than `most` into windows of at most `most` items, from the newest purchase backwards.

    So a long history teaches all of its purchases, at a cost that grows as they do, and not its newest ones alone.

    Args:
        histories: oldest purchase first.
        most: items of a window.
        shared: items that a window has in common with the one before it: the first item of a window that forecasts next
            items is no target there, so it has to be one in the window before.
    """
    lengths, step = histories.lengths, most - shared
    if step < 1 or not (lengths > most).any():
        return histories
    counts = 1 + np.maximum(-(-(lengths - most) // step), 0)
    owner = np.repeat(np.arange(len(histories)), counts)
    back = np.cumsum(counts)[owner] - 1 - np.arange(len(owner))  # 0 for the newest window of each history
    ends = histories.offsets[1:][owner] - back * step
    begins = np.maximum(ends - most, histories.offsets[:-1][owner])
    offsets = np.concatenate([[0], np.cumsum(ends - begins)])
    at = np.repeat(begins - offsets[:-1], ends - begins) + np.arange(offsets[-1])
    users = None if histories.users is None else histories.users[owner]
    return Queries(offsets, histories.items[at], users=users)


def blank_of(shoppers: Tensor) -> Batch:
    """Return histories of one hidden item each: those of shoppers, int64 [b], of whom no purchase is known."""
    items = torch.full((len(shoppers), 1), HIDDEN, device=shoppers.device)
    return Batch(items, torch.ones_like(shoppers), shoppers)


def by_length(lengths: Int64, size: int, rng: np.random.Generator | None = None) -> Iterator[Int64]:
    """Yield row numbers in groups of `size` histories of similar length.

    Args:
        lengths: of all histories, [B].
        size: rows in a group; the last one may be smaller.
        rng: puts rows of equal length, and the groups, in random order; without it the order is fixed.
    """
    noise = np.arange(len(lengths)) if rng is None else rng.random(len(lengths))
    order = np.lexsort((noise, lengths))
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    if rng is not None:
        rng.shuffle(groups)
    yield from groups
