"""Products at random: what a model that has learnt nothing is worth. Every product is equally likely at every place.

The draw depends on the seed of `fit` and on the history alone, so a shopper gets the same list in any batch and after
loading, and shoppers with equal histories get equal lists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker.recommender import Recommender

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.data.queries import Queries
    from tastemaker.progress import Progress
    from tastemaker.types import Float32


class Random(Recommender):
    """Score = a uniform draw from [0, 1) for each history and item."""

    name = "random"
    answers_empty_history = True
    ranks_cold_items = True

    _seed: int | None = None

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Keep the seed; the log is not looked at."""
        self._seed = seed

    def transfer(self, items: Entities) -> None:
        """Rank another catalogue: one is as good as the other.

        Raises:
            NotFitted: `fit` or `load` comes first.
        """
        _ = self.items
        self._items = items

    def score(self, queries: Queries) -> Float32:
        """Return the draws, [B, n]."""
        scores = np.empty((len(queries), len(self.items)), dtype=np.float32)
        for row, history in enumerate(queries):
            # with the length, no two histories give the same seed: seeds are padded with zeros
            generator = np.random.default_rng([self._seed, len(history), *history.tolist()])
            scores[row] = generator.random(len(self.items), dtype=np.float32)
        return scores

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the seed, [1]."""
        return {"seed": np.array([self._seed], dtype=np.uint64)}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take the seed back."""
        self._seed = int(arrays["seed"].reshape(1)[0])
