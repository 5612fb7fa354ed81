"""A recurrent network over the history.

Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016, with full-softmax
cross-entropy over all places (Hidasi and Czapp, RecSys 2023, on what other implementations get wrong).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from tastemaker.models.parts.sequential.sequence_model import SequenceModel
from tastemaker.models.parts.sequential.sequence_network import SequenceConfig

if TYPE_CHECKING:
    from torch import Tensor


class Recurrent(nn.Module):
    """Gated recurrent units, then a linear layer and a norm."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        self.units = nn.GRU(
            config.dim,
            config.dim,
            num_layers=config.layers,
            dropout=config.dropout if config.layers > 1 else 0.0,
            batch_first=True,
        )
        self.output = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(config.dim, config.dim))
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, states: Tensor) -> Tensor:
        """Read the histories from left to right, [b, L, d]."""
        read, _ = self.units(states)
        return self.norm(states + self.output(read))  # type: ignore[no-any-return]


class GRU4Rec(SequenceModel):
    """Forecasts the next purchase by a memory that each purchase changes."""

    name = "gru4rec"
    config: SequenceConfig

    def layers(self) -> nn.Module:
        """Return recurrent layers."""
        return Recurrent(self.config)
