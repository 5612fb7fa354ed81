"""What models share that learn factors of items with the library implicit, and give a history a vector too."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker.models.parts.matrices.similarity import products
from tastemaker.recommender import Recommender

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.queries import Queries
    from tastemaker.errors import ConfigError
    from tastemaker.types import Bool, Float32


class FactorModel(Recommender):
    """Scores items by the product of their vectors with that of the history; a subclass learns factors.

    Attributes:
        factors: of the items, [n, dim]; zeros for those that nobody had.
        known: which items somebody had, [n].
        vectors: what the histories' vectors are multiplied with, [n, dim].
    """

    extra = "implicit"
    factors: Float32
    known: Bool
    vectors: Float32
    _curve: Sequence[dict[str, float]] = ()

    @abstractmethod
    def query_vectors(self, queries: Queries) -> tuple[Float32, Bool]:
        """Return x of each history, [B, dim], and whether it has a known item, [B]; see `Embedding`."""

    @abstractmethod
    def _prepare(self) -> None:
        """Set `vectors`, and what else is needed to be asked, from `factors` and `known`."""

    @abstractmethod
    def _failed(self) -> ConfigError:
        """Return the error for settings by which no factors are found."""

    def score(self, queries: Queries) -> Float32:
        """Return x^T y, [B, n]; -inf for items that nobody had and for histories of only such items."""
        asking, asked = self.query_vectors(queries)
        scores = np.full((len(queries), len(self.items)), -np.inf, dtype=np.float32)
        scores[asked] = np.where(self.known, products(asking[asked], self.vectors), -np.inf)
        return scores

    def item_vectors(self) -> tuple[Float32, Bool]:
        """Return y of each item, [n, dim], and which somebody had, [n]."""
        return self.vectors, self.known

    def report(self) -> dict[str, Any]:
        """Return how training went after each epoch of the last `fit`; a loaded model has nothing to tell."""
        return {"learning_curve": [*self._curve]}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the items' factors, [n, dim]."""
        return {"factors": self.factors}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take the factors back."""
        self._set(arrays["factors"].reshape(len(self.items), self.config.dim))

    def _keep(self, train: Dataset, learnt: Float32, curve: Sequence[dict[str, float]]) -> None:
        """Hold the factors of the items that somebody had.

        Raises:
            ConfigError: all of them are 0.
        """
        factors = np.where(train.bought[:, None], learnt, 0).astype(np.float32)
        if not factors.any():
            raise self._failed()
        self._curve = curve
        self._set(factors)

    def _set(self, factors: Float32) -> None:
        """Hold what was learnt; both `_keep` and `restore` end here, so they cannot differ."""
        self.factors = factors
        self.known = (factors != 0).any(axis=1)
        self._prepare()
