"""Plain facts of a candidate for a history: what a small, fast student ranks by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from tastemaker.models.parts.matrices.cooccurrence import ordered_pairs
from tastemaker.models.parts.matrices.sparse import arrays_of, matrix_of
from tastemaker.text.render import item_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.data.queries import Queries
    from tastemaker.data.ranking import Ranking
    from tastemaker.encoders.base import Encoder
    from tastemaker.progress import Progress
    from tastemaker.types import Float32, Int32

NAMES = (
    "rank discount",
    "log popularity",
    "log bought after the newest",
    "bought after the history, per popularity",
    "text near the newest",
    "text near the nearest",
    "text near the history",
    "category shared",
    "brand shared",
    "log length of the history",
)
WINDOW, DECAY, RECENCY = 10, 0.85, 0.6


@dataclass(frozen=True, slots=True)
class CandidateFacts:
    """What facts are computed from.

    Attributes:
        popularity: purchases of each product, [n].
        after: how often the column's product was bought after the row's, [n, n].
        vectors: unit vectors of the products' texts, [n, d]; zeros without text.
        kinds: number of each product's most specific category and of its brand, [n, 2]; -1 for none.
    """

    popularity: Float32
    after: csr_array
    vectors: Float32
    kinds: Int32

    @classmethod
    def of(cls, train: Dataset, encoder: Encoder, *, progress: Progress) -> CandidateFacts:
        """Count in the training data, and encode the catalogue's texts."""
        texts = item_texts(train.items)
        filled = [text for text in texts if text]
        vectors = np.zeros((len(texts), 0), dtype=np.float32)
        if filled:
            found = encoder.fit(filled).encode(filled, kind="document", progress=progress)
            vectors = np.zeros((len(texts), found.shape[1]), dtype=np.float32)
            vectors[[row for row, text in enumerate(texts) if text]] = found
        after = ordered_pairs(train.queries(), train.n_items, window=WINDOW, decay=DECAY)
        return cls(train.popularity, csr_array(after), vectors, _kinds(train.items))

    def describe(self, queries: Queries, offered: Ranking) -> Float32:
        """Return the facts of each candidate, [B, m, len(NAMES)]; zeros beside -1 and without a history."""
        b, m = offered.items.shape
        facts = np.zeros((b, m, len(NAMES)), dtype=np.float32)
        facts[:, :, 0] = 1.0 / np.log2(np.arange(m) + 2)
        items = np.maximum(offered.items, 0)
        facts[:, :, 1] = np.log1p(self.popularity[items])
        for row, history in enumerate(queries):
            if not len(history):
                continue
            shown = items[row]
            weights = (RECENCY ** np.arange(len(history))[::-1]).astype(np.float32)
            counts = self.after[history][:, shown].toarray()  # [L, m]
            near = self.vectors[history] @ self.vectors[shown].T  # [L, m]
            same = self.kinds[history][:, None, :] == self.kinds[shown][None]  # [L, m, 2]
            same &= self.kinds[shown][None] >= 0
            facts[row, :, 2] = np.log1p(counts[-1])
            facts[row, :, 3] = weights @ counts / np.sqrt(1 + self.popularity[shown])
            facts[row, :, 4], facts[row, :, 5] = near[-1], near.max(axis=0)
            facts[row, :, 6] = weights @ near / weights.sum()
            facts[row, :, 7:9] = np.tensordot(weights, same, axes=1) / weights.sum()
            facts[row, :, 9] = np.log1p(len(history))
        facts[offered.items < 0] = 0.0
        return facts

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return it as arrays."""
        rest = {"popularity": self.popularity, "vectors": self.vectors, "kinds": self.kinds}
        return {**rest, **arrays_of(self.after, "after")}

    @classmethod
    def restored(cls, arrays: dict[str, NDArray[Any]], n_items: int) -> CandidateFacts:
        """Take back what `arrays` returned."""
        after = matrix_of(arrays, "after", (n_items, n_items))
        return cls(arrays["popularity"].reshape(n_items), after, arrays["vectors"], arrays["kinds"].reshape(-1, 2))


def _kinds(items: Entities) -> Int32:
    """Return category and brand of each product as numbers, [n, 2]; -1 where it has none."""
    frame, columns = items.frame, []
    for name in ("categories", "brand"):
        if name not in frame.columns:
            columns.append(np.full(frame.height, -1))
            continue
        values = frame[name].list.last() if isinstance(frame.schema[name], pl.List) else frame[name].cast(pl.String)
        columns.append(values.rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1)
    return np.stack(columns, axis=1).astype(np.int32)
