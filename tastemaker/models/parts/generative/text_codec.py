"""Texts with product identifiers as tokens: a tokenizer of the shop's own words, and tokens that only identifiers use.

In a text an identifier is a run of private-use characters, one a token, so that prompts are written as any others are
and no product text can contain one (`characters.strip_hostile` takes them out). Words are byte-level BPE (Sennrich et
al., 2016; as in GPT-2), which can write anything; it is learnt from the training texts and saved as JSON.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from tastemaker.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tastemaker.types import Bool, Int32, Int64

PAD, END = 0, 1
"""Tokens that fill up and that end an answer."""
FIRST, LAST = 0xF0000, 0x10FFFD
"""Private-use characters, one for each identifier token."""

_IDENTIFIERS = re.compile(f"([{chr(FIRST)}-{chr(LAST)}]+)")
_CONTINUES = "Ġ"
"""How byte-level BPE writes the space before a word."""


@dataclass(frozen=True, slots=True)
class Packed:
    """N token sequences one after the other.

    Attributes:
        offsets: int64 [N + 1].
        tokens: int32, as long as all of them.
        begins: which tokens begin a word or an identifier, bool.
    """

    offsets: Int64
    tokens: Int32
    begins: Bool

    @property
    def lengths(self) -> Int64:
        """Length of each sequence, int64 [N]."""
        return np.diff(self.offsets)

    def padded(self, rows: Int64) -> tuple[Int64, Int64, Int64]:
        """Return tokens [b, L], filled up with `PAD`, words counted from the end [b, L], and lengths [b].

        A token's word is the number of words that begin behind it, so the last word is 0, however long the text.
        """
        starts, lengths = self.offsets[rows], self.lengths[rows]
        places = np.arange(int(lengths.max(initial=1)))
        real = places < lengths[:, None]
        at = np.minimum(starts[:, None] + places, max(len(self.tokens) - 1, 0))
        tokens = np.where(real, self.tokens[at] if len(self.tokens) else PAD, PAD).astype(np.int64)
        begun = (self.begins[at] & real).cumsum(axis=1) if len(self.tokens) else np.zeros_like(tokens)
        return tokens, begun[:, -1:] - begun, lengths


def identifiers(codes: Int32) -> list[str]:
    """Return how each product is written, from identifier tokens [n, m] counted from 0.

    Raises:
        ConfigError: there are more tokens than private-use characters.
    """
    if codes.max(initial=0) > LAST - FIRST:
        raise ConfigError(
            f"{codes.max() + 1:,} identifier tokens; at most {LAST - FIRST + 1:,} can be written: "
            'use an indexing of several codes a product, such as "random"'
        )
    return ["".join(chr(FIRST + code) for code in row) for row in codes.tolist()]


class TextCodec:
    """Texts to tokens and back; token numbers from `first` on are those of identifiers.

    Args:
        tokenizer: of words.
        length: tokens of an identifier.
    """

    def __init__(self, tokenizer: Tokenizer, *, length: int) -> None:
        self._tokenizer = tokenizer
        self._length = length
        self.first: int = tokenizer.get_vocab_size()
        words = [str(tokenizer.id_to_token(token)) for token in range(self.first)]
        self._begins = np.array([word.startswith(_CONTINUES) for word in words])

    @classmethod
    def learn(cls, texts: Iterable[str], *, vocabulary: int, length: int) -> TextCodec:
        """Learn a tokenizer of at most `vocabulary` tokens from the words of `texts`."""
        tokenizer = Tokenizer(BPE())
        tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
        tokenizer.decoder = ByteLevelDecoder()
        trainer = BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=["<pad>", "</s>"],
            initial_alphabet=ByteLevel.alphabet(),
            show_progress=False,
        )
        pieces = (piece for text in texts for piece in _pieces(text)[::2] if piece)
        tokenizer.train_from_iterator(pieces, trainer)
        return cls(tokenizer, length=length)

    @classmethod
    def from_json(cls, text: str, *, length: int) -> TextCodec:
        """Take back what `to_json` returned."""
        return cls(Tokenizer.from_str(text), length=length)

    def to_json(self) -> str:
        """Return the tokenizer of words."""
        return str(self._tokenizer.to_str())

    def encode(self, texts: Sequence[str], *, most: int, end: bool = False) -> Packed:
        """Turn texts into tokens.

        Args:
            texts: N of them.
            most: tokens of one; what is beyond is cut off in front, where the oldest purchases stand.
            end: whether each is followed by `END`.
        """
        split = [_pieces(text) for text in texts]
        distinct = list(dict.fromkeys(piece for parts in split for piece in parts[::2] if piece))
        encoded = self._tokenizer.encode_batch(distinct, add_special_tokens=False)
        words = {piece: np.array(found.ids, dtype=np.int32) for piece, found in zip(distinct, encoded, strict=True)}
        ending = [np.array([END], dtype=np.int32)] if end else []
        room = most - len(ending)
        rows = []
        for parts in split:
            found = [words[part] if at % 2 == 0 else self._numbers(part) for at, part in enumerate(parts) if part]
            row = np.concatenate(found) if found else np.empty(0, dtype=np.int32)
            rows.append(np.concatenate([row[-room:] if len(row) > room else row, *ending]))
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        tokens = np.concatenate(rows) if rows else np.empty(0, dtype=np.int32)
        return Packed(offsets, tokens, self._begin_words(tokens, offsets))

    def decode(self, tokens: Sequence[int], *, name: Callable[[tuple[int, ...]], str]) -> str:
        """Turn tokens up to the first `END` back into a text.

        Args:
            tokens: of one answer.
            name: how the product of an identifier, tokens counted from 0, is written; "" for one that is none.
        """
        parts: list[str] = []
        words: list[int] = []
        codes: list[int] = []
        for token in [*tokens, END]:
            if codes and (token < self.first or len(codes) == self._length):
                parts.append(name(tuple(codes)))
                codes = []
            if token >= self.first:
                if words:
                    parts.append(self._tokenizer.decode(words))
                words = []
                codes.append(token - self.first)
            elif token == END:
                break
            elif token != PAD:
                words.append(token)
        if words:
            parts.append(self._tokenizer.decode(words))
        return " ".join(" ".join(parts).split())

    def _numbers(self, run: str) -> Int32:
        """Return the tokens of a run of identifiers."""
        return np.frombuffer(run.encode("utf-32-le"), dtype="<u4").astype(np.int32) - FIRST + self.first

    def _begin_words(self, tokens: Int32, offsets: Int64) -> Bool:
        """Say which tokens begin a word: by a space, or as the first of an identifier, or as the first of the text."""
        coded = tokens >= self.first
        begins = np.where(coded, False, self._begins[np.minimum(tokens, self.first - 1)])
        changed = np.ones(len(tokens), dtype=np.bool_)
        changed[1:] = coded[1:] != coded[:-1]
        changed[offsets[:-1][np.diff(offsets) > 0]] = True
        run = np.maximum.accumulate(np.where(changed, np.arange(len(tokens)), 0))
        within = np.arange(len(tokens)) - run
        return np.asarray(begins | changed | (coded & (within % self._length == 0)))


def _pieces(text: str) -> list[str]:
    """Split a text at its identifiers: words, identifiers, words, ...; words begin with a space or are empty."""
    parts = _IDENTIFIERS.split(text)
    parts[::2] = [f" {stripped}" if (stripped := " ".join(part.split())) else "" for part in parts[::2]]
    return parts
