"""What models of neighbours share: settings, and predicted ratings."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from tastemaker import configurable
from tastemaker.recommender import SparseRecommender

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.types import Bool, Float32, Int32


class NeighbourConfig(configurable.Config):
    """Settings of every model of neighbours.

    Attributes:
        neighbours: K, most similar ones that are kept.
        recency: weight of a history item for each step back from the newest; 1 = the published form.
        feedback: "implicit" looks at who bought, "ratings" at the values; only the latter predicts ratings.
        alpha: weight of the log against the texts; 1 = no texts, and no encoder is needed.
        half_life_days: days after which an interaction counts half; needs timestamps. None = all count alike.
    """

    neighbours: int = Field(default=100, ge=1)
    recency: float = Field(default=0.6, gt=0, le=1)
    feedback: Literal["implicit", "ratings"] = "implicit"
    alpha: float = Field(default=1.0, ge=0, le=1)
    half_life_days: float | None = Field(default=None, gt=0)


class NeighbourModel(SparseRecommender):
    """A model whose neighbours rank, and predict ratings where it is fitted on them."""

    takes = ("encoder",)
    Config = NeighbourConfig
    config: NeighbourConfig

    def predict(self, users: Int32, items: Int32) -> Float32:
        """Return predicted ratings, [n], within the range of the training ratings.

        Raises:
            ConfigError: the model was fitted on implicit feedback.
        """
        predictions, _ = self.predict_over(users, items, (self.config.neighbours,))
        return np.asarray(predictions[0], dtype=np.float32)

    @abstractmethod
    def predict_over(self, users: Int32, items: Int32, ks: Sequence[int]) -> tuple[Float32, Bool]:
        """Return the predictions of `predict` for several K, [len(ks), n], and whether each comes from neighbours.

        Raises:
            ConfigError: the model was fitted on implicit feedback.
        """
