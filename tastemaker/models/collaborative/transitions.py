r"""Ordered co-occurrence counts: the training-free floor that every learnt recommender has to clear.

$C_{ij} = \sum_{i\ before\ j} d^{gap-1}$ over pairs at most `window` steps apart in a history, plus `backward` times
its transpose; rows and columns are divided by powers of their sums, which discounts popular items. A query scores
$s_j = \sum_t r^{age(t)} C_{i_t j}$. One pass over the log, no training.

Source: counting by distance and direction as in the training-free floors of sequential-recommendation studies
(e.g. the transition-graph heuristic, arXiv 2605.07125). The default numbers were chosen on the validation items of
Amazon Beauty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field
from scipy.sparse import csr_array

from tastemaker import configurable
from tastemaker.models.parts.matrices.cooccurrence import transition_table
from tastemaker.models.parts.matrices.similarity import age_weights
from tastemaker.models.parts.matrices.sparse import arrays_of, matrix_of
from tastemaker.recommender import SparseRecommender

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.queries import Queries
    from tastemaker.progress import Progress
    from tastemaker.types import Float32, Int32


class TransitionsConfig(configurable.Config):
    """Knobs of `transitions`.

    Attributes:
        window: largest distance of a counted pair in one history.
        gap_decay: weight of a pair for each step between its items beyond the first.
        backward: weight of the reverse direction.
        row_power: power of the row sum that divides a row; 1 = transition probabilities.
        column_power: power of the column sum that divides a column: the popularity discount.
        recency: weight of a history item for each step back from the newest.
    """

    window: int = Field(default=10, ge=1)
    gap_decay: float = Field(default=0.85, gt=0, le=1)
    backward: float = Field(default=0.5, ge=0, le=1)
    row_power: float = Field(default=0.3, ge=0, le=1)
    column_power: float = Field(default=0.15, ge=0, le=1)
    recency: float = Field(default=0.6, gt=0, le=1)


class Transitions(SparseRecommender):
    """What was bought next, counted."""

    name = "transitions"
    because = "bought by shoppers who bought"
    Config = TransitionsConfig
    config: TransitionsConfig

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Count ordered pairs and normalise."""
        settings = self.config.model_dump(exclude={"recency"})
        self.table = transition_table(train.queries(), train.n_items, **settings)

    def sparse_scores(self, queries: Queries) -> csr_array:
        """Sum the rows of the history's items, newer ones weighing more, [B, n]."""
        return csr_array(queries.matrix(len(self.items), recency=self.config.recency) @ self.table)

    def contributions(self, history: Int32, item: int) -> Float32:
        """Return the weighted table entry of each history item; a repeated item counts at its newest place."""
        column: Float32 = self.table[history][:, [item]].toarray().ravel()
        return np.asarray(column * age_weights(history, self.config.recency), dtype=np.float32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the table as CSR arrays."""
        return arrays_of(self.table, "table")

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take the table back."""
        self.table = matrix_of(arrays, "table", (len(self.items), len(self.items)))
