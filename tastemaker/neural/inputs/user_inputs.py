"""Shopper texts (profile, attributes) as features that a network adds to what the history tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tastemaker.neural.inputs.text_transforms import TextTransform

if TYPE_CHECKING:
    from tastemaker.types import Float32


class UserTexts(nn.Module):
    """One vector a shopper, [b, t] -> [b, dim], to be added to each state.

    A shopper without a text has zeros, so nothing is added. In training some shoppers are left out at random, so that
    the network also works for those without a text. After `start` all vectors are zero: a network begins as if there
    were no shopper texts, and training finds out what they are worth.

    A wish in words is no shopper text: it speaks of products, and `ItemInputs.embed` turns it into an item vector.

    Args:
        text_width: length of a text vector, t.
        dim: length of the states.
        left_out: share of shoppers without their text in a training step.
    """

    def __init__(self, text_width: int, dim: int, *, left_out: float = 0.2) -> None:
        super().__init__()
        self.left_out = left_out
        self.transform = TextTransform(text_width, "whiten")
        self.map = nn.Linear(text_width, dim)

    def fit(self, texts: Float32) -> None:
        """Take the statistics of the whitening from the texts of all shoppers, [n_users, t]; zeros are no text."""
        self.transform.fit(texts)

    def start(self) -> None:
        """Begin without an effect."""
        nn.init.zeros_(self.map.weight)
        nn.init.zeros_(self.map.bias)

    def forward(self, texts: Tensor) -> Tensor:
        """Return what to add for each shopper."""
        there = texts.any(dim=1, keepdim=True)
        if self.training and self.left_out:
            there = there & (torch.rand(len(texts), 1, device=texts.device) >= self.left_out)
        return self.map(self.transform(texts)) * there  # type: ignore[no-any-return]
