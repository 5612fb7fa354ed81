"""Textual identifiers: the few words of a title that tell most, general words first.

The idea of IDGenRec (Tan et al., SIGIR 2024, arXiv 2403.19021): identifiers that a language model could read. There
they are written by a model that is trained on interactions; here they are made from the texts of products alone, so no
purchase, held out or not, can leak into them.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import combinations, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker.characters import letter_run
from tastemaker.configurable import array_text, text_array

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from tastemaker.types import Int32

_WORD = re.compile(letter_run(2))
END = 0
"""The code that fills up a short identifier."""
SPARE = 4
"""Further words of a title, beyond the best, that alternatives are made of."""


class Words:
    """From titles to the codes of words, int32 [n, levels]; all levels have one vocabulary, in which 0 is the end.

    Attributes:
        vocabulary: the words of the codes 1, 2, ..., the most frequent first.
        sizes: number of codes of each level.
    """

    kind = "words"

    def __init__(self, vocabulary: Sequence[str], levels: int, size: int) -> None:
        self.vocabulary = tuple(vocabulary)
        self.sizes = (size,) * levels
        self._code = {word: code for code, word in enumerate(self.vocabulary, start=1)}

    @classmethod
    def fit(cls, titles: Sequence[str], *, levels: int, codes: int) -> Words:
        """Take the `codes` - 1 words that most titles have; a word of one title alone only if there is room."""
        counts = Counter(word for title in titles for word in set(_words(title)))
        known = sorted(counts, key=lambda word: (-counts[word], word))[: codes - 1]
        return cls(known, levels, codes)

    def encode(self, titles: Sequence[str]) -> Int32:
        """Return the words of each title that fewest titles share, of those the most frequent first."""
        return np.array([next(self._choices(title)) for title in titles], dtype=np.int32).reshape(-1, len(self.sizes))

    def nearest(self, titles: Sequence[str], width: int) -> list[Int32]:
        """Return up to `width` choices of words for each title, the best first, [w, levels]."""
        return [np.array(list(islice(self._choices(title), width)), dtype=np.int32) for title in titles]

    def read(self, codes: Int32) -> list[str]:
        """Return identifiers in words."""
        return [" ".join(self.vocabulary[code - 1] for code in row if code != END) for row in codes.tolist()]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the vocabulary."""
        return {"vocabulary": text_array("\n".join(self.vocabulary)), "sizes": np.array(self.sizes)}

    @classmethod
    def restored(cls, arrays: dict[str, NDArray[Any]]) -> Words:
        """Take the vocabulary."""
        words = array_text(arrays["vocabulary"])
        return cls(words.split("\n") if words else [], len(arrays["sizes"]), int(arrays["sizes"][0]))

    def _choices(self, title: str) -> Iterator[list[int]]:
        levels = len(self.sizes)
        known = sorted({self._code[word] for word in _words(title) if word in self._code})
        best = known[::-1][: levels + SPARE]  # rarest first
        for size in range(min(levels, len(best)), -1, -1):
            for chosen in combinations(best, size):
                yield sorted(chosen) + [END] * (levels - size)


def _words(title: str) -> list[str]:
    return _WORD.findall(title.casefold())
