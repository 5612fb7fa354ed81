r"""ALS: matrix factorisation of implicit feedback, solved by alternating least squares in the library implicit.

Minimises $\sum_{u,j} c_{uj} (p_{uj} - x_u^T y_j)^2 + \lambda (\sum_u |x_u|^2 + \sum_j |y_j|^2)$ where
$p_{uj}$ = 1 and $c_{uj}$ = `confidence` if u has j, else $p_{uj}$ = 0 and $c_{uj}$ = 1
(Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008).

A query is a history and no user number: its vector is the closed-form user step with the items' vectors held fixed,
$x = (Y^T Y + Y^T (C_h - I) Y + \lambda I)^{-1} Y^T C_h p_h$ (eq. 4 there), so new shoppers need no training. With r =
`recency`, an item of the history has confidence $r^{age} \cdot$ `confidence`; r = 1 is the published form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from implicit.recommender_base import ModelFitError
from pydantic import Field
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from tastemaker import configurable
from tastemaker.errors import ConfigError
from tastemaker.models.parts.matrices.factors import FactorModel
from tastemaker.models.parts.matrices.similarity import age_weights, on_grid

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.data.queries import Queries
    from tastemaker.progress import Progress
    from tastemaker.types import Bool, Float32, Int32


class ALSConfig(configurable.Config):
    """Knobs of `als`.

    Attributes:
        dim: length of the factors.
        epochs: passes of the alternation.
        reg: lambda, weight of the squared factors.
        confidence: weight of an interaction; what did not happen weighs 1.
        recency: factor on the confidence of a history item for each step back from the newest; 1 = the published form.
    """

    dim: int = Field(default=128, ge=1, le=4096)
    epochs: int = Field(default=15, ge=1)
    reg: float = Field(default=1.0, gt=0, le=1e12)
    confidence: float = Field(default=40.0, gt=0, le=1e12)
    recency: float = Field(default=0.6, gt=0, le=1)


class ALS(FactorModel):
    """Places shoppers and products in one space of factors."""

    name = "als"
    because = "bought by shoppers with the same taste as those of"
    Config = ALSConfig
    config: ALSConfig

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Alternate; only the items' factors are kept. The result does not depend on the number of threads.

        Raises:
            ConfigError: the settings leave the range of single precision.
        """
        model = self._solver(seed=seed)
        model.calculate_training_loss = True
        curve: list[dict[str, float]] = []

        def note(epoch: int, _seconds: float, loss: float) -> None:
            curve.append({"epoch": epoch + 1, "loss": float(f"{loss:.6g}")})  # the rest depends on the threads

        try:
            with threadpool_limits(1, user_api="blas"):
                model.fit(csr_matrix(train.matrix()), show_progress=False, callback=note)
        except (ModelFitError, ValueError) as error:
            raise self._failed() from error
        self._keep(train, model.item_factors, curve)

    def query_vectors(self, queries: Queries) -> tuple[Float32, Bool]:
        """Return x of each history, [B, dim], and whether it has a known item, [B]; see `Embedding`.

        Raises:
            ConfigError: `reg` is too small for the normal equations to be solved.
        """
        rows = queries.matrix(len(self.items), recency=self.config.recency)
        asked = rows @ self.known > 0
        users = np.zeros((len(queries), self.config.dim), dtype=np.float32)
        if asked.any():
            weights = csr_matrix(rows[np.flatnonzero(asked)])
            try:
                found: Float32 = self._folding.recalculate_user(np.arange(len(weights.indptr) - 1), weights)
            except ValueError as error:
                raise self._failed() from error
            users[asked] = on_grid(found)
        return users, asked

    def contributions(self, history: Int32, item: int) -> Float32:
        """Return each history item's share of the score (section 5 there); of a repeated item the newest counts."""
        known = self.factors[history].astype(np.float64)  # [len(history), dim]
        confidence = self.config.confidence * age_weights(history, self.config.recency)
        extra = known.T * np.where(confidence > 0, confidence - 1, 0) @ known
        return (confidence * (known @ np.linalg.solve(self._ridge + extra, self.factors[item]))).astype(np.float32)

    def _prepare(self) -> None:
        self.vectors = on_grid(self.factors)
        wide = self.factors.astype(np.float64)
        self._ridge = wide.T @ wide + self.config.reg * np.eye(self.config.dim)  # Y^T Y + lambda I
        self._folding = self._solver(seed=0)
        self._folding.item_factors = self.factors

    def _failed(self) -> ConfigError:
        """Return the error for normal equations that single precision cannot solve."""
        reg, confidence = self.config.reg, self.config.confidence
        return ConfigError(
            f"als.reg: {reg:g}: the factors cannot be computed with this value and confidence = {confidence:g}; "
            "take both nearer to their defaults"
        )

    def _solver(self, *, seed: int) -> AlternatingLeastSquares:
        """Return implicit's model, whose advice to limit BLAS to one thread is followed here instead of shown."""
        with threadpool_limits(1, user_api="blas"):
            return AlternatingLeastSquares(
                factors=self.config.dim,
                regularization=self.config.reg,
                alpha=self.config.confidence,
                iterations=self.config.epochs,
                random_state=seed,
            )
