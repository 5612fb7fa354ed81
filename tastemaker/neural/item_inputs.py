"""The table of item vectors that a network reads and predicts: learnt for each item, made from texts, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from tastemaker import configurable

if TYPE_CHECKING:
    from tastemaker.types import Float32


class ItemInputConfig(configurable.Config):
    """Settings of item vectors.

    Attributes:
        dim: length of item vectors and states.
        inputs: items known by "id", by "text", or by "both".
        own_dropout: share of items whose own vector is left out of a training step; only with inputs = "both".
    """

    dim: int = Field(default=64, ge=1)
    inputs: Literal["id", "text", "both"] = "id"
    own_dropout: float = Field(default=0.0, ge=0, lt=1)


class ItemInputs(nn.Module):
    """One vector an item, [n, dim].

    With "both", an item's vector is its own plus what an adapter makes of its text. In training its own part is left
    out at random (ID dropout; Volkovs et al., DropoutNet, NIPS 2017), so that the text alone has to do, as it must for
    a product that nobody has bought.

    Args:
        n_items: size of the catalogue.
        config: settings.
        texts: text vectors, [n, t]; needed unless inputs = "id".
    """

    def __init__(self, n_items: int, config: ItemInputConfig, *, texts: Float32 | None = None) -> None:
        super().__init__()
        self.own = nn.Embedding(n_items, config.dim) if config.inputs != "text" else None
        self.own_dropout = config.own_dropout if config.inputs == "both" else 0.0
        self.adapter: nn.Module | None = None
        if config.inputs != "id":
            if texts is None:
                raise ValueError(f"inputs = {config.inputs!r} needs texts")
            self.register_buffer("texts", torch.from_numpy(texts), persistent=False)
            self.adapter = nn.Linear(texts.shape[1], config.dim)

    @staticmethod
    def text_width(weights: dict[str, Float32]) -> int:
        """Return the length of the text vectors that saved weights of item inputs were made for, 0 for none."""
        return weights["adapter.weight"].shape[1] if "adapter.weight" in weights else 0

    def forward(self) -> Tensor:
        """Return the vectors of all items, [n, dim]."""
        parts = []
        if self.own is not None:
            own = self.own.weight
            if self.training and self.own_dropout:
                kept = torch.rand(len(own), 1, device=own.device) >= self.own_dropout
                own = own * kept
            parts.append(own)
        if self.adapter is not None:
            parts.append(self.adapter(self.texts))
        return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]
