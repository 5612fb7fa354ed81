"""The encoder contract: strings in, unit vectors out. Encoders never see a data set."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from tastemaker.characters import replace_surrogates
from tastemaker.configurable import Configurable
from tastemaker.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from tastemaker.types import Float32, Int64

Kind = Literal["query", "document"]

TINY = 1e-6  # a shorter vector is rounding errors, and scaling it up would make an opinion of them


class Encoder(Configurable, ABC):
    """Turns texts into vectors of length 1 (or all zeros for a text without any known content).

    Attributes:
        without_effect: configuration keys that change speed or access, but not the vectors.
    """

    without_effect: ClassVar[frozenset[str]] = frozenset()

    def fit(self, texts: Sequence[str]) -> Self:
        """Learn from the catalogue's texts, where the encoder learns anything; pretrained ones return themselves.

        Only product texts come here, never interactions, so nothing held out can leak in.
        """
        return self

    @abstractmethod
    def encode(self, texts: Sequence[str], *, kind: Kind, progress: Progress = silent) -> Float32:
        """Encode texts.

        Args:
            texts: any strings, empty ones too.
            kind: "document" for products, "query" for histories and wishes; some models treat them differently.
            progress: shown over batches.

        Returns:
            float32 [len(texts), d], rows of length 1 or 0.
        """

    def fingerprint(self) -> str:
        """Return a hash of what the vectors depend on besides the configuration: learnt arrays, or weights."""
        state = hashlib.sha256()
        for name, array in sorted(self.arrays().items()):
            state.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            state.update(np.ascontiguousarray(array).tobytes())
        return state.hexdigest()

    def identity(self) -> str:
        """Return a SHA-256 that two encoders share only where they give the same vectors; key of caches."""
        settings = self.config.model_dump(mode="json", exclude=set(self.without_effect))
        facts = [self.name, settings, self.fingerprint()]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def distinct(texts: Sequence[str]) -> tuple[list[str], Int64]:
    """Return the texts that say anything, each once, and for each given text its row among them (-1 = blank).

    Lone surrogates, which no tokenizer and no server takes, become U+FFFD.
    """
    rows: dict[str, int] = {}
    places = [rows.setdefault(replace_surrogates(text), len(rows)) if text.strip() else -1 for text in texts]
    return list(rows), np.array(places, dtype=np.int64)


def spread(vectors: Float32, rows: Int64) -> Float32:
    """Undo `distinct`: return `vectors[rows]`, and zeros where a row is -1."""
    result = np.zeros((len(rows), vectors.shape[1]), dtype=np.float32)
    result[rows >= 0] = vectors[rows[rows >= 0]]
    return result


def unit_rows(vectors: Float32) -> Float32:
    """Scale every row to length 1; rows of (nearly) nothing become zeros. The array is changed and returned."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.where(norms > TINY, norms, 1)
    vectors[norms[:, 0] <= TINY] = 0
    return vectors
