"""Self-attention over the history, each place forecasting the next item.

Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, with full-softmax cross-entropy in place of
one sampled negative (Klenitskiy and Vasilev, RecSys 2023), layers that normalise first, and item vectors that start
at factorised co-occurrence counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tastemaker.models.parts.sequential.sequence_model import SequenceModel
from tastemaker.models.parts.sequential.sequence_network import AttentiveConfig
from tastemaker.neural.blocks import transformer

if TYPE_CHECKING:
    from torch import nn


class SASRec(SequenceModel):
    """Forecasts the next purchase by attending to those before it."""

    name = "sasrec"
    Config = AttentiveConfig
    config: AttentiveConfig

    def layers(self) -> nn.Module:
        """Return causal transformer layers."""
        config = self.config
        return transformer(config.dim, layers=config.layers, heads=config.heads, dropout=config.dropout)
