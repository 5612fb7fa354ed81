"""Identifiers of products as tokens of a text, and how likely a network that reads texts finds them as an answer.

"single" gives each product a token of its own, from which nothing can be read (independent indexing; Hua et al.,
SIGIR-AP 2023, arXiv 2305.06569). The others write a product as several codes that it shares with other products; they
are made by `neural.indexing` from the training part and decoded along a trie of the products that somebody bought.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from tastemaker import configurable
from tastemaker.models.parts.matrices import cooccurrence
from tastemaker.progress import silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.models.parts.generative.text_to_text import Task, TextToText
    from tastemaker.neural.indexing.trie import CodeTrie
    from tastemaker.types import Bool, Float32, Int32, Int64


class IdentifierConfig(configurable.Config):
    """Settings of identifiers.

    Attributes:
        indexing: "single" is one token a product; "random", "sequential" and "collaborative" are codes, see
            `neural.indexing.semantic_ids`; these need the extra "indexing".
        levels: codes of a product.
        codes: of each level.
        beams: prefixes that a search along the codes keeps, at least; it keeps twice the length of a list.
        start: vectors of identifiers begin at factorised co-occurrence counts, or at random.
    """

    indexing: Literal["single", "random", "sequential", "collaborative"] = "single"
    levels: int = Field(default=3, ge=1)
    codes: int = Field(default=128, ge=2)
    beams: int = Field(default=50, ge=1)
    start: Literal["cooccurrence", "random"] = "cooccurrence"


@dataclass(frozen=True, slots=True)
class Identifiers:
    """The identifiers of a catalogue.

    Attributes:
        codes: int32 [n, m], of each level from 0 on.
        sizes: codes of each level.
    """

    codes: Int32
    sizes: tuple[int, ...]

    @property
    def single(self) -> bool:
        """Whether an identifier is one token."""
        return len(self.sizes) == 1

    @property
    def offsets(self) -> Int64:
        """Number of each level's first token, int64 [m]."""
        return np.cumsum([0, *self.sizes[:-1]]).astype(np.int64)

    @property
    def count(self) -> int:
        """Tokens of all levels."""
        return sum(self.sizes)

    @property
    def tokens(self) -> Int32:
        """The tokens of each product, counted from 0, int32 [n, m]."""
        return (self.codes + self.offsets).astype(np.int32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return them as arrays."""
        return {"codes": self.codes, "sizes": np.array(self.sizes, dtype=np.int64)}

    @classmethod
    def restored(cls, arrays: dict[str, NDArray[Any]], n_items: int) -> Identifiers:
        """Take them back."""
        sizes = tuple(int(size) for size in arrays["sizes"])
        return cls(arrays["codes"].reshape(n_items, len(sizes)), sizes)


def made(train: Dataset, config: IdentifierConfig, *, dim: int, seed: int) -> tuple[Identifiers, Float32]:
    """Return identifiers, and where the vectors of their tokens begin, [count, dim]: zeros where nothing is known.

    Raises:
        ConfigError: there are more products than identifiers.
    """
    n, vectors = train.n_items, np.zeros((train.n_items, dim), dtype=np.float32)
    if config.start == "cooccurrence":
        vectors = cooccurrence.vectors(train.queries(), n, dim, seed=seed)
    if config.indexing == "single":
        return Identifiers(np.arange(n, dtype=np.int32)[:, None], (n,)), vectors
    from tastemaker.models.parts.generative.item_codes import (  # brings faiss, which one token does not need
        ItemCodeConfig,
        ItemCodes,
    )
    from tastemaker.neural.indexing.starts import code_means

    wanted = ItemCodeConfig(scheme=config.indexing, levels=config.levels, codes=config.codes)
    ids = ItemCodes.of(train, wanted, None, model="p5", seed=seed, progress=silent).ids
    return Identifiers(ids.codes, ids.sizes), code_means(ids, vectors)


def likelihoods(network: TextToText, task: Task, ids: Identifiers) -> Tensor:
    """Return the log-likelihood of every product whose identifier is one token, [b, n]."""
    states, begun = network.read(task), torch.zeros_like(task.tokens[:, :1])
    logits = network.write(states, task.real, begun)[:, 0] @ network.identifier_table.t()
    return logits.log_softmax(dim=1)[:, torch.from_numpy(ids.tokens[:, 0]).to(logits.device)]


def trie_of(ids: Identifiers, known: Bool) -> CodeTrie | None:
    """Return the trie of the products that may be found, bool [n]; None where an identifier is one token."""
    if ids.single:
        return None
    from tastemaker.neural.indexing.trie import CodeTrie

    items = np.flatnonzero(known)
    return CodeTrie(ids.codes[items], ids.sizes, items)


def found(network: TextToText, task: Task, ids: Identifiers, trie: CodeTrie, *, width: int) -> Tensor:
    """Return the log-likelihoods of the products that a beam finds, [b, n]; -inf for all others.

    Args:
        network: that writes.
        task: prompts.
        ids: of several codes.
        trie: of the products that may be found.
        width: prefixes that are kept at each level, and products at the last.
    """
    from tastemaker.neural.indexing.beam import search

    device = task.tokens.device
    trie = trie.to(device)
    states, b = network.read(task), len(task.tokens)

    def step(prefixes: Tensor) -> Tensor:
        w, level = prefixes.shape[1:]
        written = prefixes + torch.from_numpy(ids.offsets[:level]).to(device)
        logits = _next(network, states, task.real, written)  # [b, w, count]
        start = int(ids.offsets[level])
        return logits.view(b, w, -1).log_softmax(dim=2)[:, :, start : start + ids.sizes[level]]

    listed, values = search(step, trie, b, width)
    scores = torch.full((b, len(ids.codes)), -torch.inf, device=device)
    there = listed >= 0
    rows = torch.arange(b, device=device)[:, None].expand_as(listed)
    scores[rows[there], listed[there]] = values[there]
    return scores


def judged(network: TextToText, task: Task, ids: Identifiers, candidates: Int64) -> Tensor:
    """Return the log-likelihoods of given products, [b, c] from numbers [b, c]: each code after those before it."""
    states = network.read(task)
    tokens = torch.from_numpy(ids.tokens[candidates].astype(np.int64)).to(states.device)  # [b, c, m]
    total = torch.zeros(tokens.shape[:2], device=states.device)
    for level in range(tokens.shape[2]):
        logits = _next(network, states, task.real, tokens[:, :, :level]).view(*tokens.shape[:2], -1)
        total += logits.log_softmax(dim=2).gather(2, tokens[:, :, level : level + 1])[:, :, 0]
    return total


def _next(network: TextToText, states: Tensor, real: Tensor, written: Tensor) -> Tensor:
    """Return the logits of identifier tokens after each of w beginnings of an answer, [b * w, count].

    Args:
        network: that writes.
        states: of the prompts, [b, L, dim].
        real: which places of them are real, bool [b, L].
        written: identifier tokens counted from 0, [b, w, l].
    """
    w = written.shape[1]
    begun = torch.nn.functional.pad((written + network.first).flatten(0, 1), (1, 0))  # the start stands in front
    told = network.write(states.repeat_interleave(w, dim=0), real.repeat_interleave(w, dim=0), begun)
    return told[:, -1] @ network.identifier_table.t()
