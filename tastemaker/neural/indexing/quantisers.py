"""Quantisers: from the vector of an item to a short tuple of codes, and back to an approximate vector.

Three kinds, all by k-means of faiss and the same for the same seed:

- residual: each code is the centroid nearest to what the codes before it left over. Rajput et al., TIGER, NeurIPS 2023
  (arXiv 2305.05065) learn the centroids with an RQ-VAE; k-means on residuals matches it in independent reruns and
  trains nothing.
- product: the numbers of a vector are dealt to blocks of about equal variance, each with a k-means of its own (Jegou et
  al., PAMI 2011; Ge et al., Optimized Product Quantization, CVPR 2013, section 3.2). Codes do not depend on each other.
- tree: clusters are cut into clusters (hierarchical k-means), so a code means something only below the codes before
  it; P5-CID (Hua et al., SIGIR-AP 2023, arXiv 2305.06569) cuts a co-occurrence graph like this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

import faiss
import numpy as np

from tastemaker.neural.inputs.adapters import deal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tastemaker.types import Float32, Int32, Int64

ROUNDS = 25
"""Rounds of k-means."""
SAMPLE = 256
"""Vectors for each centroid that k-means looks at, at most."""
BLOCK = 1024
"""Vectors that are compared with centroids at once."""


def centroids(points: Float32, count: int, *, seed: int) -> Float32:
    """Return `count` centroids of points [n, d]; where there are fewer distinct points, the last one stands repeatedly.

    A repeated centroid is never the first choice, but it is a free code right beside one that is taken.
    """
    distinct = np.unique(points, axis=0)
    if len(distinct) <= count:
        return np.asarray(distinct[np.minimum(np.arange(count), len(distinct) - 1)], dtype=np.float32)
    found = faiss.Kmeans(
        points.shape[1],
        count,
        niter=ROUNDS,
        seed=seed + 1,
        min_points_per_centroid=1,
        max_points_per_centroid=SAMPLE,
    )
    found.train(np.ascontiguousarray(points, dtype=np.float32))
    return np.asarray(found.centroids, dtype=np.float32).reshape(count, -1)


def distances(points: Float32, centres: Float32) -> Float32:
    """Return the squared distances of points [n, d] from centres [k, d], float32 [n, k], none below 0."""
    squares = np.square(points).sum(axis=1)[:, None] - 2 * points @ centres.T + np.square(centres).sum(axis=1)
    return np.asarray(np.maximum(squares, 0), dtype=np.float32)


class Quantiser(ABC):
    """From vectors [n, d] to codes, int32 [n, levels], and back.

    Attributes:
        kind: its name.
        sizes: number of codes of each level.
    """

    kind: ClassVar[str]
    sizes: tuple[int, ...]

    @abstractmethod
    def decode(self, codes: Int32) -> Float32:
        """Return the vector that each tuple stands for, [n, d]."""

    @abstractmethod
    def nearest(self, vectors: Float32, width: int) -> Int32:
        """Return up to `width` tuples near each vector, the nearest first, int32 [n, w, levels].

        The first one is that of `encode`; the others are found by a beam of this width.
        """

    @abstractmethod
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what was learnt, by name."""

    @classmethod
    @abstractmethod
    def restored(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        """Return the quantiser that `arrays` are of."""

    def encode(self, vectors: Float32) -> Int32:
        """Return the tuple of each vector, int32 [n, levels]."""
        parts = [self.nearest(vectors[at : at + BLOCK], 1)[:, 0] for at in range(0, len(vectors), BLOCK)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.sizes)), dtype=np.int32)

    def errors(self, vectors: Float32, codes: Int32) -> Float32:
        """Return the squared distance of each vector from what its tuple stands for, [n]."""
        return np.asarray(np.square(vectors - self.decode(codes)).sum(axis=1), dtype=np.float32)


