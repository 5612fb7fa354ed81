r"""All codes of the next product at once: long product-quantised identifiers, one softmax for each code.

Hou et al., "Generating Long Semantic IDs in Parallel for Recommendation" (RPG), KDD 2025, arXiv 2506.05781. An item has
m codes, each from a codebook of its own, and is read as the mean of its code vectors. A causal transformer turns the
history into a state h; head j forecasts code j by $p_j(c) = \mathrm{softmax}_c(\cos(W_j(h), e_{j,c}) / \tau)$ with
$W_j(h) = h + \mathrm{silu}(A_j h + b_j)$, and is trained by cross-entropy, the mean over the m codes. An item's score
is $\sum_j \log p_j(c_j)$.

Differences. The paper searches a graph of similar items; here every item is scored, which is a gather and a sum:
exact, and fast up to some 100,000 items. Codes come from texts and purchases of the training part side by side
(`source = "both"`), where the paper reads texts alone, and code vectors begin at co-occurrence. Codes are also trained
together: a share `item_loss` of the loss is the cross-entropy of the item's score among drawn items, without which
(`item_loss = 0`, the paper's loss) learning takes many times as many epochs. With `own = true` an item is read as the
mean of its codes plus a vector of its own, which a product that nobody has bought lacks; forecasts are codes all the
same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from tastemaker.data.ranking import Ranking, top_k
from tastemaker.models.parts.generative.code_model import CodeModel, CodeModelConfig, shifted
from tastemaker.neural.batches import batch_of, by_length
from tastemaker.neural.blocks import transformer
from tastemaker.neural.indexing.collisions import Policy
from tastemaker.neural.indexing.semantic_ids import Scheme
from tastemaker.neural.losses import drawn_softmax, full_softmax
from tastemaker.neural.training.judging import ASKED
from tastemaker.recommender import check_queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tastemaker.data.queries import Queries
    from tastemaker.neural.batches import Batch
    from tastemaker.neural.indexing.semantic_ids import SemanticIds
    from tastemaker.neural.training.judging import Scores
    from tastemaker.types import Float32

SCORED_BYTES = 64 * 2**20
"""Size of a block of scores that is made at once."""


class RPGConfig(CodeModelConfig):
    """Settings of `rpg`, beyond those of every model over identifiers.

    Attributes:
        scheme: of the identifiers; codes that do not depend on each other are what this model is made for.
        levels: codes of an identifier.
        collisions: items with equal codes have equal scores ("allow"), or are told apart.
        temperature: of each code's softmax (the paper: 0.03).
        item_loss: weight of the cross-entropy of items, between 0 (the paper) and 1 (items only).
        negatives: items drawn for a step, and shared by all its places, for the cross-entropy of items.
        own: an item is read with a vector of its own too.
        own_dropout: share of items whose own vector is left out of a training step.
    """

    scheme: Scheme = "product"
    levels: int = Field(default=16, ge=1)
    collisions: Policy = "allow"
    temperature: float = Field(default=0.03, gt=0)
    item_loss: float = Field(default=0.8, ge=0, le=1)
    negatives: int = Field(default=1024, ge=1)
    own: bool = False
    own_dropout: float = Field(default=0.3, ge=0, lt=1)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    learning_rate: float = Field(default=2e-3, gt=0)

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"heads = {self.heads} does not divide dim = {self.dim}")
        return self


class ParallelCodes(nn.Module):
    """Code vectors, a causal transformer over items, and one head for each code."""

    numbers: Tensor
    bought: Tensor

    def __init__(self, config: RPGConfig, ids: SemanticIds) -> None:
        super().__init__()
        self.config, self.starts, self.sizes = config, ids.offsets.tolist(), ids.sizes
        self.tokens = nn.Embedding(ids.vocabulary, config.dim)
        self.places = nn.Embedding(config.max_length, config.dim)
        self.own = nn.Embedding(len(ids), config.dim) if config.own else None
        self.dropout = nn.Dropout(config.dropout)
        self.layers = transformer(config.dim, layers=config.layers, heads=config.heads, dropout=config.dropout)
        self.heads = nn.Linear(config.dim, ids.levels * config.dim)
        self.register_buffer("numbers", torch.zeros(0, ids.levels, dtype=torch.int64), persistent=False)
        self.register_buffer("bought", torch.zeros(0, 1, dtype=torch.bool), persistent=False)

    def read(self, ids: SemanticIds, bought: NDArray[np.bool_]) -> None:
        """Take the identifiers of the catalogue, and which items have a vector of their own."""
        place = self.tokens.weight.device
        self.numbers = torch.from_numpy(ids.codes + ids.offsets).to(place)
        self.bought = torch.from_numpy(bought)[:, None].to(place)

    def renumber(self, before: NDArray[np.int64]) -> None:
        """Renumber the items' own vectors: numbers before, int64 [n], -1 for a new item, which gets zeros."""
        if self.own is None:
            return
        old = self.own.weight.detach()
        numbers = torch.from_numpy(before).to(old.device)
        moved = old[numbers.clamp(min=0)].masked_fill((numbers < 0)[:, None], 0)
        self.own = nn.Embedding(len(moved), moved.shape[1], _weight=moved)

    def items(self) -> Tensor:
        """Return the vectors as which items are read, [n, d]."""
        read = functional.embedding_bag(self.numbers, self.tokens.weight, mode="mean")
        if self.own is None:
            return read
        kept = self.bought
        if self.training and self.config.own_dropout:
            kept = kept & (torch.rand(len(kept), 1, device=kept.device) >= self.config.own_dropout)
        return read + self.own.weight * kept

    def forward(self, table: Tensor, batch: Batch) -> Tensor:
        """Return the state at each place of each history, [b, L, d]."""
        embedded = functional.embedding(batch.items, table) + self.places(batch.ages)
        return self.layers(self.dropout(embedded))  # type: ignore[no-any-return]

    def forecasts(self, states: Tensor) -> Tensor:
        """Return where each head points, of length 1 / temperature, [N, m, d] from states [N, d]."""
        turned = functional.silu(self.heads(states)).view(len(states), -1, states.shape[1])
        return functional.normalize(states[:, None, :] + turned, dim=2) / self.config.temperature

    def codebooks(self) -> tuple[Tensor, ...]:
        """Return the unit vectors of each level's codes, m times [codes, d]."""
        return torch.split(functional.normalize(self.tokens.weight, dim=1), list(self.sizes))

    def scores(self, states: Tensor) -> Tensor:
        """Return the log-probability of each item's codes, [N, n] from states [N, d]."""
        pointed = self.forecasts(states).unbind(1)
        each = [(head @ book.t()).log_softmax(1) for head, book in zip(pointed, self.codebooks(), strict=True)]
        table = torch.cat(each, dim=1).t().contiguous()  # [vocabulary, N]
        return functional.embedding_bag(self.numbers, table, mode="sum").t()


