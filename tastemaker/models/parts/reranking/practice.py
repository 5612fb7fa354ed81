"""Questions that a re-ranker practises on: made of training histories alone, and as hard as those that it will meet.

The newest purchase of each history is asked for. A table or a vector that was computed from the whole training part has
seen it, and a model that learns to trust such a table is let down when it meets new purchases. So in round r the r
newest purchases of *every* history are put away, whatever the model may know is computed from what remains, and the
oldest of those put away is asked for among candidates that a co-occurrence table retrieves. Round 0 is the training
part as it is: what is known when the model is asked in earnest. Vectors of all rounds lie in one space (folding in).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

from tastemaker.data.queries import Queries
from tastemaker.data.ranking import Ranking, top_k_sparse
from tastemaker.errors import DataError
from tastemaker.models.parts.matrices.cooccurrence import axes, placed, transition_table
from tastemaker.recommender import chunks

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.types import Float32, Int32, Int64

RECENCY = 0.6
"""Weight of a history item for each step back from the newest, as in `transitions`."""
LEAST_SHARE = np.float32(np.exp(-7.0))
"""Scores below this share of a list's best one count as this share."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What purchases say of items at one time.

    Attributes:
        table: what is bought after what, sparse float32 [n, n].
        vectors: of items by co-occurrence, unit length or zero, float32 [n, d].
        counts: purchases of each item, float32 [n].
    """

    table: csr_array
    vectors: Float32
    counts: Float32

    @classmethod
    def of(cls, histories: Queries, space: Float32) -> Knowledge:
        """Count and place what these histories say, in the space of `cooccurrence.axes`."""
        n = len(space)
        counts = np.bincount(histories.items, minlength=n).astype(np.float32)
        return cls(transition_table(histories, n), placed(histories, space), counts)

    def scores(self, queries: Queries) -> csr_array:
        """Return how much of each item is bought after the items of each history, sparse float32 [B, n]."""
        return csr_array(queries.matrix(len(self.counts), recency=RECENCY) @ self.table)

    def shares(self, queries: Queries, items: Int32) -> Float32:
        """Return log of score over the best score among the offered items, [B, m]; 0 is the best, -7 the least."""
        found = np.zeros(items.shape, dtype=np.float32)
        for rows in chunks(len(queries), len(self.counts)):
            dense = self.scores(queries.take(rows)).toarray()
            found[rows] = np.where(items[rows] >= 0, np.take_along_axis(dense, np.maximum(items[rows], 0), 1), 0)
        return log_shares(found)


@dataclass(frozen=True, slots=True)
class Practice:
    """Q questions with lists of candidates.

    Attributes:
        histories: newest purchases of the Q shoppers at that time.
        rounds: which knowledge holds for each question, int64 [Q].
        lists: what the table of that time retrieves, without the history, [Q, depth].
        shares: log of each candidate's share of the list's best score, float32 [Q, depth].
        targets: what was bought, int64 [Q].
        places: of the target in its list, -1 where it is not listed, int64 [Q].
        users: who was asked, int32 [Q].
    """

    histories: Queries
    rounds: Int64
    lists: Int32
    shares: Float32
    targets: Int64
    places: Int64
    users: Int32

    def __len__(self) -> int:
        return len(self.targets)


def practise(
    train: Dataset, *, rounds: int, depth: int, max_length: int, dim: int, seed: int
) -> tuple[list[Knowledge], Practice]:
    """Return what is known in each round, 0 being the whole training part, and the questions of rounds 1 and beyond.

    Args:
        train: whose last purchases are asked for.
        rounds: of questions; a shopper with h purchases is asked at most h - 1 times.
        depth: candidates retrieved for each question.
        max_length: newest purchases of a history that are kept.
        dim: length of the items' vectors.
        seed: of the factorisation.

    Raises:
        DataError: no shopper has two purchases.
    """
    whole, n = train.queries(), train.n_items
    before = [whole, *(shortened(whole, by) for by in range(1, rounds + 1))]
    space = axes(before[-1], n, dim, seed=seed)  # of the least that is ever known, so that it gives nothing away
    known = [Knowledge.of(histories, space) for histories in before]
    parts = [_questions(whole, before[by], known[by], by, depth, max_length) for by in range(1, rounds + 1)]
    if not any(map(len, parts)):
        raise DataError("no shopper has bought two different products, so there is no purchase to practise on")
    return known, Practice(
        Queries.from_lists([history for part in parts for history in part.histories]),
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("rounds", "lists", "shares", "targets", "places", "users")
        ),
    )


def shortened(histories: Queries, by: int) -> Queries:
    """Return the histories without their `by` newest items; too short ones become empty."""
    keep = histories.ages >= by
    offsets = np.zeros(len(histories) + 1, dtype=np.int64)
    np.cumsum(np.maximum(histories.lengths - by, 0), out=offsets[1:])
    return Queries(offsets, histories.items[keep], histories.texts, histories.users)


def log_shares(scores: Float32) -> Float32:
    """Return log of each score over the best of its row, no less than log `LEAST_SHARE`, [B, m]."""
    best = scores.max(axis=1, keepdims=True, initial=0)
    shares = np.divide(scores, best, out=np.zeros_like(scores), where=best > 0)
    return np.asarray(np.log(np.maximum(shares, LEAST_SHARE)), dtype=np.float32)


def _questions(whole: Queries, before: Queries, known: Knowledge, by: int, depth: int, max_length: int) -> Practice:
    """Ask each history for the purchase that follows what is left of it."""
    rows = np.flatnonzero(before.lengths > 0)
    targets = whole.items[(whole.offsets[1:] - by)[rows]].astype(np.int64)
    n = len(known.counts)
    fresh = ~np.isin(rows * n + targets, before.rows * n + before.items)  # what was bought before is not offered again
    rows, targets = rows[fresh], targets[fresh]
    histories = before.take(rows)
    listed = [
        top_k_sparse(known.scores(part), depth, exclude=part)
        for part in (histories.take(cut) for cut in chunks(len(rows), n))
    ]
    lists = Ranking.stack(listed, depth)
    found = lists.items == targets[:, None]
    places = np.where(found.any(axis=1), found.argmax(axis=1), -1)
    shares = log_shares(np.where(lists.items >= 0, lists.scores, 0).astype(np.float32))
    asked = np.full(len(rows), by, dtype=np.int64)
    newest = histories.newest(max_length)
    return Practice(newest, asked, lists.items, shares, targets, places, rows.astype(np.int32))
