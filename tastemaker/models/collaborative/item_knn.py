r"""Item-based collaborative filtering: what is bought by the same people is alike. With texts, what reads alike too.

Each item keeps its K most similar items, $N_K(i)$. A history scores $s_j = \sum_{i \in h,\, j \in N_K(i)} r^{age(i)}
sim(i, j)$; with r = 1 this is item-based top-N recommendation (Deshpande and Karypis, TOIS 2004).

Similarities, of two items' columns in the user-item matrix X:

- "cooccurrence": number of users who have both (arXiv 2403.02760, the co-occurrence matrix of ItemCF);
- "cosine": $x_i \cdot x_j / (|x_i| |x_j|)$, an absent rating counting as 0 (same source);
- "adjusted-cosine": the cosine of ratings minus their user's mean, over users who rated both (Sarwar et al., WWW 2001);
- "tfidf": cosine of $\sqrt{x_{ui}} \log(n / (1 + n_u))$: a shopper who buys everything says little;
- "bm25": product of BM25 weights; both as in the library implicit, of whose definition the diagonal is left out here.

Deviation: an item's similarity to itself, which those sources leave out, is its own by the formula times the share of
its buyers who bought it more than once. So lists that may hold bought products have those that are bought again; other
lists, and shops without repeats, do not change.

The text-enriched form (T-ItemCF of arXiv 2403.02760, which names it and leaves it undefined) is
$sim = \alpha\, sim_{log} + (1 - \alpha)\, sim_{text}$, with the cosine of the products' text vectors, of which the K
nearest are kept. Ratings are predicted by the similarity-weighted mean of the user's own ratings,
$p_{uj} = \sum_i sim(i, j)\, r_{ui} / \sum_i sim(i, j)$ over the K rated items most similar to j, similarities above 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator
from scipy.sparse import csr_array, vstack

from tastemaker.errors import ConfigError, DataError
from tastemaker.models.parts.matrices import similarity
from tastemaker.models.parts.matrices.neighbours import NeighbourConfig, NeighbourModel
from tastemaker.models.parts.matrices.rating_table import RatingTable, first_known, neighbour_means
from tastemaker.models.parts.matrices.sparse import arrays_of, matrix_of
from tastemaker.models.parts.texts.text_vectors import encoder_or_default, item_vectors
from tastemaker.recommender import chunks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.queries import Queries
    from tastemaker.progress import Progress
    from tastemaker.types import Bool, Float32, Int32

UNBOUNDED = ("cooccurrence", "bm25")
"""Similarities that are not on the scale of a cosine, so a text cosine cannot be added to them."""


class ItemKNNConfig(NeighbourConfig):
    """Settings of `item_knn`, beyond those of every model of neighbours.

    Attributes:
        similarity: how two items are compared; see the module's description.
        neighbours: K, most similar items kept for each item.
        shrinkage: similarities are multiplied by c / (c + shrinkage), c = users who have both items.
    """

    similarity: Literal["cooccurrence", "cosine", "adjusted-cosine", "tfidf", "bm25"] = "tfidf"
    shrinkage: float = Field(default=10.0, ge=0)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.similarity == "adjusted-cosine" and self.feedback == "implicit":
            raise ValueError("similarity 'adjusted-cosine' compares ratings; set feedback = 'ratings'")
        if self.similarity in UNBOUNDED and self.alpha < 1:
            raise ValueError(
                f"similarity {self.similarity!r} is no cosine; alpha below 1 needs cosine, tfidf or adjusted-cosine"
            )
        return self


class ItemKNN(NeighbourModel):
    """Recommends what is similar to the items of the history."""

    name = "item_knn"
    because = "bought by the same shoppers as"
    Config = ItemKNNConfig
    config: ItemKNNConfig

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401  # checked by the base
        super().__init__(**settings)
        self.ranks_cold_items = self.config.alpha < 1  # texts reach items that nobody has bought

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Compare every item with every other, block by block, and keep the nearest."""
        weights = similarity.influence(train, self.config.half_life_days)
        if self.config.feedback == "ratings":
            self.ratings = RatingTable(train.ratings(), weights.data)
        self._prepare(weights)
        if self.config.alpha < 1:
            encoder = encoder_or_default(self.encoder)
            self.vectors = item_vectors(self.items, encoder, model=self.name, progress=progress)
        every = np.arange(train.n_items, dtype=np.int32)
        again = similarity.bought_again(train.queries(), train.n_items)
        blocks = progress(list(chunks(train.n_items, train.n_items)), label="compare items")
        self.table = vstack([self._neighbours(every[rows], again[rows]) for rows in blocks]).tocsr()

    def sparse_scores(self, queries: Queries) -> csr_array:
        """Sum the neighbours of the history's items, newer ones weighing more, [B, n]."""
        return csr_array(queries.matrix(len(self.items), recency=self.config.recency) @ self.table)

    def contributions(self, history: Int32, item: int) -> Float32:
        """Return the weighted similarity of each history item; a repeated item counts at its newest place."""
        column: Float32 = self.table[history][:, [item]].toarray().ravel()
        return np.asarray(column * similarity.age_weights(history, self.config.recency), dtype=np.float32)

    def predict_over(self, users: Int32, items: Int32, ks: Sequence[int]) -> tuple[Float32, Bool]:
        """Return the predictions of `predict` for several K, [len(ks), n], and whether each comes from neighbours.

        Without a rated neighbour the prediction is the item's mean, else the user's, else the mean of all ratings.

        Raises:
            ConfigError: the model was fitted on implicit feedback.
        """
        if self.config.feedback != "ratings":
            raise ConfigError("item_knn: predicts ratings only with feedback = 'ratings'")
        table = self.ratings
        means, known = neighbour_means(self._similarity_rows, items, table.values, users, table.weights, ks)
        fallback = first_known(table.item_means[items], table.user_means[users], np.full(len(users), table.mean))
        return table.clip(np.where(known, means, fallback)), known

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the table of neighbours and, in the rating form, the ratings and the text vectors."""
        arrays = arrays_of(self.table, "table")
        if self.config.feedback == "ratings":
            arrays |= arrays_of(self.ratings.values, "ratings") | {"weights": self.ratings.weights}
            if self.config.alpha < 1:
                arrays["vectors"] = self.vectors
        return arrays

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take back what `arrays` returned."""
        n = len(self.items)
        self.table = matrix_of(arrays, "table", (n, n))
        if self.config.feedback == "ratings":
            values = matrix_of(arrays, "ratings", (len(arrays["ratings.indptr"]) - 1, n))
            self.ratings = RatingTable(values, arrays["weights"].reshape(values.nnz))
            self._prepare(similarity.with_data(values, self.ratings.weights))
            if self.config.alpha < 1:
                self.vectors = arrays["vectors"].reshape(n, -1)

    def _prepare(self, weights: csr_array) -> None:
        """Set the items' features, [n, users], from the weight of each interaction or from the ratings."""
        kind = self.config.similarity
        if kind == "adjusted-cosine":
            self.features = csr_array(self.ratings.centred.T.tocsr())
            return
        features = csr_array((self.ratings.weighted if self.config.feedback == "ratings" else weights).T.tocsr())
        if kind in ("tfidf", "bm25") and features.data.min() < 0:
            raise DataError(f"item_knn: similarity {kind!r} needs values of at least 0, found {features.data.min():g}")
        if kind == "cooccurrence":
            self.features = weights.T.tocsr()
        elif kind == "bm25":
            self.features = similarity.bm25(features)
        else:
            self.features = similarity.unit_rows(similarity.tf_idf(features) if kind == "tfidf" else features)

    def _similarities(self, items: Int32) -> csr_array:
        """Return the similarities by the log of the given items with all, sparse [len(items), n]."""
        rows = self.features[items]
        if self.config.similarity == "adjusted-cosine":
            found = similarity.shared_cosine(rows, self.features)
        else:
            found = csr_array(rows @ self.features.T.tocsr())
        if self.config.shrinkage:
            found = similarity.shrunk(found, similarity.cooccurrence(rows, self.features), self.config.shrinkage)
        return found

    def _neighbours(self, items: Int32, again: Float32) -> csr_array:
        """Return the nearest items of the given ones, and themselves if bought again, sparse [len(items), n].

        Args:
            items: item numbers.
            again: what an item's similarity to itself is multiplied by, [len(items)].
        """
        found, k, alpha = self._similarities(items), self.config.neighbours, self.config.alpha
        if alpha < 1:
            texts = similarity.top_text_neighbours(self.vectors[items], self.vectors, k + 1)
            found = similarity.blend(found, texts, alpha)
        others = similarity.top_neighbours(similarity.without(found, items), k)
        return csr_array(others + similarity.to_themselves(found, items, again))

    def _similarity_rows(self, items: Int32) -> Float32:
        """Return the similarities of the given items with all, texts compared exactly, dense [len(items), n]."""
        found = self._similarities(items).toarray()
        if self.config.alpha < 1:
            found = similarity.blend_all(found, self.vectors[items], self.vectors, self.config.alpha)
        return found