class RPG(CodeModel):
    """Forecasts every code of the next product from the history, all at once."""

    name = "rpg"
    Config = RPGConfig
    config: RPGConfig
    _network: ParallelCodes

    def score(self, queries: Queries) -> Float32:
        """Return the log-probability of each item's codes, [B, n]; -inf without a history or for unknown items."""
        scores = np.full((len(queries), len(self.items)), -np.inf, dtype=np.float32)
        with torch.inference_mode():
            score = self._scorer()
            for rows in self._groups(queries):
                scores[rows] = score(queries, rows).cpu().numpy()
        return scores

    def rank(self, queries: Queries, k: int, *, candidates: Ranking | None = None, seen: bool = False) -> Ranking:
        """Rank items for each query; histories of equal length are read together, which keeps batches full."""
        if candidates is not None:
            return super().rank(queries, k, candidates=candidates, seen=seen)
        check_queries(queries, len(self.items), k)
        items = np.full((len(queries), k), -1, dtype=np.int32)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        with torch.inference_mode():
            score = self._scorer()
            for rows in self._groups(queries):
                found = top_k(score(queries, rows).cpu().numpy(), k, exclude=None if seen else queries.take(rows))
                items[rows], scores[rows] = found.items, found.scores
        return Ranking(items, scores)

    def _groups(self, queries: Queries) -> list[NDArray[np.int64]]:
        """Return rows with a history, in groups of similar length whose scores fill little memory."""
        size = max(1, min(ASKED, SCORED_BYTES // (4 * max(1, len(self.items)))))
        known = np.flatnonzero(queries.lengths > 0)
        return [known[group] for group in by_length(np.minimum(queries.lengths, self.config.max_length)[known], size)]

    def _make_network(self) -> ParallelCodes:
        return ParallelCodes(self.config, self._codes.ids)

    def _start(self, vectors: Float32) -> None:
        super()._start(vectors)
        self._network.heads.weight.data.zero_()  # all heads begin by pointing where the state points

    def _renumber(self, before: NDArray[np.int64]) -> None:
        self._network.renumber(before)

    def _read_codes(self) -> None:
        self._network.read(self._codes.ids, self._bought)

    def _loss(self, batch: Batch) -> Tensor:
        network, table = self._network, self._network.items()
        known, following = shifted(batch)
        states, targets = network(table, known)[known.real], following[known.real]
        pointed, books = network.forecasts(states).unbind(1), network.codebooks()
        numbers = network.numbers[targets]
        weight, parts = self.config.item_loss, []
        if weight < 1:
            each = [
                full_softmax(head.contiguous(), book, numbers[:, j] - network.starts[j])
                for j, (head, book) in enumerate(zip(pointed, books, strict=True))
            ]
            parts.append((1 - weight) * torch.stack(each).mean())
        if weight:
            parts.append(weight * self._item_loss(pointed, books, targets))
        return torch.stack(parts).sum()

    def _item_loss(self, pointed: Sequence[Tensor], books: Sequence[Tensor], targets: Tensor) -> Tensor:
        """Return the mean cross-entropy of items against bought ones that are drawn.

        An item counts by the mean over its codes, not the sum, whose softmax would be m times as sharp.
        """
        numbers, bought = self._network.numbers, torch.from_numpy(np.flatnonzero(self._bought)).to(targets.device)
        count = min(self.config.negatives, len(bought))
        drawn = bought[torch.randperm(len(bought), device=bought.device)[:count]]
        logits = torch.cat([head @ book.t() for head, book in zip(pointed, books, strict=True)], dim=1) / len(books)
        other = functional.embedding_bag(numbers[drawn], logits.t().contiguous(), mode="sum").t()  # [N, count]
        true = logits.gather(1, numbers[targets]).sum(dim=1)
        return drawn_softmax(true, other.masked_fill(drawn == targets[:, None], -torch.inf), len(bought))

    def _scorer(self) -> Scores:
        network = self._network
        table, unknown = network.items(), torch.from_numpy(~self._rankable).to(self._device)

        def score(queries: Queries, rows: NDArray[np.int64]) -> Tensor:
            batch = batch_of(queries, rows, self.config.max_length, device=str(table.device))
            return network.scores(network(table, batch)[batch.last]).masked_fill(unknown, -torch.inf)

        return score
