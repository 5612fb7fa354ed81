"""How long and how fast a network is trained: one table of settings for every neural model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from tastemaker import configurable

Shape = Literal["constant", "linear", "cosine"]
"""How the learning rate falls from epoch to epoch."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        epochs: at most so many passes over the data.
        learning_rate: of AdamW, after the warm-up and before it falls.
        weight_decay: of AdamW, on matrices only.
        warmup: steps over which the learning rate rises from 0.
        clip: largest norm of the gradient; 0 clips nothing.
        patience: judgements without improvement before training stops; 0 never stops early. As long as every judgement
            was 0, none counts: they tell nothing.
        judge_every: epochs between two judgements.
        shape: how the learning rate falls from epoch to epoch, towards 0.
        horizon: epochs after which it would be 0; 0 means `epochs`. A second training that is given fewer epochs than
            the first keeps the first one's horizon, and so its learning rates.
    """

    epochs: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    warmup: int = 0
    clip: float = 0.0
    patience: int = 8
    judge_every: int = 1
    shape: Shape = "constant"
    horizon: int = 0

    def rate(self, epoch: float, step: int) -> float:
        """Return the learning rate of step `step` (from 1 on, over all epochs), which lies in epoch `epoch`.

        Epoch 1.5 is the middle of the first one: a rate that falls within epochs.
        """
        rising = min(1.0, step / max(1, self.warmup))
        gone = min(1.0, (epoch - 1) / (self.horizon or self.epochs))
        falling = {"constant": 1.0, "linear": 1.0 - gone, "cosine": (1.0 + math.cos(math.pi * gone)) / 2}[self.shape]
        return self.learning_rate * rising * falling


class TrainingConfig(configurable.Config):
    """Settings of the training of a network.

    Attributes:
        epochs: at most so many.
        patience: judgements without a better validation NDCG@10 before training stops; 0 never stops early.
        judge_every: epochs between two judgements.
        batch_size: rows of a training step.
        learning_rate: of AdamW.
        weight_decay: of AdamW, on matrices only.
        schedule: the learning rate stays "constant", or falls over `epochs` as "linear" or "cosine".
        warmup: steps over which the learning rate rises from 0.
        clip: largest norm of the gradient, against the rare step that throws training off; 0 clips nothing.
    """

    epochs: int = Field(default=100, ge=1)
    patience: int = Field(default=8, ge=0)
    judge_every: int = Field(default=1, ge=1)
    batch_size: int = Field(default=256, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Shape = "constant"
    warmup: int = Field(default=0, ge=0)
    clip: float = Field(default=5.0, ge=0)

    def course(self, *, judged: bool, epochs: int | None = None) -> Schedule:
        """Return the schedule of one training.

        Args:
            judged: whether validation may end it.
            epochs: how many, where an earlier training has chosen that, perhaps 0; None for as many as are set.
        """
        return Schedule(
            epochs=self.epochs if epochs is None else epochs,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            warmup=self.warmup,
            clip=self.clip,
            patience=self.patience if judged else 0,
            judge_every=self.judge_every,
            shape=self.schedule,
            horizon=self.epochs,
        )
