"""Blocks that sequence models are made of; each works on histories filled up on the right, [b, L, d]."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Self-attention (Vaswani et al., 2017), causal unless told which places are real.

    Filling stands on the right, so with causal attention no place of a history ever looks at it.

    Args:
        dim: length of the states.
        heads: of attention.
        width: numbers of all heads together; 0 for `dim`.
    """

    def __init__(self, dim: int, heads: int, *, width: int = 0) -> None:
        super().__init__()
        self.heads = heads
        self.projection = nn.Linear(dim, 3 * (width or dim))
        self.output = nn.Linear(width or dim, dim)

    def forward(self, states: Tensor, real: Tensor | None = None) -> Tensor:
        """Mix each state with those before it; with `real`, bool [b, L], with all real ones."""
        b, length, _ = states.shape
        split = self.projection(states).view(b, length, 3, self.heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # 3 x [b, heads, L, width / heads]
        looked_at = None if real is None else real[:, None, None, :]
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=looked_at, is_causal=looked_at is None
        )
        return self.output(mixed.transpose(1, 2).reshape(b, length, -1))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Two layers on each state by itself."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.wide = nn.Linear(dim, width)
        self.narrow = nn.Linear(width, dim)

    def forward(self, states: Tensor) -> Tensor:
        """Transform each state."""
        return self.narrow(functional.gelu(self.wide(states)))  # type: ignore[no-any-return]


class Residual(nn.Module):
    """states + dropout(inner(norm(states))): a layer that starts near the identity (pre-norm; Xiong et al., 2020)."""

    def __init__(self, inner: nn.Module, dim: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.inner = inner
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, *context: Tensor) -> Tensor:
        """Add what the inner layer makes of the states, and of what else it is given."""
        return states + self.dropout(self.inner(self.norm(states), *context))  # type: ignore[no-any-return]


def transformer(dim: int, *, layers: int, heads: int, dropout: float) -> nn.Sequential:
    """Return causal transformer layers with a final norm."""
    parts: list[nn.Module] = []
    for _ in range(layers):
        parts += [Residual(Attention(dim, heads), dim, dropout), Residual(FeedForward(dim, 4 * dim), dim, dropout)]
    return nn.Sequential(*parts, nn.LayerNorm(dim))


class Bidirectional(nn.Module):
    """Transformer layers that look both ways, with a final norm."""

    def __init__(self, dim: int, *, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.ModuleList(Residual(Attention(dim, heads), dim, dropout) for _ in range(layers))
        self.feed = nn.ModuleList(Residual(FeedForward(dim, 4 * dim), dim, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        """Mix each state with all real ones; `real` is bool [b, L]."""
        for attention, feed in zip(self.attention, self.feed, strict=True):
            states = feed(attention(states, real))
        return self.norm(states)  # type: ignore[no-any-return]


def initialise(module: nn.Module, *, generator: torch.Generator, deviation: float = 0.02) -> None:
    """Draw linear layers and embeddings anew: matrices normal with this deviation, offsets 0; set norms to 1.

    Any other parameter, such as those of a GRU, stays as its module made it.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            part.weight.data.normal_(0, deviation, generator=generator)
            if isinstance(part, nn.Linear) and part.bias is not None:
                part.bias.data.zero_()
        elif isinstance(part, nn.LayerNorm):
            part.weight.data.fill_(1)
            part.bias.data.zero_()
