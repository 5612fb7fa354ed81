"""A language model that reads products as soft tokens: one vector a product, no words.

A product's token is a map of its collaborative vector and its text vector into the model's input space (CoLLM, arXiv
2310.19488; LLaRA, arXiv 2312.02445; E4SRec, arXiv 2312.02443). The input is: a few words, the history, a few words,
the candidates, each with a marker and its evidence added. All candidates stand at the same position and see words,
history and themselves, but not each other, so one pass scores them all and their order changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tastemaker.neural.candidates import FEATURES, Asked, CandidateNetwork, Tables
from tastemaker.neural.devices import Precision

if TYPE_CHECKING:
    from tastemaker.lm.trunk import Trunk


class SoftTokenRanker(CandidateNetwork):
    """Reads the state of a language model at each candidate's token.

    Args:
        trunk: the language model's layers, with two texts: before the history, and between history and candidates.
        tables: of the products.
        dropout: of the map from vectors to tokens.
        precision: of the arithmetic.
    """

    def __init__(self, trunk: Trunk, tables: Tables, *, dropout: float, precision: Precision = "auto") -> None:
        super().__init__(tables, precision=precision)
        self.before: Tensor
        self.between: Tensor
        for name, words in zip(("before", "between"), trunk.words, strict=True):
            self.register_buffer(name, words, persistent=False)
        self.language_model = trunk.network
        width = trunk.width
        self.token = nn.Sequential(
            nn.Linear(tables.vectors.shape[2] + tables.texts.shape[1], width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.LayerNorm(width),
        )
        nn.init.constant_(self.token[4].weight, trunk.spread)  # type: ignore[arg-type]  # as long as the vectors of words
        self.marker = nn.Parameter(torch.zeros(width))
        self.told = nn.Linear(FEATURES, width, bias=False)
        self.readout = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.told.weight)
        nn.init.zeros_(self.readout.weight)

    def read(self, asked: Asked, features: Tensor) -> Tensor:
        """Return the language model's opinion of each candidate, [b, m]."""
        b, m = asked.candidates.shape
        history = self.tokens(asked.history, asked.rounds)
        candidates = self.tokens(asked.candidates, asked.rounds) + self.marker + self.told(features)
        before, between = (words.to(history.dtype).expand(b, -1, -1) for words in (self.before, self.between))
        there = torch.ones(b, 1, dtype=torch.bool, device=self.device)
        real = torch.cat(
            [there.expand(-1, before.shape[1]), asked.history >= 0, there.expand(-1, between.shape[1])], 1
        )  # [b, P]: what stands before the candidates
        own = (real.cumsum(1) - 1).clamp(min=0)
        output = self.language_model(
            inputs_embeds=torch.cat([before, history, between, candidates.to(history.dtype)], 1),  # [b, P + m, width]
            attention_mask=self._mask(real, m),
            position_ids=torch.cat([own, real.sum(1, keepdim=True).expand(-1, m)], 1),
            use_cache=False,
        )
        said: Tensor = self.readout(output.last_hidden_state[:, real.shape[1] :])[..., 0]
        return said

    def tokens(self, items: Tensor, rounds: Tensor) -> Tensor:
        """Return soft tokens, [b, k, width], of items [b, k]."""
        tokens: Tensor = self.token(torch.cat([self.vectors_of(items, rounds), self.texts_of(items)], -1))
        return tokens

    def _mask(self, real: Tensor, m: int) -> Tensor:
        """Return who sees whom, [b, 1, T, T]: what stands before sees what is older, a candidate that and itself."""
        b, prefix = real.shape
        seen = torch.zeros(b, prefix + m, prefix + m, dtype=torch.bool, device=real.device)
        seen[:, :, :prefix] = real[:, None, :]
        seen[:, :prefix, :prefix] &= torch.ones(prefix, prefix, dtype=torch.bool, device=real.device).tril()
        seen |= torch.eye(prefix + m, dtype=torch.bool, device=real.device)
        if getattr(self.language_model.config, "_attn_implementation", "") == "sdpa":
            return seen[:, None]
        hidden = torch.zeros(seen.shape, device=real.device)
        return hidden.masked_fill(~seen, torch.finfo(torch.float32).min)[:, None]
