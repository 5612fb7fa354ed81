"""Self-attention beside a frequency filter, which keeps the quick changes of taste that attention smooths away.

Shin et al., "An Attentive Inductive Bias for Sequential Recommendation beyond the Self-Attention", AAAI 2024: each
layer mixes alpha parts of a filter with 1 - alpha parts of attention; the filter adds to the slow part of the states
beta^2 times the quick part, beta learnt for each dimension. The paper takes the slow part from the lowest frequencies
of the whole history and trains on its last place only. Here every place is a target, so the slow part of a place is
the mean of the `window` states up to it, which looks at nothing later.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from tastemaker.models.parts.sequential.sequence_model import SequenceModel
from tastemaker.models.parts.sequential.sequence_network import AttentiveConfig
from tastemaker.neural.blocks import Attention, FeedForward, Residual


class BSARecConfig(AttentiveConfig):
    """Settings of `bsarec`, beyond those of every sequence model with attention.

    Attributes:
        alpha: weight of the filter against attention.
        window: states whose mean is the slow part.
    """

    alpha: float = Field(default=0.7, ge=0, le=1)
    window: int = Field(default=5, ge=1)


class Filter(nn.Module):
    """slow + beta^2 * (states - slow), the slow part being a moving mean."""

    def __init__(self, dim: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.beta = nn.Parameter(torch.ones(dim))

    def forward(self, states: Tensor) -> Tensor:
        """Weigh quick changes anew, [b, L, d]."""
        sums = nn.functional.pad(states, (0, 0, self.window, 0)).cumsum(1)  # [b, window + L, d]
        length = states.shape[1]
        counts = torch.arange(1, length + 1, device=states.device).clamp(max=self.window)[:, None]
        slow = (sums[:, self.window :] - sums[:, :length]) / counts
        return slow + self.beta.square() * (states - slow)


class Mixed(nn.Module):
    """alpha parts filter, 1 - alpha parts attention."""

    def __init__(self, config: BSARecConfig) -> None:
        super().__init__()
        self.alpha = config.alpha
        self.filter = Filter(config.dim, config.window)
        self.attention = Attention(config.dim, config.heads)

    def forward(self, states: Tensor) -> Tensor:
        """Mix the two views of the history."""
        mixed: Tensor = self.alpha * self.filter(states) + (1 - self.alpha) * self.attention(states)
        return mixed


class BSARec(SequenceModel):
    """Forecasts the next purchase by attention and a frequency filter."""

    name = "bsarec"
    Config = BSARecConfig
    config: BSARecConfig

    def layers(self) -> nn.Module:
        """Return layers of filter and attention, each followed by a feed-forward layer."""
        config = self.config
        parts: list[nn.Module] = []
        for _ in range(config.layers):
            parts += [
                Residual(Mixed(config), config.dim, config.dropout),
                Residual(FeedForward(config.dim, 4 * config.dim), config.dim, config.dropout),
            ]
        return nn.Sequential(*parts, nn.LayerNorm(config.dim))
