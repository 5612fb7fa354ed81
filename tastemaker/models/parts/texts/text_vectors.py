"""The catalogue's texts as vectors, for models that take an encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tastemaker.errors import DataError
from tastemaker.models.parts.matrices.similarity import on_grid
from tastemaker.text.render import item_texts

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from tastemaker.data.entities import Entities
    from tastemaker.encoders.base import Encoder
    from tastemaker.progress import Progress
    from tastemaker.types import Float32


def item_vectors(items: Entities, encoder: Encoder, *, model: str, progress: Progress) -> Float32:
    """Fit `encoder` on the products' texts and return their vectors, as `encoded_items` does.

    Raises:
        DataError: no product has a text.
    """
    return encoded_items(items, encoder.fit(_texts(items, model)), model=model, progress=progress)


def encoded_items(items: Entities, encoder: Encoder, *, model: str, progress: Progress) -> Float32:
    """Return the vectors of the products' texts, [n, d], by an encoder as it is; a product without text gets zeros.

    Each distinct text is encoded once, so products with equal texts have equal vectors; rows are those of `on_grid`.

    Raises:
        DataError: no product has a text.
    """
    texts = _texts(items, model)
    distinct = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    encoded = encoder.encode(list(distinct), kind="document", progress=progress)
    vectors = on_grid(encoded)[[distinct[text] for text in texts]]
    vectors[[not text for text in texts]] = 0
    return vectors


def _texts(items: Entities, model: str) -> list[str]:
    texts = item_texts(items)
    if not any(texts):
        raise DataError(f"{model}: no item has a title or another text; give items with texts, or use another model")
    return texts


def encoder_or_default(encoder: Encoder | None) -> Encoder:
    """Return the encoder that was given, or the one that needs no download."""
    if encoder is not None:
        return encoder
    from tastemaker.encoders.tfidf import TfidfEncoder  # brings scikit-learn, which not every model needs

    return TfidfEncoder()


def mean_vectors(weights: csr_array, vectors: Float32) -> Float32:
    """Return the weighted mean of the items' vectors of each row, scaled to length 1 (or 0); rows are on the grid.

    Args:
        weights: sparse [B, n].
        vectors: [n, d].

    Returns:
        [B, d].
    """
    sums = np.asarray(weights @ vectors, dtype=np.float32)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return on_grid(np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0))


def blended(profiles: Float32, wishes: Float32, weight: float) -> Float32:
    """Return (1 - weight) * profile + weight * wish, of length 1, on the grid; where one of them is zero, the other."""
    both = ((profiles != 0).any(axis=1) & (wishes != 0).any(axis=1))[:, None]
    sums = np.where(both, (1 - weight) * profiles + weight * wishes, profiles + wishes)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return on_grid(np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0))
