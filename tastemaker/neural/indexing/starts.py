"""Vectors of codes where training begins: what the items that carry a code have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tastemaker.neural.indexing.semantic_ids import SemanticIds
    from tastemaker.types import Float32


def code_means(ids: SemanticIds, vectors: Float32) -> Float32:
    """Return the mean vector of the items that carry each code, [vocabulary, d]; codes of no item get zeros.

    Args:
        ids: identifiers of n items.
        vectors: of the items, [n, d]; items whose vector is zero, of which nothing is known, do not count.
    """
    known = vectors.any(axis=1)
    numbers = (ids.codes + ids.offsets)[known]  # [m, levels]
    sums = np.zeros((ids.vocabulary, vectors.shape[1]), dtype=np.float32)
    for level in range(ids.levels):
        np.add.at(sums, numbers[:, level], vectors[known])
    counts = np.bincount(numbers.ravel(), minlength=ids.vocabulary)[:, None]
    return np.asarray(sums / np.maximum(counts, 1), dtype=np.float32)
