r"""Content-based recommendation: products that read like the history, or like a wish in words.

$s_j = \cos((1 - w)\, q_h + w\, q_t,\ v_j)$ with $q_h$ the mean of the history items' text vectors weighted by $r^{age}$
and scaled to length 1, $q_t$ the vector of the wish, and $v_j$ the vector of product j: the profile of a content-based
recommender (Pazzani and Billsus, 2007), here with a recency weight. Nobody need have bought j.

With a history and no wish w counts as 0, with a wish and no history as 1; with neither the model abstains, and a
product without text gets no opinion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import Field

from tastemaker import configurable
from tastemaker.configurable import under
from tastemaker.models.parts.matrices.similarity import age_weights, products
from tastemaker.models.parts.texts.text_vectors import (
    blended,
    encoded_items,
    encoder_or_default,
    item_vectors,
    mean_vectors,
)
from tastemaker.progress import silent
from tastemaker.recommender import Recommender

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.data.queries import Queries
    from tastemaker.encoders.base import Encoder
    from tastemaker.progress import Progress
    from tastemaker.types import Bool, Float32, Int32


class TextKNNConfig(configurable.Config):
    """Knobs of `text_knn`.

    Attributes:
        recency: weight of a history item for each step back from the newest.
        wish_weight: w, weight of a wish in words against the history.
    """

    recency: float = Field(default=0.6, gt=0, le=1)
    wish_weight: float = Field(default=0.5, ge=0, le=1)


class TextKNN(Recommender):
    """Recommends what reads like the history or the wish."""

    name = "text_knn"
    because = "described like"
    takes = ("encoder",)
    ranks_cold_items = True
    reads_wish = True
    Config = TextKNNConfig
    config: TextKNNConfig

    def __init__(self, *, encoder: Encoder | None = None, **settings: Any) -> None:  # noqa: ANN401  # checked by the base
        super().__init__(encoder=encoder_or_default(encoder), **settings)
        self.encoder: Encoder

    @classmethod
    def of_catalogue(cls, items: Entities, *, encoder: Encoder | None = None) -> Self:
        """Return a model of a catalogue alone, as it needs no interactions; `encoder` is fitted on its texts.

        Raises:
            DataError: no product has a text.
        """
        model = cls(encoder=encoder)
        vectors = item_vectors(items, model.encoder, model=cls.name, progress=silent)
        return cls.of_vectors(items, vectors, encoder=model.encoder)

    @classmethod
    def of_vectors(cls, items: Entities, vectors: Float32, *, encoder: Encoder) -> Self:
        """Return a model of products whose vectors, [n, d] on the grid, a fitted encoder gave before."""
        model = cls(encoder=encoder)
        model._items = items
        model._set(vectors)
        return model

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Encode the catalogue; the log is not looked at."""
        self._set(item_vectors(self.items, self.encoder, model=self.name, progress=progress))

    def transfer(self, items: Entities) -> None:
        """Encode another shop's catalogue with the encoder as it was fitted: a learnt vocabulary stays the old shop's.

        Raises:
            DataError: no product has a text.
            NotFitted: `fit` or `load` comes first.
        """
        _ = self.items
        vectors = encoded_items(items, self.encoder, model=self.name, progress=silent)
        self._items = items
        self._set(vectors)

    def score(self, queries: Queries) -> Float32:
        """Return cosines, [B, n]; -inf for products without text and for queries without any."""
        profiles, asked = self.query_vectors(queries)
        scores = np.full((len(queries), len(self.items)), -np.inf, dtype=np.float32)
        scores[asked] = np.where(self.known, products(profiles[asked], self.vectors), -np.inf)
        return scores

    def query_vectors(self, queries: Queries) -> tuple[Float32, Bool]:
        """Return the profile of each query, [B, d], and whether there is any, [B]; see `Embedding`."""
        profiles = mean_vectors(queries.matrix(len(self.items), recency=self.config.recency), self.vectors)
        if queries.texts is not None:
            wishes, written = np.zeros_like(profiles), [row for row, text in enumerate(queries.texts) if text.strip()]
            if written:
                wishes[written] = self.encoder.encode([queries.texts[row] for row in written], kind="query")
            profiles = blended(profiles, wishes, self.config.wish_weight)
        return profiles, (profiles != 0).any(axis=1)

    def item_vectors(self) -> tuple[Float32, Bool]:
        """Return the products' vectors, [n, d], and which have a text, [n]."""
        return self.vectors, self.known

    def contributions(self, history: Int32, item: int) -> Float32:
        """Return each history item's share of the cosine with `item`; a repeated item counts at its newest place."""
        parts = self.vectors[history] * age_weights(history, self.config.recency)[:, None]  # [len(history), d]
        length = np.linalg.norm(parts.sum(axis=0))
        return np.asarray(parts @ self.vectors[item] / (length or 1), dtype=np.float32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the products' vectors, [n, d], and what the encoder learnt, for wishes to come."""
        return {"vectors": self.vectors, **{f"encoder.{name}": array for name, array in self.encoder.arrays().items()}}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take back what `arrays` returned."""
        self._set(arrays["vectors"].reshape(len(self.items), -1))
        self.encoder.restore(under(arrays, "encoder"))

    def _set(self, vectors: Float32) -> None:
        self.vectors, self.known = vectors, (vectors != 0).any(axis=1)
