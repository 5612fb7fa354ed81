r"""The codes of the next product, written one after the other by an encoder-decoder.

Rajput et al., "Recommender Systems with Generative Retrieval" (TIGER), NeurIPS 2023, arXiv 2305.05065. A product is a
short tuple of codes, in which like products share beginnings; one more code tells apart products with equal ones. An
encoder reads the codes of the history, a decoder gives $p(c_l \mid c_1 .. c_{l-1}, \text{history})$, trained by
cross-entropy; a beam search finds the most likely tuples. Here it walks the trie of the catalogue, so what it finds is
a product by construction, and with `beams` of at least the size of the catalogue the list is exact. Candidates that are
given are scored exactly, each by its own codes. Scores are log-probabilities.

The paper's sizes are dim = 128, layers = 4 each, heads = 6 of 64 numbers, feed = 1024; the defaults here are small
enough for a CPU. Differences: codes come from k-means on residuals instead of an RQ-VAE, and of texts and purchases of
the training part side by side (`source`); the encoder is causal, so that one pass over a history trains on every next
item of it, where the paper's looks both ways and needs a pass for each; places count from the newest item by learnt
vectors; layers normalise first; code vectors begin at co-occurrence. With `reads = "items"` the encoder sees one vector
an item, the sum of its codes' vectors, which is levels times shorter than the paper's "codes".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from tastemaker.data.ranking import Ranking, sort_lists
from tastemaker.models.parts.generative.code_model import CodeModel, CodeModelConfig, seen_of, shifted
from tastemaker.neural import devices
from tastemaker.neural.batches import Batch, batch_of, by_length
from tastemaker.neural.code_decoder import Decoder, Encoder, sees_until
from tastemaker.neural.indexing import beam
from tastemaker.neural.indexing.trie import CodeTrie
from tastemaker.neural.training.judging import JUDGED_AT
from tastemaker.recommender import check_queries

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.queries import Queries
    from tastemaker.neural.indexing.semantic_ids import SemanticIds
    from tastemaker.neural.training.judging import Scores
    from tastemaker.progress import Progress
    from tastemaker.types import Float32

DECODED = {"cpu": 4096, "cuda": 65_536}
"""Tuples that are decoded at once, by kind of device."""
PROBED, PROBED_AT = 256, 10
"""Histories, and tuples of each, whose validity is measured without the trie."""


class TIGERConfig(CodeModelConfig):
    """Settings of `tiger`, beyond those of every model over identifiers.

    Attributes:
        layers: of the encoder, and as many of the decoder.
        head_dim: numbers of an attention head; 0 for dim / heads.
        feed: width of the layers on each state; 0 for 4 * dim.
        reads: the encoder sees the "codes" of each item, or one vector for each of the "items".
        beams: tuples that are kept at each level, or as many as are asked for.
        smoothing: share of each code's probability that is the catalogue's, each product counting the same: without it
            a product that nobody has bought stands behind all others.
        user_tokens: different vectors for shoppers, by number, the same for all unknown ones; 0 for none.
        judged: validation questions, drawn at random, that may end training; each takes a beam search.
    """

    dim: int = Field(default=64, ge=1)
    heads: int = Field(default=4, ge=1)
    head_dim: int = Field(default=0, ge=0)
    feed: int = Field(default=0, ge=0)
    max_length: int = Field(default=20, ge=1)
    reads: Literal["codes", "items"] = "items"
    beams: int = Field(default=30, ge=1)
    smoothing: float = Field(default=0.02, ge=0, le=1)
    user_tokens: int = Field(default=0, ge=0)
    learning_rate: float = Field(default=2e-3, gt=0)
    judged: int = Field(default=2_000, ge=1)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.collisions == "allow":
            raise ValueError(
                'collisions = "allow": a trie tells products apart by their codes; use "suffix" or "nearest"'
            )
        return self


class CodeWriter(nn.Module):
    """Code vectors, an encoder over histories, and a decoder of codes."""

    numbers: Tensor

    def __init__(self, config: TIGERConfig, ids: SemanticIds) -> None:
        super().__init__()
        self.config, self.starts, self.sizes = config, ids.offsets.tolist(), ids.sizes
        dim, each = config.dim, ids.levels
        width = config.heads * (config.head_dim or max(1, dim // config.heads))
        sizes = {"layers": config.layers, "heads": config.heads, "width": width, "feed": config.feed or 4 * dim}
        self.tokens = nn.Embedding(ids.vocabulary, dim)
        self.places = nn.Embedding(config.max_length, dim)
        self.read_levels = nn.Embedding(each, dim)
        self.written_levels = nn.Embedding(each, dim)  # that of the first level is the beginning of a tuple
        self.users = nn.Embedding(config.user_tokens + 1, dim) if config.user_tokens else None
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = Encoder(dim, dropout=config.dropout, **sizes)
        self.decoder = Decoder(dim, dropout=config.dropout, **sizes)
        self.register_buffer("numbers", torch.zeros(0, each, dtype=torch.int64), persistent=False)

    def read(self, ids: SemanticIds) -> None:
        """Take the identifiers of the catalogue."""
        self.numbers = torch.from_numpy(ids.codes + ids.offsets).to(self.tokens.weight.device)

    @property
    def each(self) -> int:
        """Tokens of the encoder for one item."""
        return len(self.sizes) if self.config.reads == "codes" else 1

    def encode(self, batch: Batch) -> Tensor:
        """Return what was read of histories, [b, S, d] with S = L * `each`."""
        codes = self.tokens(self.numbers[batch.items]) + self.read_levels.weight  # [b, L, levels, d]
        places = self.places(batch.ages)[:, :, None, :]
        if self.users is not None:
            places = places + self.users(self._user_tokens(batch))[:, None, None, :]
        embedded = codes + places if self.each > 1 else codes.sum(dim=2, keepdim=True) + places
        return self.encoder(self.dropout(embedded.flatten(1, 2)))  # type: ignore[no-any-return]

    def states(self, prefixes: Tensor, memory: Tensor, visible: Tensor) -> Tensor:
        """Return the states that forecast each code after the given ones, [b, w, l + 1, d].

        Args:
            prefixes: the first l codes of w tuples for each history, int64 [b, w, l].
            memory: [b, S, d].
            visible: bool [b, w or 1, S].
        """
        length = prefixes.shape[2]
        starts = torch.tensor(self.starts[:length], dtype=torch.int64, device=prefixes.device)
        written = functional.pad(self.tokens(prefixes + starts), (0, 0, 1, 0))
        return self.decoder(  # type: ignore[no-any-return]
            self.dropout(written + self.written_levels.weight[: length + 1]), memory, visible
        )

    def logits(self, states: Tensor, level: int) -> Tensor:
        """Return the logits of the codes of a level, [..., size]."""
        start = self.starts[level]
        return states @ self.tokens.weight[start : start + self.sizes[level]].t()

    def _user_tokens(self, batch: Batch) -> Tensor:
        tokens = self.users.num_embeddings - 1 if self.users is not None else 1
        if batch.shoppers is None:
            return torch.zeros(len(batch.items), dtype=torch.int64, device=batch.items.device)
        found = torch.where(batch.shoppers < 0, 0, batch.shoppers % tokens + 1)
        if self.training:  # so that the vector of unknown shoppers is learnt too
            found = found * (torch.rand(len(found), device=found.device) >= UNKNOWN)
        return found


UNKNOWN = 0.2
"""Share of shoppers that are taken for unknown in a training step."""


class TIGER(CodeModel):
    """Writes the codes of the next product."""

    name = "tiger"
    Config = TIGERConfig
    config: TIGERConfig
    _network: CodeWriter
    _trie: CodeTrie

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Make identifiers, train, and measure how often decoding without the trie leaves the catalogue."""
        super().learn(train, seed=seed, progress=progress)
        self._course["invalid_rate"] = self._invalid_rate(train, seed=seed)

    def score(self, queries: Queries) -> Float32:
        """Return the log-probabilities of the products that a beam of `beams` finds, [B, n]; -inf for all others.

        `rank` does not go by these: its beam is as wide as its lists need.
        """
        scores = np.full((len(queries), len(self.items)), -np.inf, dtype=np.float32)
        with torch.inference_mode():
            for rows in self._groups(queries, self.config.beams):
                found, values = (part.cpu().numpy() for part in self._search(queries, rows, self.config.beams))
                line, place = np.nonzero(found >= 0)
                scores[rows[line], found[line, place]] = values[line, place]
        return scores

    def rank(self, queries: Queries, k: int, *, candidates: Ranking | None = None, seen: bool = False) -> Ranking:
        """Rank products by beam search, or `candidates` each by the log-probability of its codes.

        Where a history could fill the beam of `beams`, it is wider, so that k products are left.
        """
        check_queries(queries, len(self.items), k)
        items = np.full((len(queries), k), -1, dtype=np.int32)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        if candidates is None:
            by_width = beam.by_width(queries, max(self.config.beams, k), k, seen=seen)
        else:
            by_width = [(candidates.items.shape[1], np.arange(len(queries)))]
        with torch.inference_mode():
            for width, alike in by_width:
                for group in self._groups(queries.take(alike), width):
                    rows = alike[group]
                    if candidates is None:
                        found = self._listed(queries, rows, k, width=width, seen=seen)
                    else:
                        found = self._judged(queries, rows, candidates.items[rows], k, seen=seen)
                    items[rows], scores[rows] = found.items, found.scores
        return Ranking(items, scores)

    def _groups(self, queries: Queries, width: int) -> list[NDArray[np.int64]]:
        """Return rows with a history, in groups of similar length that are decoded at once."""
        width = max(1, min(width, len(self.items)))
        size = max(1, DECODED["cpu" if self._device.type == "cpu" else "cuda"] // width)
        known = np.flatnonzero(queries.lengths > 0)
        return [known[group] for group in by_length(np.minimum(queries.lengths, self.config.max_length)[known], size)]

    def _listed(self, queries: Queries, rows: NDArray[np.int64], k: int, *, width: int, seen: bool) -> Ranking:
        """Return the lists of a beam of `width`."""
        hidden = None if seen else torch.from_numpy(seen_of(queries, rows)).to(self._device)
        found, values = self._search(queries, rows, width, hidden=hidden)
        items = np.full((len(rows), k), -1, dtype=np.int32)
        scores = np.full((len(rows), k), -np.inf, dtype=np.float32)
        count = min(k, found.shape[1])
        items[:, :count], scores[:, :count] = found[:, :count].cpu().numpy(), values[:, :count].cpu().numpy()
        return Ranking(items, scores)

    def _judged(
        self, queries: Queries, rows: NDArray[np.int64], offered: NDArray[np.int32], k: int, *, seen: bool
    ) -> Ranking:
        """Return the offered products, [b, m] with -1 for none, in the order of their exact log-probabilities."""
        known = offered >= 0
        known &= self._rankable[np.maximum(offered, 0)]
        if not seen:
            known &= ~(offered[:, :, None] == seen_of(queries, rows)[:, None, :]).any(axis=2)
        numbers = torch.from_numpy(np.maximum(offered, 0).astype(np.int64)).to(self._device)
        scores = self._likelihoods(numbers, *self._memory(queries, rows)).cpu().numpy()
        return sort_lists(offered, np.where(known, scores, -np.inf).astype(np.float32), k)

    def _search(
        self, queries: Queries, rows: NDArray[np.int64], width: int, *, hidden: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        step = self._step(*self._memory(queries, rows))
        return beam.search(step, self._trie, len(rows), width, hidden=hidden, smoothing=self.config.smoothing)

    def _memory(self, queries: Queries, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return what was read of histories, [b, S, d], and which of it is real, bool [b, 1, S]."""
        batch = batch_of(queries, rows, self.config.max_length, device=str(self._device))
        return self._network.encode(batch), batch.real.repeat_interleave(self._network.each, dim=1)[:, None]

    def _step(self, memory: Tensor, visible: Tensor) -> beam.Step:
        """Return what continues prefixes, given what was read."""
        network = self._network

        def step(prefixes: Tensor) -> Tensor:
            states = network.states(prefixes, memory, visible)[:, :, -1]
            return network.logits(states, prefixes.shape[2]).log_softmax(dim=-1)

        return step

    def _likelihoods(self, items: Tensor, memory: Tensor, visible: Tensor) -> Tensor:
        """Return the log-probabilities of items, int64 [b, m], given what was read; [b, m]."""
        network = self._network
        starts = torch.tensor(network.starts, device=items.device)
        codes = network.numbers[items] - starts  # [b, m, levels]
        states = network.states(codes[:, :, :-1], memory, visible)
        total = torch.zeros(items.shape, device=items.device)
        node = torch.zeros_like(items)
        for level in range(codes.shape[2]):
            each = network.logits(states[:, :, level], level).log_softmax(dim=-1)
            own = each.gather(2, codes[:, :, level : level + 1])[:, :, 0]
            child = self._trie.step(node, codes[:, :, level], level).clamp(min=0)  # what is no product is masked later
            total = total + beam.smoothed(own, self._trie.share(node, child, level), self.config.smoothing)
            node = child
        return total

    def _loss(self, batch: Batch) -> Tensor:
        known, following = shifted(batch)
        network = self._network
        visible = sees_until(known.items.shape[1], network.each, device=known.items.device)
        real = known.real  # [b, L]
        memory = network.encode(known)
        codes = network.numbers[following] - torch.tensor(network.starts, device=real.device)  # [b, L, levels]
        states = network.states(codes[:, :, :-1], memory, visible.expand(len(real), -1, -1))[real]  # [N, levels, d]
        targets = codes[real]
        each = [
            functional.cross_entropy(network.logits(states[:, level], level), targets[:, level])
            for level in range(targets.shape[1])
        ]
        return torch.stack(each).mean()

    def _scorer(self) -> Scores:
        def score(queries: Queries, rows: NDArray[np.int64]) -> Tensor:
            scores = torch.full((len(rows), len(self.items) + 1), -torch.inf, device=self._device)
            asked = queries.take(rows)
            for width, alike in beam.by_width(asked, max(self.config.beams, JUDGED_AT), JUDGED_AT):
                for group in self._groups(asked.take(alike), width):
                    found, values = self._search(asked, alike[group], width)
                    lines = torch.from_numpy(alike[group]).to(found.device)[:, None].expand_as(found)
                    scores[lines, torch.where(found < 0, len(self.items), found)] = values
            return scores[:, :-1]

        return score

    def _make_network(self) -> CodeWriter:
        return CodeWriter(self.config, self._codes.ids)

    def _read_codes(self) -> None:
        ids = self._codes.ids
        self._network.read(ids)
        known = np.flatnonzero(self._rankable)
        self._trie = CodeTrie(ids.codes[known], ids.sizes, known).to(self._device)

    def _train(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        self._trie.to(devices.device_of(self.aids.device))  # the judge searches where the network is trained
        super()._train(train, seed=seed, progress=progress)

    def _invalid_rate(self, train: Dataset, *, seed: int) -> dict[str, Any]:
        """Decode some histories with and without the trie; return the share of tuples that are no product."""
        queries = train.queries()
        known = np.flatnonzero(queries.lengths > 0)
        drawn = np.random.default_rng(seed).permutation(known)[:PROBED]
        counts = {"with_trie": 0, "without_trie": 0}
        tuples = {"with_trie": 0, "without_trie": 0}
        with torch.inference_mode():
            for group in self._groups(queries.take(drawn), PROBED_AT):
                rows = drawn[group]
                step = self._step(*self._memory(queries, rows))
                found, _ = beam.search(step, self._trie, len(rows), PROBED_AT)
                listed = self._network.numbers[found[found >= 0]] - torch.tensor(
                    self._network.starts, device=self._device
                )
                loose = beam.free(step, self._trie.sizes, len(rows), PROBED_AT, device=self._device)
                for how, codes in (("with_trie", listed), ("without_trie", loose.flatten(0, 1))):
                    counts[how] += int((self._trie.walk(codes) < 0).sum())
                    tuples[how] += len(codes)
        rates = {how: round(counts[how] / max(1, tuples[how]), 6) for how in counts}
        return {**rates, "histories": len(drawn), "tuples": tuples["without_trie"]}
