r"""Attention without softmax, gated: the layer of generative recommenders.

Zhai et al., "Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for Generative
Recommendations", ICML 2024: with $[u, v, q, k] = \mathrm{SiLU}(W x)$, a layer gives
$x + W' (\mathrm{norm}(\mathrm{SiLU}(q k^T + r) v / n) \odot u)$, r a learnt number for each distance between two
places and n the number of places so far. Deviations: affinities $q k^T$ are divided by $\sqrt{d_h}$, d_h the width of
a head; times between purchases, which the paper also uses, are left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tastemaker.models.parts.sequential.sequence_model import SequenceModel
from tastemaker.models.parts.sequential.sequence_network import AttentiveConfig
from tastemaker.neural.blocks import Residual


class PointwiseAttention(nn.Module):
    """Sums values by SiLU of the affinities, so that how often a taste shows is not normalised away."""

    def __init__(self, config: AttentiveConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.projection = nn.Linear(config.dim, 4 * config.dim)
        self.by_distance = nn.Embedding(config.max_length, config.heads)
        self.norm = nn.LayerNorm(config.dim)
        self.output = nn.Linear(config.dim, config.dim)

    def forward(self, states: Tensor) -> Tensor:
        """Mix each state with those before it, [b, L, d]."""
        b, length, dim = states.shape
        gate, value, query, key = nn.functional.silu(self.projection(states)).chunk(4, dim=-1)
        value, query, key = (
            part.view(b, length, self.heads, dim // self.heads).transpose(1, 2) for part in (value, query, key)
        )
        places = torch.arange(length, device=states.device)
        distance = places[:, None] - places  # [L, L]
        bias = self.by_distance(distance.clamp(min=0)).permute(2, 0, 1)  # [heads, L, L]
        affinity = nn.functional.silu(query @ key.transpose(2, 3) / (dim // self.heads) ** 0.5 + bias)
        affinity = affinity.masked_fill(distance < 0, 0.0) / (places[:, None] + 1)
        mixed = (affinity @ value).transpose(1, 2).reshape(b, length, dim)
        return self.output(self.norm(mixed) * gate)  # type: ignore[no-any-return]


class HSTU(SequenceModel):
    """Forecasts the next purchase by pointwise, gated attention."""

    name = "hstu"
    Config = AttentiveConfig
    config: AttentiveConfig

    def layers(self) -> nn.Module:
        """Return gated attention layers; the gate takes the place of a feed-forward layer."""
        config = self.config
        parts = [Residual(PointwiseAttention(config), config.dim, config.dropout) for _ in range(config.layers)]
        return nn.Sequential(*parts, nn.LayerNorm(config.dim))
