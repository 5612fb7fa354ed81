"""A decoder of short tuples that look at a history: many tuples for each history, its keys and values computed once."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tastemaker.neural.blocks import Attention, FeedForward, Residual


class CrossAttention(nn.Module):
    """Attention of decoder states to what was read, [b, S, d]."""

    def __init__(self, dim: int, heads: int, *, width: int = 0) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, width or dim)
        self.memory = nn.Linear(dim, 2 * (width or dim))
        self.output = nn.Linear(width or dim, dim)

    def forward(self, states: Tensor, memory: Tensor, visible: Tensor) -> Tensor:
        """Mix what is visible into each state.

        Args:
            states: [b, w, l, d].
            memory: [b, S, d].
            visible: bool [b, w, S], or [b, 1, S] where all tuples of a history see the same.
        """
        b, w, length, _ = states.shape
        query = (
            self.query(states).view(b, w * length, self.heads, -1).transpose(1, 2)
        )  # [b, heads, w * l, width / heads]
        split = self.memory(memory).view(b, memory.shape[1], 2, self.heads, -1)
        key, value = split.permute(2, 0, 3, 1, 4)  # 2 x [b, heads, S, width / heads]
        mask = visible if visible.shape[1] == 1 else visible.repeat_interleave(length, dim=1)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None])
        return self.output(mixed.transpose(1, 2).reshape(b, w, length, -1))  # type: ignore[no-any-return]


class TupleAttention(nn.Module):
    """Causal self-attention within each tuple, [b, w, l, d]."""

    def __init__(self, dim: int, heads: int, *, width: int = 0) -> None:
        super().__init__()
        self.attention = Attention(dim, heads, width=width)

    def forward(self, states: Tensor) -> Tensor:
        """Mix each state with those before it in its tuple."""
        return self.attention(states.flatten(0, 1)).view(states.shape)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Layers of self-attention, cross-attention and two layers on each state, with a final norm."""

    def __init__(self, dim: int, *, layers: int, heads: int, width: int, feed: int, dropout: float) -> None:
        super().__init__()
        self.own = nn.ModuleList(Residual(TupleAttention(dim, heads, width=width), dim, dropout) for _ in range(layers))
        self.cross = nn.ModuleList(
            Residual(CrossAttention(dim, heads, width=width), dim, dropout) for _ in range(layers)
        )
        self.feed = nn.ModuleList(Residual(FeedForward(dim, feed), dim, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, states: Tensor, memory: Tensor, visible: Tensor) -> Tensor:
        """Return the states, [b, w, l, d], after looking at [b, S, d] where `visible`, bool [b, w or 1, S]."""
        for own, cross, feed in zip(self.own, self.cross, self.feed, strict=True):
            states = feed(cross(own(states), memory, visible))
        return self.norm(states)  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """Causal layers over what was read, [b, S, d], with a final norm."""

    def __init__(self, dim: int, *, layers: int, heads: int, width: int, feed: int, dropout: float) -> None:
        super().__init__()
        self.own = nn.ModuleList(Residual(Attention(dim, heads, width=width), dim, dropout) for _ in range(layers))
        self.feed = nn.ModuleList(Residual(FeedForward(dim, feed), dim, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, states: Tensor) -> Tensor:
        """Mix each state with those before it."""
        for own, feed in zip(self.own, self.feed, strict=True):
            states = feed(own(states))
        return self.norm(states)  # type: ignore[no-any-return]


def sees_until(places: int, each: int, *, device: torch.device) -> Tensor:
    """Return which of `places` * `each` tokens the t-th tuple sees: those of the items up to t, bool [places, S]."""
    item = torch.arange(places * each, device=device) // each
    return item <= torch.arange(places, device=device)[:, None]
