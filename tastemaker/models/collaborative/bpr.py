r"""BPR: matrix factorisation that learns to rank what was bought above what was not, in the library implicit.

Maximises $\sum_{u, i, j} \ln \sigma(x_u^T y_i + b_i - x_u^T y_j - b_j)$ less $\lambda$ times the squares, over users u
with item i and without item j, by stochastic gradient steps (Rendle et al., "BPR", UAI 2009).

A query is a history and no user number, and BPR has no closed form for a new user. Here the history's vector is the
direction that best separates its items from the catalogue (Fisher's linear discriminant, with the mean variance as
ridge), $x = (\Sigma + \tfrac{tr \Sigma}{d} I)^{-1} (\bar y_h - \bar y)$. Here $\Sigma$ and $\bar y$ are the covariance
and mean of the items' factors, and $\bar y_h$ is the mean over the history weighted by $r^{age}$. The score is
$x^T y_j$, without $b_j$.

Deviation from the paper: it scores training users with their own vectors. On the validation items of Amazon Beauty the
rule above gives a better NDCG@10 than those vectors do, at r = 1 too, and it serves new shoppers alike. One thread
does all the work, because implicit's threads race and no two runs would be equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from implicit.cpu.bpr import BayesianPersonalizedRanking
from implicit.recommender_base import ModelFitError
from pydantic import Field
from scipy.sparse import csr_matrix

from tastemaker import configurable
from tastemaker.errors import ConfigError
from tastemaker.models.parts.matrices.factors import FactorModel
from tastemaker.models.parts.matrices.similarity import age_weights, on_grid

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.data.queries import Queries
    from tastemaker.progress import Progress
    from tastemaker.types import Bool, Float32, Int32


class BPRConfig(configurable.Config):
    """Knobs of `bpr`.

    Attributes:
        dim: length of the factors.
        epochs: passes over the interactions.
        learning_rate: step size.
        reg: lambda, weight of the squared factors.
        recency: weight of a history item for each step back from the newest; 1 = all alike.
    """

    dim: int = Field(default=128, ge=1, le=4096)
    epochs: int = Field(default=100, ge=1)
    learning_rate: float = Field(default=0.05, gt=0)
    reg: float = Field(default=0.01, ge=0)
    recency: float = Field(default=0.6, gt=0, le=1)


class BPR(FactorModel):
    """Learns factors in which bought products stand above the others."""

    name = "bpr"
    because = "liked by shoppers with the same taste as those of"
    Config = BPRConfig
    config: BPRConfig

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Take the gradient steps; only the items' factors are kept.

        Raises:
            ConfigError: the steps are so large that the factors grow without bound or vanish.
        """
        model = BayesianPersonalizedRanking(
            factors=self.config.dim,
            learning_rate=self.config.learning_rate,
            regularization=self.config.reg,
            iterations=self.config.epochs,
            num_threads=1,
            random_state=seed,
        )
        matrix = csr_matrix(train.matrix())
        curve: list[dict[str, float]] = []

        def note(epoch: int, _seconds: float, ordered: int, skipped: int) -> None:
            if skipped < matrix.nnz:  # else every shopper has every product, and there are no pairs
                curve.append({"epoch": epoch + 1, "auc": round(ordered / (matrix.nnz - skipped), 6)})

        try:
            model.fit(matrix, show_progress=False, callback=note)
        except ModelFitError as error:
            raise self._failed() from error
        self._keep(train, model.item_factors[:, : self.config.dim], curve)  # the last column holds b

    def query_vectors(self, queries: Queries) -> tuple[Float32, Bool]:
        """Return x of each history, [B, dim], and whether it has a known item, [B]; see `Embedding`."""
        rows = queries.matrix(len(self.items), recency=self.config.recency)
        total = rows @ self.known
        asked = total > 0
        tastes = np.zeros((len(queries), self.config.dim), dtype=np.float32)
        means = (rows[np.flatnonzero(asked)] @ self.factors) / total[asked, None]  # [asked, dim]
        tastes[asked] = on_grid(means - self.centre)
        return tastes, asked

    def contributions(self, history: Int32, item: int) -> Float32:
        """Return the share of each history item in the score; a repeated item counts at its newest place."""
        weights = age_weights(history, self.config.recency) * self.known[history]
        shares = weights / max(weights.sum(), np.finfo(np.float32).tiny)
        away = self.factors[history] - self.centre  # [len(history), dim]
        return np.asarray(shares * (away @ self.vectors[item]), dtype=np.float32)

    def _prepare(self) -> None:
        known = self.factors[self.known].astype(np.float64)
        self.centre = known.mean(axis=0).astype(np.float32)
        spread = (known - known.mean(axis=0)).T @ (known - known.mean(axis=0)) / len(known)
        ridge = np.trace(spread) / self.config.dim or 1.0  # no spread: a shop with a single product
        separated = np.linalg.solve(spread + ridge * np.eye(self.config.dim), self.factors.T.astype(np.float64))
        self.vectors = on_grid(separated.T)  # [n, dim]

    def _failed(self) -> ConfigError:
        """Return the error for steps that lead nowhere."""
        rate, reg = self.config.learning_rate, self.config.reg
        return ConfigError(
            f"bpr.learning_rate: {rate:g}: the factors grow without bound or vanish with this value and reg = {reg:g}; "
            "take both nearer to their defaults"
        )
