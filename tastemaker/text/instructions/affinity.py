"""Which products belong together, by training purchases and categories: what instruction pairs take negatives from."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.sparse import csr_array, diags_array

from tastemaker.data.queries import Queries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tastemaker.data.dataset import Dataset
    from tastemaker.types import Float32, Int32, Int64

ASKED = 512
"""Histories whose affinities are computed together."""
ROW_POWER, COLUMN_POWER, RECENCY = 0.3, 0.15, 0.6
"""Discounts of popular products, and weight of a product for each step back, where candidates are mined."""


class Affinity:
    """What the purchases of `train` and the catalogue say of products that belong together.

    Args:
        train: nothing else is looked at.
    """

    def __init__(self, train: Dataset) -> None:
        self._items = train.items
        self._bought: csr_array = train.matrix()  # [users, n]
        self._buyers: csr_array = csr_array(self._bought.T)  # [n, users]
        self.popularity = np.diff(self._buyers.indptr)

    def three_hop(self, histories: Sequence[Int32]) -> Iterator[tuple[Int32, Float32]]:
        """Yield what the buyers of each history's products bought too, and by how many ties.

        Three hops on the graph of purchases: shopper -> product -> shopper -> product (PALR, arXiv 2305.07622).

        Yields:
            Item numbers by falling count (ties: the lower number first), the history's own left out, and the counts.
        """
        yield from self._related(histories, self._buyers, self._bought)

    def mined(self, histories: Sequence[Int32]) -> Iterator[tuple[Int32, Float32]]:
        """Yield what a co-occurrence retriever would offer each history: newer products and rarer ties weigh more."""
        from_power, to_power = (self._discount(power) for power in (ROW_POWER, COLUMN_POWER))
        left, right = csr_array(from_power @ self._buyers), csr_array(self._bought @ to_power)
        yield from self._related(histories, left, right, recency=RECENCY)

    def own_part(self, history: Int32, bought: Int32, items: Int32) -> Float32:
        """Return how much of what `mined` gives `items` for a history comes from one shopper.

        Args:
            history: what is asked with; it may hold products that the shopper did not buy.
            bought: all that the shopper bought.
            items: some of these.
        """
        newest = np.array(list(dict.fromkeys(history[::-1].tolist())), dtype=np.int32)  # distinct, newest first
        ages = len(history) - 1 - np.array([np.flatnonzero(history == item)[-1] for item in newest.tolist()])
        popularity = np.maximum(self.popularity, 1).astype(np.float64)
        from_history = (RECENCY**ages * popularity[newest] ** -ROW_POWER)[np.isin(newest, bought)].sum()
        return np.asarray(from_history * popularity[items] ** -COLUMN_POWER, dtype=np.float32)

    def bought_with(self, item: int) -> tuple[Int32, Int64]:
        """Return the products that buyers of `item` bought too, in number order, and how many of them did."""
        buyers = self._buyers.indices[self._buyers.indptr[item] : self._buyers.indptr[item + 1]]
        items, counts = np.unique(self._bought[buyers].indices, return_counts=True)
        other = items != item
        return items[other].astype(np.int32), counts[other]

    def same_category(self, item: int) -> Int32:
        """Return the other products of the same most specific category that were bought at all; none without one."""
        codes, members = self._categories
        kind = codes[item]
        return members[kind][members[kind] != item] if kind >= 0 else np.empty(0, dtype=np.int32)

    @cached_property
    def popular(self) -> Int32:
        """Products that were bought, most often bought first."""
        order = np.argsort(-self.popularity, kind="stable")
        return order[self.popularity[order] > 0].astype(np.int32)

    def _related(
        self, histories: Sequence[Int32], left: csr_array, right: csr_array, *, recency: float = 1.0
    ) -> Iterator[tuple[Int32, Float32]]:
        for start in range(0, len(histories), ASKED):
            part = histories[start : start + ASKED]
            weights = Queries.from_lists(part).matrix(left.shape[0], recency=recency)
            found = csr_array(csr_array(weights @ left) @ right)  # [b, n]
            for row, history in enumerate(part):
                place = slice(found.indptr[row], found.indptr[row + 1])
                items, scores = found.indices[place], found.data[place]
                new = ~np.isin(items, history)
                items, scores = items[new], scores[new]
                order = np.lexsort((items, -scores))
                yield items[order].astype(np.int32), scores[order].astype(np.float32)

    def _discount(self, power: float) -> csr_array:
        return csr_array(diags_array(np.maximum(self.popularity, 1) ** -power))

    @cached_property
    def _categories(self) -> tuple[Int32, list[Int32]]:
        """Return the number of each product's category (-1 for none), and the bought products of each category."""
        frame = self._items.frame
        if "categories" not in frame.columns:
            return np.full(frame.height, -1, dtype=np.int32), []
        column = frame["categories"]
        words = column.list.last() if isinstance(column.dtype, pl.List) else column.cast(pl.String)
        ranks = words.rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1
        members = [np.empty(0, dtype=np.int32) for _ in range(int(ranks.max(initial=-1)) + 1)]
        bought = np.flatnonzero((ranks >= 0) & (self.popularity > 0))
        order = bought[np.argsort(ranks[bought], kind="stable")]
        for group in np.split(order, np.flatnonzero(np.diff(ranks[order])) + 1):
            if len(group):
                members[ranks[group[0]]] = group.astype(np.int32)
        return ranks.astype(np.int32), members
