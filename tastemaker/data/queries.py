"""What a recommender is asked: histories, and optionally words and user numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

from tastemaker.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tastemaker.types import Int32, Int64


@dataclass(frozen=True, slots=True)
class Queries:
    """B histories packed one after the other; in evaluation also the true items of each query.

    Attributes:
        offsets: int64 [B + 1]; history b is `items[offsets[b]:offsets[b + 1]]`.
        items: int32 item numbers, oldest first; repeats stay.
        texts: one string a query (a wish in words, or a profile), or None.
        users: int32 [B] user numbers, -1 = unknown; a hint for models with user factors, never required. Or None.
    """

    offsets: Int64
    items: Int32
    texts: tuple[str, ...] | None = None
    users: Int32 | None = None

    def __post_init__(self) -> None:
        size = len(self.offsets) - 1
        bad_order = size < 0 or self.offsets[0] != 0 or self.offsets[-1] != len(self.items)
        if bad_order or (np.diff(self.offsets) < 0).any():
            raise DataError("queries: offsets must rise from 0 to the number of items")
        if len(self.items) and self.items.min() < 0:
            raise DataError("queries: item numbers must not be negative")
        if self.texts is not None and len(self.texts) != size:
            raise DataError(f"queries: {len(self.texts)} texts for {size} queries")
        if self.users is not None and len(self.users) != size:
            raise DataError(f"queries: {len(self.users)} users for {size} queries")

    @classmethod
    def from_lists(
        cls,
        histories: Iterable[Sequence[int] | Int32],
        *,
        texts: Sequence[str] | None = None,
        users: Int32 | None = None,
    ) -> Queries:
        """Pack histories, each a sequence of item numbers, oldest first."""
        parts = [np.asarray(history, dtype=np.int32) for history in histories]
        offsets = np.zeros(len(parts) + 1, dtype=np.int64)
        np.cumsum([len(part) for part in parts], out=offsets[1:])
        items = np.concatenate(parts) if parts else np.empty(0, dtype=np.int32)
        return cls(offsets, items.astype(np.int32), None if texts is None else tuple(texts), users)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[Int32]:
        return (self.history(row) for row in range(len(self)))

    @property
    def lengths(self) -> Int64:
        """Length of each history, int64 [B]."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> Int64:
        """Query number of each packed item, int64, as long as `items`."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def ages(self) -> Int64:
        """Steps back from the end of its history of each packed item (0 = newest), int64, as long as `items`."""
        return np.repeat(self.offsets[1:], self.lengths) - 1 - np.arange(len(self.items))

    def history(self, row: int) -> Int32:
        """Return the items of one query, oldest first."""
        return self.items[self.offsets[row] : self.offsets[row + 1]]

    def take(self, rows: slice | Int64 | Sequence[int]) -> Queries:
        """Return the queries at `rows` (a slice or row numbers), in that order."""
        if isinstance(rows, slice) and rows.step in (None, 1):
            start, stop, _ = rows.indices(len(self))
            stop = max(start, stop)
            offsets = self.offsets[start : stop + 1]
            items = self.items[offsets[0] : offsets[-1]]
            texts = None if self.texts is None else self.texts[start:stop]
            users = None if self.users is None else self.users[start:stop]
            return Queries(offsets - offsets[0], items, texts, users)
        picked = np.arange(len(self))[rows]
        words = None if self.texts is None else [self.texts[row] for row in picked]
        numbers = None if self.users is None else self.users[picked]
        return Queries.from_lists([self.history(int(row)) for row in picked], texts=words, users=numbers)

    def newest(self, length: int) -> Queries:
        """Return the same queries with at most the `length` newest items each."""
        keep = self.ages < length
        offsets = np.zeros(len(self) + 1, dtype=np.int64)
        np.cumsum(np.minimum(self.lengths, length), out=offsets[1:])
        return Queries(offsets, self.items[keep], self.texts, self.users)

    def matrix(self, n_items: int, *, recency: float = 1.0) -> csr_array:
        """Return the histories as a sparse float32 [B, n_items] matrix.

        Args:
            n_items: number of columns.
            recency: weight of an item for each step back from the newest; 1.0 weighs all alike. An item that
                occurs more than once in a history counts once, with its newest place.
        """
        weights = np.power(np.float32(recency), self.ages).astype(np.float32)
        rows, columns = self.rows, self.items
        newest_first = np.lexsort((self.ages, columns, rows))
        rows, columns, weights = rows[newest_first], columns[newest_first], weights[newest_first]
        first = np.ones(len(rows), dtype=bool)
        first[1:] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
        rows, columns, weights = rows[first], columns[first], weights[first]
        indptr = np.zeros(len(self) + 1, dtype=np.int32)
        np.cumsum(np.bincount(rows, minlength=len(self)), out=indptr[1:])
        return csr_array((weights, columns.astype(np.int32), indptr), shape=(len(self), n_items))
