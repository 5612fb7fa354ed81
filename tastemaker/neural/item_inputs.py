"""The table of item vectors that a network reads and predicts: learnt for each item, made from texts, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from tastemaker.types import Float32


class ItemInputs(nn.Module):
    """One vector an item, [n, d].

    With "both", an item's vector is its own plus what an adapter makes of its text. In training its own part is left
    out at random (ID dropout; Volkovs et al., DropoutNet, NIPS 2017), so that the text alone has to do, as it must for
    a product that nobody has bought.

    Args:
        n_items: size of the catalogue.
        dim: length of a vector.
        texts: text vectors, [n, t], or None for items known by id alone.
        own: whether items have vectors of their own.
        own_dropout: share of items whose own vector is left out of a training step, where there are texts.
    """

    def __init__(self, n_items: int, dim: int, *, texts: Float32 | None, own: bool, own_dropout: float = 0.0) -> None:
        super().__init__()
        self.own = nn.Embedding(n_items, dim) if own else None
        self.own_dropout = own_dropout if own and texts is not None else 0.0
        if texts is not None:
            self.register_buffer("texts", torch.from_numpy(texts), persistent=False)
            self.adapter: nn.Module | None = nn.Linear(texts.shape[1], dim)
        else:
            self.adapter = None

    def forward(self) -> Tensor:
        """Return the vectors of all items, [n, d]."""
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
