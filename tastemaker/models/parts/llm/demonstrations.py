r"""In-context learning: demonstrations retrieved from similar shoppers, made from training data alone.

A demonstration is another shopper's history, candidates, and true next purchase: the newest purchase that the training
data have of that shopper, with the history before it, among other purchases drawn from the training data. Those shown
to a shopper are of the shoppers with the most similar histories: the cosine of binary histories weighted by inverse
document frequency, $w_i = \log\frac{U + 1}{p_i + 0.5}$ for an item that $p_i$ of U demonstrations have.

Never shown: demonstrations of the asking shopper, and those whose answer is in the asking history (they would tell it
nothing). A shopper who shares no item with anybody is asked without.

Sources: few-shot prompts of LLMRank, arXiv 2305.08845; retrieved demonstrations, arXiv 2101.06804.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from tastemaker.data.queries import Queries
from tastemaker.data.ranking import top_k_sparse
from tastemaker.text.prompting.prompts import Example

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.types import Float32, Int32, Int64

BLOCK = 256
"""Queries whose similarities are computed at a time."""


class Demonstrations:
    """Demonstrations of the shoppers of a training set, found by similarity.

    Args:
        histories: what each demonstrating shopper had before the answer, with user numbers.
        offered: items shown with each demonstration, the answer among them, [D, c].
        places: place of the answer in `offered`, [D].
        owners: whose purchase each offered item is, user numbers [D, c].
        n_items: size of the catalogue.
    """

    def __init__(self, histories: Queries, offered: Int32, places: Int64, owners: Int32, n_items: int) -> None:
        self.histories, self.offered, self.places, self.owners = histories, offered, places, owners
        self._n_items = n_items
        counts = np.asarray(self.histories.matrix(n_items).sum(axis=0)).ravel()
        self._weights = np.log((len(histories) + 1) / (counts + 0.5)).astype(np.float32)
        self._matrix = self._vectors(histories)  # [D, n]

    @classmethod
    def of(cls, train: Dataset, *, history: int, choices: int, seed: int) -> Demonstrations:
        """Make one demonstration of every shopper with two different purchases.

        Args:
            train: what may be shown; synthetic interactions are not.
            history: newest items of each history.
            choices: candidates of each demonstration, with the answer.
            seed: of the draw of the other candidates.
        """
        train = train.real()
        users, items = train.log["user"].to_numpy(), train.log["item"].to_numpy()
        rng = np.random.default_rng(seed)
        histories, offered, places, owners, names = [], [], [], [], []
        for user, bought in enumerate(train.queries()):
            before = bought[bought != bought[-1]] if len(bought) else bought
            if not len(before):
                continue
            drawn = rng.integers(len(items), size=8 * choices)
            others = drawn[~np.isin(items[drawn], bought)]
            others = others[np.sort(np.unique(items[others], return_index=True)[1])][: choices - 1]
            place = int(rng.integers(choices))
            shown = np.full((2, choices), -1, dtype=np.int32)
            shown[:, np.delete(np.arange(choices), place)[: len(others)]] = items[others], users[others]
            shown[:, place] = bought[-1], user
            histories.append(before[-history:])
            offered.append(shown[0])
            owners.append(shown[1])
            places.append(place)
            names.append(user)
        packed = Queries.from_lists(histories, users=np.array(names, dtype=np.int32))
        shape = (len(names), choices)
        return cls(
            packed,
            np.array(offered, dtype=np.int32).reshape(shape),
            np.array(places, dtype=np.int64),
            np.array(owners, dtype=np.int32).reshape(shape),
            train.n_items,
        )

    def __len__(self) -> int:
        return len(self.histories)

    def find(self, queries: Queries, count: int) -> list[Int32]:
        """Return the numbers of the `count` most similar demonstrations for each query, the most similar last.

        The most similar one stands nearest to the question. Fewer are returned where fewer share an item.
        """
        if not len(self):
            return [np.empty(0, dtype=np.int32)] * len(queries)
        n, answers = self._n_items, self.offered[np.arange(len(self)), self.places]
        found: list[Int32] = []
        for start in range(0, len(queries), BLOCK):
            block = queries.take(slice(start, start + BLOCK))
            alike = (self._vectors(block) @ self._matrix.T).tocsr()  # [b, D]
            rows = np.repeat(np.arange(len(block)), np.diff(alike.indptr))
            useless = np.isin(rows * n + answers[alike.indices], block.rows * n + block.items)
            if block.users is not None and self.histories.users is not None:
                useless |= block.users[rows] == self.histories.users[alike.indices]
            alike.data[useless | (alike.data <= 0)] = -np.inf
            listed = top_k_sparse(csr_array(alike), count)
            found += [row[row >= 0][::-1] for row in listed.items]
        return found

    def example(self, number: int, names: Sequence[str]) -> Example:
        """Return a demonstration in words."""
        real = np.flatnonzero(self.offered[number] >= 0)
        return Example(
            tuple(names[item] for item in self.histories.history(number)),
            tuple(names[item] for item in self.offered[number][real]),
            int(np.searchsorted(real, self.places[number])),
        )

    def purchases(self, numbers: Int32) -> tuple[Int32, Int32]:
        """Return user and item numbers of every purchase that some demonstrations show."""
        shown = self.histories.take(numbers.astype(np.int64))
        users = np.zeros(0, dtype=np.int32) if shown.users is None else shown.users
        offered, owners = self.offered[numbers].ravel(), self.owners[numbers].ravel()
        return (
            np.concatenate([users[shown.rows], owners[offered >= 0]]).astype(np.int32),
            np.concatenate([shown.items, offered[offered >= 0]]).astype(np.int32),
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything that `restored` needs."""
        users = np.empty(0, dtype=np.int32) if self.histories.users is None else self.histories.users
        return {
            "offsets": self.histories.offsets,
            "items": self.histories.items,
            "users": users,
            "offered": self.offered,
            "owners": self.owners,
            "places": self.places,
        }

    @classmethod
    def restored(cls, arrays: dict[str, NDArray[Any]], n_items: int) -> Demonstrations:
        """Take back what `arrays` returned."""
        histories = Queries(arrays["offsets"], arrays["items"], users=arrays["users"])
        return cls(histories, arrays["offered"], arrays["places"], arrays["owners"], n_items)

    def _vectors(self, queries: Queries) -> csr_array:
        """Return histories as weighted rows of length 1, [B, n]."""
        matrix = queries.matrix(self._n_items)
        matrix.data *= self._weights[matrix.indices]
        rows = np.repeat(np.arange(len(queries)), np.diff(matrix.indptr))
        lengths: Float32 = np.sqrt(np.bincount(rows, weights=matrix.data**2, minlength=len(queries))).astype(np.float32)
        matrix.data /= np.where(lengths > 0, lengths, 1)[rows]
        return matrix
