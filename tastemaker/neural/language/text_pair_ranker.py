"""A sentence encoder as a cross-encoder: history and candidate are read together, word by word.

The input of one pair is [CLS] titles of the history, newest first [SEP] title of the candidate [SEP] (Nogueira and Cho,
arXiv 1901.04085). Words of all products are numbered once; a batch of pairs is put together by indexing.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tastemaker.encoders.tuned_weights import layers_of
from tastemaker.errors import ConfigError
from tastemaker.neural.candidates import Asked, CandidateNetwork, Tables
from tastemaker.neural.devices import Precision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sentence_transformers import SentenceTransformer

TOKENIZED = 4096
"""Texts that are split into words at once."""


@dataclass(frozen=True, slots=True)
class Words:
    """Tokens of all products' texts.

    Attributes:
        ids: token ids, filled up with -1, int64 [n, T].
        first: the token before a pair, [CLS].
        between: the token between its parts and at its end, [SEP].
    """

    ids: Tensor
    first: int
    between: int

    @classmethod
    def of(cls, model: SentenceTransformer, texts: Sequence[str], *, most: int) -> Words:
        """Split texts into at most `most` tokens each.

        Raises:
            ConfigError: the encoder has no tokens that begin a text and that stand between two.
        """
        tokenizer: Any = model.tokenizer
        first, between = (getattr(tokenizer, name, None) for name in ("cls_token_id", "sep_token_id"))
        if first is None or between is None:
            raise ConfigError(
                "cross_encoder: the encoder cannot read two texts at once; take a model of the BERT family"
            )
        ids = torch.full((len(texts), most), -1)
        for start in range(0, len(texts), TOKENIZED):
            part = tokenizer(
                list(texts[start : start + TOKENIZED]),
                add_special_tokens=False,
                truncation=True,
                max_length=most,
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,
            )["input_ids"]
            for row, tokens in enumerate(part, start):
                ids[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.long)
        return cls(ids, int(first), int(between))


class PairRanker(CandidateNetwork):
    """Reads each candidate together with the history.

    Args:
        model: the sentence encoder; it stays as it is.
        words: of the products.
        tables: of the products.
        layers: first layers that are run; None for all.
        tuned: how many of the layers that are run are trained, the last ones; None for all.
        max_length: tokens of a pair; the oldest words of the history go first.
        precision: of the arithmetic.

    Raises:
        ConfigError: the encoder has fewer layers, or other ones than BERT's.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        words: Words,
        tables: Tables,
        *,
        layers: int | None,
        tuned: int | None,
        max_length: int,
        precision: Precision = "auto",
    ) -> None:
        super().__init__(tables, precision=precision)
        known = len(layers_of(model))
        count = known if layers is None else layers
        if count > known:
            raise ConfigError(f"encoder_layers = {count}: the encoder has {known} layers")
        bert: Any = copy.deepcopy(model[0].auto_model).float()
        bert.encoder.layer = bert.encoder.layer[:count]
        bert.requires_grad_(False)
        for layer in bert.encoder.layer[count - min(count, count if tuned is None else tuned) :]:
            layer.requires_grad_(True)
        self.bert: Any = bert
        self.words: Tensor
        self.register_buffer("words", words.ids, persistent=False)
        self.first, self.between = words.first, words.between
        self.max_length = min(max_length, int(bert.config.max_position_embeddings))
        self.readout = nn.Linear(2 * int(bert.config.hidden_size), 1, bias=False)
        nn.init.zeros_(self.readout.weight)

    def read(self, asked: Asked, features: Tensor) -> Tensor:
        """Return the opinion of each pair, [b, m]; 0 for the filling."""
        there = asked.candidates >= 0
        rows, columns = there.nonzero(as_tuple=True)
        said = torch.zeros(there.shape, device=self.device)
        if not len(rows):
            return said
        ids, behind = self.pairs(asked, rows, columns)
        real = ids >= 0
        states = self.bert(
            input_ids=ids.clamp(min=0), attention_mask=real.long(), token_type_ids=behind.long()
        ).last_hidden_state
        mine = (behind & real)[..., None].to(states.dtype)  # the candidate's words, as the history makes them
        pooled = (states * mine).sum(1) / mine.sum(1).clamp(min=1)
        opinion = self.readout(torch.cat([states[:, 0], pooled], 1))[:, 0]
        return said.to(opinion.dtype).index_put((rows, columns), opinion)

    def pairs(self, asked: Asked, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Return token ids of pairs, -1 filled on the right, int64 [p, L], and which tokens are the candidate's.

        Args:
            asked: the questions.
            rows: question of each pair.
            columns: candidate of each pair.
        """
        room = self.max_length - 3 - self.words.shape[1]
        history = self._words_of(_reversed(asked.history)).flatten(1)  # newest first
        history = _packed(history)[:, : max(0, room)][rows]
        candidate = self._words_of(asked.candidates[rows, columns])
        mark = torch.ones(len(rows), 1, dtype=torch.long, device=self.device)
        parts = [mark * self.first, history, mark * self.between, candidate, mark * self.between]
        own = [torch.full_like(part, number >= 3, dtype=torch.bool) for number, part in enumerate(parts)]
        ids, behind = torch.cat(parts, 1), torch.cat(own, 1)
        order = (ids < 0).to(torch.int8).argsort(dim=1, stable=True)
        longest = int((ids >= 0).sum(1).max())
        return ids.gather(1, order)[:, :longest], behind.gather(1, order)[:, :longest]

    def _words_of(self, items: Tensor) -> Tensor:
        found: Tensor = self.words[items.clamp(min=0)]
        return found.masked_fill((items < 0)[..., None], -1)


def _reversed(history: Tensor) -> Tensor:
    """Return histories newest first; the filling stands anywhere."""
    return history.flip(1)


def _packed(ids: Tensor) -> Tensor:
    """Move what is not -1 to the left, in order, and cut what nobody needs."""
    order = (ids < 0).to(torch.int8).argsort(dim=1, stable=True)
    longest = int((ids >= 0).sum(1).max()) if ids.numel() else 0
    return ids.gather(1, order)[:, :longest]
