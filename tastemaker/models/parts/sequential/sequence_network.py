"""The network of sequence models and its settings: what is read of a history before a model's own layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from tastemaker.neural import losses, objectives
from tastemaker.neural.batches import HIDDEN
from tastemaker.neural.inputs.item_inputs import ItemInputConfig
from tastemaker.neural.inputs.user_inputs import UserTexts
from tastemaker.neural.training import loop

if TYPE_CHECKING:
    from tastemaker.neural.batches import Batch
    from tastemaker.neural.inputs.item_inputs import ItemInputs
    from tastemaker.types import Float32


class SequenceConfig(ItemInputConfig, losses.LossConfig, objectives.PretrainingConfig, loop.TrainingConfig):
    """Settings of every sequence model, beyond those of its item vectors, its loss, its pre-training and its training.

    Attributes:
        layers: of the network.
        dropout: of embedded histories and inside the network.
        max_length: newest purchases that are read; training reads a longer history in windows of so many.
        start: item vectors begin at factorised co-occurrence counts, or at random.
        shopper_texts: what the shop's table of users says of a shopper (age, region, ...) is read too, in words.
        wish_weight: of a wish in words against the history, where item texts are read.
    """

    layers: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    max_length: int = Field(default=50, ge=1)
    start: Literal["cooccurrence", "random"] = "cooccurrence"
    shopper_texts: bool = False
    wish_weight: float = Field(default=0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _something_to_cut(self) -> Self:
        if self.pretrain and self.max_length < 2:
            raise ValueError("pretrain cuts histories; max_length must be at least 2")
        return self


class AttentiveConfig(SequenceConfig):
    """Settings of a sequence model with attention, beyond those of every sequence model.

    Attributes:
        heads: of attention; must divide `dim`.
    """

    heads: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"heads = {self.heads} does not divide dim = {self.dim}")
        return self


class SequenceNetwork(nn.Module):
    """Item table, places counted from the newest item, perhaps shopper texts, and layers.

    Args:
        inputs: the item table.
        layers: from embedded histories [b, L, d] to states [b, L, d].
        config: settings.
        shopper_width: length of the vectors of shopper texts, 0 for none.
    """

    shopper_texts: Tensor

    def __init__(
        self, inputs: ItemInputs, layers: nn.Module, config: SequenceConfig, *, shopper_width: int = 0
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.layers = layers
        self.places = nn.Embedding(config.max_length, config.dim)
        self.dropout = nn.Dropout(config.dropout)
        self.shoppers = UserTexts(shopper_width, config.dim) if shopper_width else None
        self.register_buffer("shopper_texts", torch.zeros(1, shopper_width), persistent=False)

    def read_shoppers(self, texts: Float32) -> None:
        """Take the vectors of all shoppers' texts, [n_users, t]; of any other number, -1 too, nothing is known."""
        unknown = np.zeros((1, texts.shape[1]), dtype=np.float32)
        self.shopper_texts = torch.from_numpy(np.concatenate([texts, unknown]))

    def forward(self, table: Tensor, batch: Batch) -> Tensor:
        """Return the forecast at each place of each history, [b, L, d]; hidden items have the vector `blank`."""
        known = nn.functional.embedding(batch.items.clamp(min=0), table)
        if self.shoppers is not None:  # only then a history may be empty
            known = torch.where((batch.items == HIDDEN)[:, :, None], self.blank, known)
        return self.states(known, batch)

    @property
    def blank(self) -> Tensor:
        """What stands for an item that is not known, [d]."""
        return torch.zeros(self.places.embedding_dim, device=self.places.weight.device)

    def told(self, shoppers: Tensor) -> Tensor:
        """Return of which shoppers, int64 [b], a text says something, bool [b]."""
        there = (shoppers >= 0) & (shoppers < len(self.shopper_texts) - 1)
        return self.shopper_texts[shoppers.masked_fill(~there, -1)].any(dim=1)

    def states(self, known: Tensor, batch: Batch) -> Tensor:
        """Return what the layers make of embedded histories, [b, L, d], their places and their shoppers."""
        embedded = known + self.places(batch.ages)
        if self.shoppers is not None and batch.shoppers is not None:
            there = batch.shoppers < len(self.shopper_texts) - 1
            texts = self.shopper_texts[batch.shoppers.masked_fill(~there, -1)]
            embedded = embedded + self.shoppers(texts)[:, None, :]
        found: Tensor = self.layers(self.dropout(embedded), *self.hints(batch))
        return found

    def hints(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return what the layers want beside embedded histories."""
        return ()
