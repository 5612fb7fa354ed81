"""The most-bought products, the same for everyone: the least any recommender must beat, and the usual fallback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker.recommender import Recommender

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.queries import Queries
    from tastemaker.progress import Progress
    from tastemaker.types import Float32


class Popular(Recommender):
    """Score = number of interactions of the item in the training data; an item without any gets no opinion."""

    name = "popular"
    answers_empty_history = True

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Count."""
        self.counts = train.popularity

    def score(self, queries: Queries) -> Float32:
        """Return the counts for every query, [B, n]."""
        counts = np.where(self.counts > 0, self.counts, -np.inf).astype(np.float32)
        return np.tile(counts, (len(queries), 1))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the counts, float32 [n]."""
        return {"counts": self.counts}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take the counts back."""
        self.counts = arrays["counts"].reshape(len(self.items))
