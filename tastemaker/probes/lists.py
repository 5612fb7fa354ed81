"""The hard check of finished lists: what no recommender may do, counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tastemaker.errors import DataError

if TYPE_CHECKING:
    from tastemaker.data.queries import Queries
    from tastemaker.data.ranking import Ranking
    from tastemaker.types import Int64


def audit(
    ranking: Ranking, queries: Queries, n_items: int, *, masking: bool, candidates: Ranking | None = None
) -> dict[str, int]:
    """Count what is wrong with finished lists; every figure of a sound recommender is 0, but for short lists.

    Args:
        ranking: the lists, [B, k].
        queries: the B histories that they answer.
        n_items: size of the catalogue.
        masking: whether items of the history should have been left out.
        candidates: what the lists had to choose from, where that was not the whole catalogue.

    Returns:
        "invalid ids" (numbers outside the catalogue), "repeated items" (beyond the first in a list), "items of the
        history" (0 without masking), "short lists" (fewer items than k, although there was more to offer), and with
        candidates "out of candidates".

    Raises:
        DataError: lists, histories and candidates do not belong together.
    """
    size, k = ranking.items.shape
    if len(queries) != size or (candidates is not None and len(candidates) != size):
        offered = "" if candidates is None else f" and {len(candidates)} lists of candidates"
        raise DataError(f"audit: {size} lists for {len(queries)} histories{offered}; give one each")
    invalid = (ranking.items >= n_items) | (ranking.items < -1)
    lists = np.sort(np.where(invalid, -1, ranking.items), axis=1)
    repeated = (lists[:, 1:] == lists[:, :-1]) & (lists[:, 1:] >= 0)
    rows = np.arange(size)[:, None]
    listed = (rows * n_items + lists)[lists >= 0]  # rises along the whole array, as `lists` rises along each row
    known = np.unique(queries.rows * n_items + queries.items)
    available = np.full(size, n_items)
    if candidates is not None:
        offers = np.sort(candidates.items, axis=1)
        distinct = (offers >= 0) & (np.diff(offers, axis=1, prepend=-1) > 0)
        given = (rows * n_items + offers)[distinct]
        available = distinct.sum(axis=1)
    if masking:
        taken = known if candidates is None else known[_counts(known, given) > 0]
        available = available - np.bincount(taken // n_items, minlength=size)
    found = {
        "invalid ids": int(invalid.sum()),
        "repeated items": int(repeated.sum()),
        "items of the history": int(_counts(known, listed).sum()) if masking else 0,
        "short lists": int((ranking.lengths < np.minimum(k, available)).sum()),
    }
    return found if candidates is None else found | {"out of candidates": int((_counts(listed, given) == 0).sum())}


def _counts(keys: Int64, rising: Int64) -> Int64:
    """Return how often each of `keys` stands in `rising`."""
    return np.searchsorted(rising, keys, side="right") - np.searchsorted(rising, keys)
