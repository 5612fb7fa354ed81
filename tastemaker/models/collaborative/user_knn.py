r"""User-based collaborative filtering: shoppers like you bought. With texts, shoppers who read alike count too.

The K training users most similar to the history vote for what they have, $s_j = \sum_{u \in N_K(h)} sim(h, u)\, x_{uj}$
with $x_{uj}$ = 1, or the rating. A query is a history and no user number: whoever asks, his neighbours are searched
among the training users (Resnick et al., CSCW 1994; arXiv 2403.02760, steps 1-3 of UserCF).

Similarities:

- "cosine" of whole rows, an absent item counting as 0 (arXiv 2403.02760);
- "pearson", on ratings: correlation over the items that both rated, around each user's mean of all his ratings; on
  implicit feedback: correlation of the 0/1 rows over the whole catalogue.

The text-enriched form (T-UserCF of arXiv 2403.02760, which names it and leaves it undefined) is
$sim = \alpha\, sim_{log} + (1 - \alpha)\, sim_{text}$; a user's text vector is the mean of his items' vectors.
Ratings are predicted with each neighbour's bias taken out,
$p_{ai} = \bar r_a + \sum_u sim(a, u)(r_{ui} - \bar r_u) / \sum_u sim(a, u)$ over the K users most similar to a among
those who rated i, similarities above 0.

Who asks about himself: when `Queries.users` names a training user, his own row is no neighbour, so he never votes
for himself. Without that hint his row stays a neighbour; it holds only what he has, which is masked as seen.
Fitted on ratings, a query's items carry the user's own ratings where `Queries.users` names him, else the items' means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field
from scipy.sparse import csr_array, vstack

from tastemaker.errors import ConfigError
from tastemaker.models.parts.matrices import similarity
from tastemaker.models.parts.matrices.neighbours import NeighbourConfig, NeighbourModel
from tastemaker.models.parts.matrices.rating_table import RatingTable, first_known, neighbour_means
from tastemaker.models.parts.matrices.sparse import arrays_of, matrix_of
from tastemaker.models.parts.texts.text_vectors import encoder_or_default, item_vectors, mean_vectors
from tastemaker.recommender import chunks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.queries import Queries
    from tastemaker.progress import Progress
    from tastemaker.types import Bool, Float32, Int32


class UserKNNConfig(NeighbourConfig):
    """Settings of `user_knn`, beyond those of every model of neighbours.

    Attributes:
        similarity: how two users are compared; see the module's description.
        neighbours: K, most similar users who vote.
        shrinkage: similarities are multiplied by c / (c + shrinkage), c = items that both have.
    """

    similarity: Literal["cosine", "pearson"] = "cosine"
    shrinkage: float = Field(default=0.0, ge=0)


class UserKNN(NeighbourModel):
    """Recommends what the most similar shoppers have."""

    name = "user_knn"
    Config = UserKNNConfig
    config: UserKNNConfig

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Keep the user-item matrix; the neighbours are searched when a question comes."""
        weights = similarity.influence(train, self.config.half_life_days)
        values = train.ratings() if self.config.feedback == "ratings" else similarity.indicator(weights)
        vectors = None
        if self.config.alpha < 1:
            encoder = encoder_or_default(self.encoder)
            vectors = item_vectors(self.items, encoder, model=self.name, progress=progress)
        self._set(RatingTable(values, weights.data), vectors)

    def sparse_scores(self, queries: Queries) -> csr_array:
        """Let the nearest users of each history vote, [B, n]."""
        histories = self._histories(queries)
        users = np.full(len(queries), -1, dtype=np.int32) if queries.users is None else queries.users
        blocks = list(chunks(len(queries), len(self.features.indptr)))
        near = [self._neighbours(csr_array(histories[rows]), users[rows]) for rows in blocks]
        if not near:
            return histories
        return csr_array(vstack(near).tocsr() @ self.table.weighted)

    def predict_over(self, users: Int32, items: Int32, ks: Sequence[int]) -> tuple[Float32, Bool]:
        """Return the predictions of `predict` for several K, [len(ks), n], and whether each comes from neighbours.

        Without a neighbour who rated the item it is the user's mean, else the item's, else the mean of all ratings.

        Raises:
            ConfigError: the model was fitted on implicit feedback.
        """
        if self.config.feedback != "ratings":
            raise ConfigError("user_knn: predicts ratings only with feedback = 'ratings'")
        table = self.table
        raters, weights = (  # [n_items, n_users]
            similarity.with_data(table.values, data).T.tocsr() for data in (table.deviations, table.weights)
        )
        shifts, known = neighbour_means(self._similarity_rows, users, raters, items, weights.data, ks)
        fallback = first_known(table.user_means[users], table.item_means[items], np.full(len(users), table.mean))
        return table.clip(np.where(known, table.user_means[users] + shifts, fallback)), known

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the user-item matrix and, in the text-enriched form, the items' vectors."""
        arrays = arrays_of(self.table.values, "values") | {"weights": self.table.weights}
        return arrays if self.vectors is None else arrays | {"vectors": self.vectors}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take back what `arrays` returned."""
        n = len(self.items)
        values = matrix_of(arrays, "values", (len(arrays["values.indptr"]) - 1, n))
        vectors = arrays["vectors"].reshape(n, -1) if self.config.alpha < 1 else None
        self._set(RatingTable(values, arrays["weights"].reshape(values.nnz)), vectors)

    def _set(self, table: RatingTable, vectors: Float32 | None) -> None:
        """Hold what was learnt; both `learn` and `restore` end here, so they cannot differ."""
        self.table, self.vectors = table, vectors
        self._centres = self.config.feedback == "ratings" and self.config.similarity == "pearson"
        self.features = self._features(table.centred if self._centres else table.weighted)
        if vectors is not None:
            self.user_vectors = mean_vectors(similarity.with_data(table.values, table.weights), vectors)

    def _features(self, rows: csr_array) -> csr_array:
        """Return what the similarity compares: unit rows for the cosine, the rows themselves for Pearson's."""
        return similarity.unit_rows(rows) if self.config.similarity == "cosine" else rows

    def _histories(self, queries: Queries) -> csr_array:
        """Return the histories as rows like those of the training users, [B, n]."""
        rows = queries.matrix(len(self.items), recency=self.config.recency)
        if self.config.feedback == "implicit" or not rows.nnz:
            return rows
        table = self.table
        line = np.repeat(np.arange(len(queries)), np.diff(rows.indptr))
        asked = np.full(len(queries), -1) if queries.users is None else queries.users
        pair = np.maximum(asked, 0)[line], rows.indices
        own = (asked[line] >= 0) & (np.asarray(similarity.indicator(table.values)[pair]) > 0)
        usual = np.nan_to_num(table.item_means, nan=table.mean)[rows.indices]
        ratings = similarity.with_data(rows, np.where(own, np.asarray(table.values[pair]), usual))
        listed = RatingTable(ratings, rows.data)
        return listed.centred if self._centres else listed.weighted

    def _similarities(self, rows: csr_array) -> csr_array:
        """Return the similarities by the log of history rows with all users, sparse [rows, n_users]."""
        if self.config.similarity == "cosine":
            found = csr_array(self._features(rows) @ self.features.T.tocsr())
        elif self._centres:
            found = similarity.shared_cosine(rows, self.features)
        else:
            found = similarity.correlation(rows, self.features)
        if self.config.shrinkage:
            found = similarity.shrunk(found, similarity.cooccurrence(rows, self.features), self.config.shrinkage)
        return found

    def _neighbours(self, rows: csr_array, users: Int32) -> csr_array:
        """Return the nearest users of each history row, `users[r]` left out of row r, sparse [rows, n_users]."""
        found, k, alpha = self._similarities(rows), self.config.neighbours, self.config.alpha
        if self.vectors is not None:
            asked = mean_vectors(abs(rows), self.vectors)
            found = similarity.blend(found, similarity.top_text_neighbours(asked, self.user_vectors, k + 1), alpha)
        return similarity.top_neighbours(similarity.without(found, users), k)

    def _similarity_rows(self, users: Int32) -> Float32:
        """Return the similarities of training users with all, texts compared exactly, dense [len(users), n_users]."""
        table = self.table
        rows = csr_array((table.centred if self._centres else table.weighted)[users])
        found = self._similarities(rows).toarray()
        if self.vectors is not None:
            found = similarity.blend_all(found, self.user_vectors[users], self.user_vectors, self.config.alpha)
        return np.asarray(found, dtype=np.float32)
