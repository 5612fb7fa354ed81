"""Settings of tuning a language model that can be read without torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tastemaker.lm.settings import AdapterConfig
from tastemaker.neural.training.schedules import Schedule, Shape

RATES = {"lora": 2e-4, "ia3": 3e-3, "soft_prompt": 3e-2, "full": 2e-5}
"""Method -> learning rate where none is set: few parameters want large steps."""


class TuningConfig(AdapterConfig):
    """How a language model is tuned.

    Attributes:
        epochs: passes over the pairs.
        batch_size: pairs of a step.
        at_once: pairs that go through the model together; the gradients of a step's parts are added up, so this decides
            about memory and not about the result.
        packing: put texts side by side in one long row, where they do not see each other, instead of padding those of
            similar length to equal length. Worth it where the texts of a step differ much in length.
        learning_rate: of AdamW; None takes what suits the method.
        weight_decay: of AdamW, on matrices only.
        schedule: the learning rate stays "constant", or falls step by step over all epochs as "linear" or "cosine".
        warmup: steps over which it rises from 0.
        clip: largest norm of the gradient; 0 clips nothing.
        held_out: share of the shoppers whose pairs are not trained on but judged.
        patience: judgements without a lower loss on held-out pairs before training stops; 0 never stops early. The best
            judged weights are kept either way.
        round_steps: steps between two judgements, entries of the learning curve, and checkpoints.
        max_tokens: pairs with more are left out, and counted.
        precision: of the arithmetic in training: "auto" is bfloat16 on graphics cards that have it, and float32
            elsewhere; weights and optimiser keep theirs.
    """

    epochs: int = Field(default=1, ge=1)
    batch_size: int = Field(default=32, ge=1)
    at_once: int = Field(default=8, ge=1)
    packing: bool = False
    learning_rate: float | None = Field(default=None, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Shape = "cosine"
    warmup: int = Field(default=20, ge=0)
    clip: float = Field(default=1.0, ge=0)
    held_out: float = Field(default=0.05, ge=0, lt=1)
    patience: int = Field(default=3, ge=0)
    round_steps: int = Field(default=100, ge=1)
    max_tokens: int = Field(default=2048, ge=8)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"

    def course(self) -> Schedule:
        """Return the schedule of the training."""
        return Schedule(
            epochs=self.epochs,
            learning_rate=self.learning_rate or RATES[self.method],
            weight_decay=self.weight_decay,
            warmup=self.warmup,
            clip=self.clip,
            patience=self.patience,
            judge_every=self.round_steps,
            shape=self.schedule,
        )
