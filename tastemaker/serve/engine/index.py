"""Approximate nearest neighbours by inner product, for catalogues that are too large to be looked at as a whole.

An inverted file over exact vectors (faiss `IndexIVFFlat`; Sivic and Zisserman, ICCV 2003): vectors in cells by k-means,
of which the nearest few are searched. It takes a fraction of the time that a graph (HNSW) takes to build, which counts
at a start, and a wider search is one setting. How much is found (recall) is measured when it is built, on vectors of
the catalogue itself.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

from tastemaker.errors import ArtifactError

if TYPE_CHECKING:
    from tastemaker.types import Bool, Float32, Int32

SAMPLE = 200
"""Vectors that recall is measured on."""
ASKED = 10
PER_CELL = 40
"""Vectors of each cell that k-means looks at."""


class Index:
    """Finds the items whose vectors have the largest inner products with a query's.

    Args:
        vectors: of the items, [n, d].
        rankable: which can be found, [n].
        probes: cells that are searched.

    Attributes:
        few: so many allowed items are looked at one by one instead.
        recall: share of the ten best that is found, measured on vectors of the catalogue.
    """

    few = 5000

    _index: Any  # faiss.IndexIVFFlat

    def __init__(self, vectors: Float32, rankable: Bool, *, probes: int) -> None:
        self._numbers = np.flatnonzero(rankable).astype(np.int64)
        kept = np.ascontiguousarray(vectors[self._numbers], dtype=np.float32)
        cells = max(1, min(4096, int(2 * np.sqrt(len(kept)))))
        quantizer = faiss.IndexFlatIP(kept.shape[1])
        self._index = faiss.IndexIVFFlat(quantizer, kept.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
        self._index.cp.max_points_per_centroid = PER_CELL
        self._index.cp.niter = 8
        self._index.cp.seed = 0
        self._index.train(kept)
        self._index.add_with_ids(kept, self._numbers)
        self._index.nprobe = min(probes, cells)
        self.recall = self._measured(kept)

    @classmethod
    def kept(cls, folder: Path | None, vectors: Float32, rankable: Bool, *, probes: int) -> Index:
        """Return the index of these vectors from a folder, or build it and keep it there; None keeps nothing.

        Raises:
            ArtifactError: the folder cannot be written.
        """
        if folder is None:
            return cls(vectors, rankable, probes=probes)
        state = hashlib.sha256(np.ascontiguousarray(vectors).tobytes() + rankable.tobytes())
        state.update(f"{vectors.shape} {faiss.__version__}".encode())
        file = folder / f"{state.hexdigest()[:32]}.ivf"
        if file.is_file():
            try:
                return cls._read(file, rankable, probes=probes)
            except RuntimeError:  # faiss has no other: the file is cut short, or of another format
                file.unlink(missing_ok=True)
        built = cls(vectors, rankable, probes=probes)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            draft = folder / f".{file.name}.{os.getpid()}"
            faiss.write_index(built._index, str(draft))
            draft.replace(file)
        except (OSError, RuntimeError) as error:
            raise ArtifactError(f"{folder}: the index cannot be kept there: {error}") from error
        return built

    @classmethod
    def _read(cls, file: Path, rankable: Bool, *, probes: int) -> Index:
        index = cls.__new__(cls)
        index._index = faiss.read_index(str(file))
        index._numbers = np.flatnonzero(rankable).astype(np.int64)
        if index._index.ntotal != len(index._numbers):
            raise RuntimeError("another catalogue")
        index._index.nprobe = min(probes, index._index.nlist)
        index.recall = float("nan")
        return index

    def search(self, vectors: Float32, k: int) -> tuple[Int32, Float32]:
        """Return numbers and inner products of the k best items of each query, [B, k]; -1 where fewer are found."""
        scores, numbers = self._index.search(np.ascontiguousarray(vectors, dtype=np.float32), k)
        return numbers.astype(np.int32), scores

    def _measured(self, kept: Float32) -> float:
        rng = np.random.default_rng(0)
        asked = kept[np.sort(rng.permutation(len(kept))[:SAMPLE])]
        best = np.argpartition(-(asked @ kept.T), min(ASKED, len(kept) - 1), axis=1)[:, :ASKED]
        found, _ = self.search(asked, ASKED)
        shares = [np.isin(self._numbers[own], line).mean() for own, line in zip(best, found, strict=True)]
        return float(np.mean(shares))
