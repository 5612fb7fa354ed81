"""A sentence encoder as a cross-encoder: history and candidate are read together, word by word.

The input of one pair is [CLS] titles of the history, newest first [SEP] title of the candidate [SEP] (Nogueira and Cho,
arXiv 1901.04085). Words of all products are numbered once; a batch of pairs is put together by indexing. Where the
history is read once (`one_way_reading`), the input is [CLS] titles [SEP], and for each candidate its title [SEP].
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from tastemaker.encoders.tuned_weights import layers_of
from tastemaker.errors import ConfigError
from tastemaker.neural import devices
from tastemaker.neural.candidates import Asked, CandidateNetwork, Tables
from tastemaker.neural.devices import Precision
from tastemaker.neural.language.kept_opinions import Kept
from tastemaker.neural.language.one_way_reading import read_one_way

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
        once: read the history once a question, not once a candidate.
        precision: of the arithmetic.
        asked_precision: of the arithmetic where lists are asked for.

    Raises:
        ConfigError: the encoder has fewer layers, or other ones than BERT's; with `once`, it is not BERT itself.
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
        once: bool = False,
        precision: Precision = "auto",
        asked_precision: Precision = "auto",
    ) -> None:
        super().__init__(tables, precision=precision)
        known = len(layers_of(model))
        count = known if layers is None else layers
        if count > known:
            raise ConfigError(f"encoder_layers = {count}: the encoder has {known} layers")
        bert: Any = copy.deepcopy(model[0].auto_model).float()
        kind = bert.config.model_type
        if once and kind != "bert":
            raise ConfigError(
                f"cross_encoder.history_once: the encoder is of the kind {kind!r}; only BERT itself will do"
            )
        bert.encoder.layer = bert.encoder.layer[:count]
        bert.requires_grad_(False)
        for layer in bert.encoder.layer[count - min(count, count if tuned is None else tuned) :]:
            layer.requires_grad_(True)
        self.bert: Any = bert
        self.once, self.asked_precision = once, asked_precision
        self._kept = Kept()
        self._half: list[Any] = []  # the encoder in bfloat16, no part of the network's state
        self.words: Tensor
        self.register_buffer("words", words.ids, persistent=False)
        self.first, self.between = words.first, words.between
        self.max_length = min(max_length, int(bert.config.max_position_embeddings))
        self.readout = nn.Linear(2 * int(bert.config.hidden_size), 1, bias=False)
        nn.init.zeros_(self.readout.weight)

    @property
    def precision_now(self) -> Precision:
        """Of the arithmetic, in training or where lists are asked for."""
        return self.precision if self.training else self.asked_precision

    def train(self, mode: bool = True) -> Self:
        """Begin, or end, a training; what was made of the weights as they were is forgotten."""
        if mode:
            self.forget()
        return super().train(mode)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:  # noqa: ANN401
        """Take trained weights back; errors as for every network of candidates."""
        self.forget()
        return super().load_state_dict(state_dict, strict, assign)

    def forget(self) -> None:
        """Forget opinions that were given, and copies of the weights."""
        self._kept.clear()
        self._half.clear()

    def read(self, asked: Asked, features: Tensor) -> Tensor:
        """Return the opinion of each pair, [b, m]; 0 for the filling."""
        if self.training or torch.is_grad_enabled():
            return self._read(asked)
        return self._kept.filled(
            asked.history, asked.candidates, lambda missing: self._read(replace(asked, candidates=missing))
        )

    def _read(self, asked: Asked) -> Tensor:
        there = asked.candidates >= 0
        rows, columns = there.nonzero(as_tuple=True)
        said = torch.zeros(there.shape, device=self.device)
        if not len(rows):
            return said
        bert = self._encoder()
        with torch.autocast(
            self.device.type, enabled=bert is self.bert and torch.is_autocast_enabled(self.device.type)
        ):
            told = self._told_once(bert, asked)[there] if self.once else self._told(bert, asked, rows, columns)
            opinion = self.readout(told.to(self.readout.weight.dtype))[:, 0]
        return said.to(opinion.dtype).index_put((rows, columns), opinion)

    def _told(self, bert: Any, asked: Asked, rows: Tensor, columns: Tensor) -> Tensor:  # noqa: ANN401  # BertModel
        """Return the states that opinions are read from, [p, 2 d]: of history and candidate, read together."""
        ids, behind = self.pairs(asked, rows, columns)
        real = ids >= 0
        states = bert(
            input_ids=ids.clamp(min=0), attention_mask=real.long(), token_type_ids=behind.long()
        ).last_hidden_state
        mine = (behind & real)[..., None].to(states.dtype)  # the candidate's words, as the history makes them
        pooled = (states * mine).sum(1) / mine.sum(1).clamp(min=1)
        return torch.cat([states[:, 0], pooled], 1)

    def _told_once(self, bert: Any, asked: Asked) -> Tensor:  # noqa: ANN401  # BertModel
        """Return the same where histories are read once, [b, m, 2 d]: the state of [SEP] stands for that of [CLS]."""
        read = read_one_way(bert, *self.parts(asked))
        return torch.cat([read.ends, read.means], 1).view(*asked.candidates.shape, -1)

    def _encoder(self) -> Any:  # noqa: ANN401  # BertModel
        """Return the encoder; where lists are asked for in bfloat16 on a processor, a copy of it in that.

        Casting the weights anew for each question, as autocast does, would take as long as the rest.
        """
        if self.training or self.device.type != "cpu" or not devices.half(self.asked_precision, self.device):
            return self.bert
        if not self._half:
            self._half.append(copy.deepcopy(self.bert).to(torch.bfloat16).eval())
        return self._half[0]

    def pairs(self, asked: Asked, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Return token ids of pairs, -1 filled on the right, int64 [p, L], and which tokens are the candidate's.

        Args:
            asked: the questions.
            rows: question of each pair.
            columns: candidate of each pair.
        """
        history = self._history_of(asked)[rows]
        candidate = self._words_of(asked.candidates[rows, columns])
        mark = torch.ones(len(rows), 1, dtype=torch.long, device=self.device)
        parts = [mark * self.first, history, mark * self.between, candidate, mark * self.between]
        own = [torch.full_like(part, number >= 3, dtype=torch.bool) for number, part in enumerate(parts)]
        ids, behind = torch.cat(parts, 1), torch.cat(own, 1)
        order = (ids < 0).to(torch.int8).argsort(dim=1, stable=True)
        longest = int((ids >= 0).sum(1).max())
        return ids.gather(1, order)[:, :longest], behind.gather(1, order)[:, :longest]

    def parts(self, asked: Asked) -> tuple[Tensor, Tensor]:
        """Return token ids of histories [b, H] and of candidates [b, m, T], -1 filled on the right, read one by one."""
        mark = torch.ones(len(asked.history), 1, dtype=torch.long, device=self.device)
        history = torch.cat([mark * self.first, self._history_of(asked), mark * -1], 1)
        words = self._words_of(asked.candidates)
        words = torch.cat([words, words.new_full((*words.shape[:2], 1), -1)], 2)
        lengths = (words >= 0).sum(2)
        words = words.scatter(2, lengths[..., None], self.between)[..., : int(lengths.max()) + 1]
        words = words.masked_fill((asked.candidates < 0)[..., None], -1)
        return history.scatter(1, (history >= 0).sum(1, keepdim=True), self.between), words

    def _history_of(self, asked: Asked) -> Tensor:
        """Return the words of histories, newest product first, as far as there is room, -1 filled, [b, at most L T]."""
        room = self.max_length - 3 - self.words.shape[1]
        return _packed(self._words_of(_reversed(asked.history)).flatten(1))[:, : max(0, room)]

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