class Residual(Quantiser):
    """Residual quantisation with centroids [levels, codes, d]."""

    kind = "residual"

    def __init__(self, centres: Float32) -> None:
        self.centres = centres
        self.sizes = (centres.shape[1],) * len(centres)

    @classmethod
    def fit(cls, vectors: Float32, *, levels: int, codes: int, seed: int) -> Residual:
        """Learn the centroids of one level after the other."""
        left, centres = vectors.astype(np.float32), []
        for level in range(levels):
            centres.append(centroids(left, codes, seed=seed + level))
            left = left - centres[-1][Residual(centres[-1][None]).encode(left)[:, 0]]
        return cls(np.stack(centres))

    def decode(self, codes: Int32) -> Float32:
        """Sum the centroids."""
        summed: Float32 = self.centres[np.arange(len(self.sizes)), codes].sum(axis=1)
        return summed

    def nearest(self, vectors: Float32, width: int) -> Int32:
        """Keep the `width` tuples with the shortest rest at each level."""
        left = vectors[:, None, :]  # [n, w, d]
        found = np.zeros((len(vectors), 1, 0), dtype=np.int32)
        for centres in self.centres:
            n, w, d = left.shape
            costs = distances(left.reshape(n * w, d), centres).reshape(n, w * len(centres))
            best = _smallest(costs, width)  # [n, w']
            before, code = np.divmod(best, len(centres))
            rows = np.arange(n)[:, None]
            left = left[rows, before] - centres[code]
            found = np.concatenate([found[rows, before], code[:, :, None].astype(np.int32)], axis=2)
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the centroids."""
        return {"centres": self.centres}

    @classmethod
    def restored(cls, arrays: dict[str, NDArray[Any]]) -> Residual:
        """Take the centroids."""
        return cls(arrays["centres"])


class Product(Quantiser):
    """Product quantisation: `order` int64 [levels, each] names the numbers of a block (d means: always 0)."""

    kind = "product"

    def __init__(self, order: Int64, centres: Float32, width: int) -> None:
        self.order, self.centres, self.width = order, centres, width
        self.sizes = (centres.shape[1],) * len(centres)

    @classmethod
    def fit(cls, vectors: Float32, parts: Sequence[tuple[int, int]], *, codes: int, seed: int) -> Product:
        """Learn each block's centroids.

        Args:
            vectors: [n, d].
            parts: (numbers, blocks) of each part of a vector, in order: a block holds numbers of one part only.
            codes: of each block.
            seed: of k-means.
        """
        width, start, orders = vectors.shape[1], 0, []
        each = max(-(-numbers // blocks) for numbers, blocks in parts)
        for numbers, blocks in parts:
            dealt = deal(vectors[:, start : start + numbers], (blocks, -(-numbers // blocks)))
            dealt = np.where(dealt == numbers, width, dealt + start)
            orders.append(np.pad(dealt, ((0, 0), (0, each - dealt.shape[1])), constant_values=width))
            start += numbers
        order = np.concatenate(orders)
        cut = cls(order, np.zeros((len(order), codes, each), dtype=np.float32), width)._blocks(vectors)
        centres = [centroids(cut[:, level], codes, seed=seed + level) for level in range(len(order))]
        return cls(order, np.stack(centres), width)

    def decode(self, codes: Int32) -> Float32:
        """Put the centroids' numbers back in their places."""
        found = np.zeros((len(codes), self.width + 1), dtype=np.float32)
        found[:, self.order] = self.centres[np.arange(len(self.sizes)), codes]
        return found[:, :-1]

    def nearest(self, vectors: Float32, width: int) -> Int32:
        """Keep the `width` cheapest tuples of the blocks so far, which loses none of the cheapest in the end."""
        blocks = self._blocks(vectors)
        costs = np.zeros((len(vectors), 1), dtype=np.float32)
        found = np.zeros((len(vectors), 1, 0), dtype=np.int32)
        for level, centres in enumerate(self.centres):
            total = (costs[:, :, None] + distances(blocks[:, level], centres)[:, None, :]).reshape(len(vectors), -1)
            best = _smallest(total, width)
            before, code = np.divmod(best, len(centres))
            rows = np.arange(len(vectors))[:, None]
            costs = total[rows, best]
            found = np.concatenate([found[rows, before], code[:, :, None].astype(np.int32)], axis=2)
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return blocks and centroids."""
        return {"order": self.order, "centres": self.centres, "width": np.array([self.width])}

    @classmethod
    def restored(cls, arrays: dict[str, NDArray[Any]]) -> Product:
        """Take blocks and centroids."""
        return cls(arrays["order"], arrays["centres"], int(arrays["width"][0]))

    def _blocks(self, vectors: Float32) -> Float32:
        """Deal the numbers of each vector to blocks, [n, levels, each]."""
        return np.pad(vectors, ((0, 0), (0, 1)))[:, self.order]


class Tree(Quantiser):
    """Hierarchical k-means, `levels` deep.

    The nodes of a depth stand in the order of their parents: `first[l]` int32 [nodes of depth l + 1] says where the
    children of each node begin among the nodes of depth l + 1, whose centres are `centres[l]`, [nodes, d].
    """

    kind = "tree"

    def __init__(self, first: list[Int32], centres: list[Float32], codes: int) -> None:
        self.first, self.centres = first, centres
        self.sizes = (codes,) * len(first)

    @classmethod
    def fit(cls, vectors: Float32, *, levels: int, codes: int, seed: int) -> Tree:
        """Cut all vectors into at most `codes` clusters, each of these again, and so on."""
        first, centres = [], []
        node = np.zeros(len(vectors), dtype=np.int64)
        count = 1
        for level in range(levels):
            starts, cut, child = [0], [], np.zeros(len(vectors), dtype=np.int64)
            for parent in range(count):
                members = np.flatnonzero(node == parent)
                distinct = len(np.unique(vectors[members], axis=0))
                found = centroids(vectors[members], min(codes, distinct), seed=seed + level)
                child[members] = starts[-1] + distances(vectors[members], found).argmin(axis=1)
                cut.append(found)
                starts.append(starts[-1] + len(found))
            first.append(np.array(starts, dtype=np.int32))
            centres.append(np.concatenate(cut))
            node, count = child, starts[-1]
        return cls(first, centres, codes)

    def decode(self, codes: Int32) -> Float32:
        """Return the centre of the last cluster."""
        node = np.zeros(len(codes), dtype=np.int64)
        for level, first in enumerate(self.first):
            node = first[node].astype(np.int64) + codes[:, level]
        return self.centres[-1][node]

    def nearest(self, vectors: Float32, width: int) -> Int32:
        """Keep the `width` nearest clusters among the children of those kept before."""
        rows = np.arange(len(vectors))[:, None]
        kept: Int64 = np.zeros((len(vectors), 1), dtype=np.int64)
        found = np.zeros((len(vectors), 1, 0), dtype=np.int32)
        for first, centres in zip(self.first, self.centres, strict=True):
            starts, counts = first[kept], first[kept + 1] - first[kept]  # [n, w]
            child = starts[:, :, None] + np.arange(counts.max(initial=1))
            there = child < (starts + counts)[:, :, None]
            child = np.where(there, child, 0)
            apart = np.square(vectors[:, None, None, :] - centres[child]).sum(axis=3)
            costs = np.where(there, apart, np.inf).reshape(len(vectors), -1)
            best = _smallest(costs, min(width, int(counts.sum(axis=1).min()) if len(counts) else 1))
            before, code = np.divmod(best, child.shape[2])
            kept = child[rows, before, code].astype(np.int64)
            found = np.concatenate([found[rows, before], code[:, :, None].astype(np.int32)], axis=2)
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the clusters of each depth."""
        found: dict[str, NDArray[Any]] = {"codes": np.array([self.sizes[0]])}
        for level, (first, centres) in enumerate(zip(self.first, self.centres, strict=True)):
            found |= {f"first.{level}": first, f"centres.{level}": centres}
        return found

    @classmethod
    def restored(cls, arrays: dict[str, NDArray[Any]]) -> Tree:
        """Take the clusters of each depth."""
        levels = range(sum(name.startswith("first.") for name in arrays))
        first, centres = ([arrays[f"{name}.{level}"] for level in levels] for name in ("first", "centres"))
        return cls(first, centres, int(arrays["codes"][0]))


QUANTISERS: dict[str, type[Quantiser]] = {kind.kind: kind for kind in (Residual, Product, Tree)}
"""Name -> quantiser."""


def _smallest(costs: Float32, count: int) -> Int64:
    """Return the columns of the `count` smallest costs of each row, the smallest first; of equal ones the first."""
    best = costs.argmin(axis=1)[:, None] if count == 1 else np.argsort(costs, axis=1, kind="stable")[:, :count]
    return np.asarray(best, dtype=np.int64)
