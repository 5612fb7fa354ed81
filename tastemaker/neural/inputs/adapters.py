"""Adapters: small modules that turn an item's transformed text vector into a vector of the network, [n, t] -> [n, dim].

Each can `start` as a given linear map, so that a network knows something of the texts before the first step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tastemaker.types import Float32

SAMPLE = 128
"""Texts for each centroid that k-means looks at, at most."""
ROUNDS = 25
"""Rounds of k-means, at most."""


def projection(rows: Tensor, dim: int) -> Tensor:
    """Return the `dim` principal directions of vectors [n, t] (about 0, not their mean) as a matrix [t, dim]."""
    _, directions = torch.linalg.eigh(rows.double().t() @ rows.double())
    found = directions.flip(1)[:, :dim]
    return functional.pad(found * _signs(found), (0, dim - found.shape[1])).float()


def regression(rows: Tensor, vectors: Tensor, *, ridge: float) -> Tensor:
    """Return the matrix [t, dim] with the least |rows M - vectors|^2 + penalty |M|^2, for [n, t] and [n, dim].

    Args:
        rows: what is known.
        vectors: what it shall become.
        ridge: the penalty, as a share of the mean square sum of a column of `rows`.
    """
    given = rows.double()
    squares = given.t() @ given
    penalty = torch.eye(len(squares), dtype=squares.dtype, device=squares.device) * (ridge * squares.diagonal().mean())
    solved: Tensor = torch.linalg.solve(squares + penalty, given.t() @ vectors.double())
    return solved.float()


class Adapter(nn.Module):
    """From text vectors to item vectors; what never changes in training is done once by `prepare`."""

    def fit(self, texts: Float32) -> None:
        """Learn from the catalogue's texts what is learnt from them alone."""

    def prepare(self, texts: Tensor) -> Tensor:
        """Return what `forward` reads of the text vectors."""
        return texts

    def start(self, matrix: Tensor) -> None:
        """Begin as x -> x matrix, [t, dim], or close to it."""
        raise NotImplementedError


class Projection(Adapter):
    """x M with a matrix that is never trained: the texts stay what they are."""

    matrix: Tensor

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.eye(width, dim))

    def start(self, matrix: Tensor) -> None:
        """Take this matrix."""
        self.matrix.copy_(matrix)

    def forward(self, texts: Tensor) -> Tensor:
        """Map text vectors."""
        return texts @ self.matrix


class Linear(Adapter):
    """x W + b."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.map = nn.Linear(width, dim)

    def start(self, matrix: Tensor) -> None:
        """Begin as this matrix."""
        self.map.weight.data.copy_(matrix.t())
        self.map.bias.data.zero_()

    def forward(self, texts: Tensor) -> Tensor:
        """Map text vectors."""
        return self.map(texts)  # type: ignore[no-any-return]


class MLP(Linear):
    """x W + b + gelu(x U + c) V: a linear map with a bend, which begins without the bend."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__(width, dim)
        self.wide = nn.Linear(width, 2 * dim)
        self.narrow = nn.Linear(2 * dim, dim, bias=False)

    def start(self, matrix: Tensor) -> None:
        """Begin as this matrix; the bend grows in training."""
        super().start(matrix)
        self.narrow.weight.data.zero_()

    def forward(self, texts: Tensor) -> Tensor:
        """Map text vectors."""
        return super().forward(texts) + self.narrow(functional.gelu(self.wide(texts)))  # type: ignore[no-any-return]


class Experts(Adapter):
    """A mixture of linear experts, weighed for each item by a gate that is noisy in training.

    Hou et al., UniSRec, KDD 2022 (arXiv 2206.05941). Their expert (x - b) W is written x W + c.
    """

    def __init__(self, width: int, dim: int, *, experts: int) -> None:
        super().__init__()
        self.experts = nn.Linear(width, experts * dim)
        self.gate = nn.Linear(width, experts, bias=False)
        self.noise = nn.Linear(width, experts, bias=False)

    def start(self, matrix: Tensor) -> None:
        """Begin with this matrix in every expert; the gate, drawn at random, lets them part."""
        experts = self.gate.out_features
        self.experts.weight.data.copy_(matrix.t().repeat(experts, 1))
        self.experts.bias.data.zero_()

    def shares(self, texts: Tensor) -> Tensor:
        """Return the weight of each expert, [n, experts], rows of sum 1."""
        preference = self.gate(texts)
        if self.training:
            preference = preference + torch.randn_like(preference) * functional.softplus(self.noise(texts))
        return preference.softmax(dim=1)  # type: ignore[no-any-return]

    def forward(self, texts: Tensor) -> Tensor:
        """Map text vectors."""
        found = self.experts(texts).view(len(texts), self.gate.out_features, -1)  # [n, experts, dim]
        mixed: Tensor = self.shares(texts)[:, None, :] @ found  # [n, 1, dim]
        return mixed.squeeze(1)


class Codes(Adapter):
    """The text decides codes, codes have learnt vectors, an item is their sum: no text vector enters by itself.

    Hou et al., VQ-Rec, WWW 2023 (arXiv 2210.12316): product quantisation. The numbers of the vector are dealt to blocks
    of about equal variance (Ge et al., Optimized Product Quantization, CVPR 2013, section 3.2), each block has its own
    k-means. A text of another catalogue gets the codes of the nearest centroids.
    """

    centroids: Tensor
    order: Tensor

    def __init__(self, width: int, dim: int, *, blocks: int, codes: int) -> None:
        super().__init__()
        self.blocks, self.codes = min(blocks, width), codes
        each = -(-width // self.blocks)
        self.register_buffer("centroids", torch.zeros(self.blocks, codes, each))
        self.register_buffer("order", torch.full((self.blocks, each), width))  # `width` is a number that is always 0
        self.vectors = nn.Embedding(self.blocks * codes, dim)

    def fit(self, texts: Float32) -> None:
        """Deal the numbers to blocks and find each block's centroids."""
        from sklearn.cluster import KMeans  # takes a second, and only this adapter needs it

        rows = texts[texts.any(axis=1)]
        rows = np.random.default_rng(0).permutation(rows)[: SAMPLE * self.codes]
        self.order.copy_(torch.from_numpy(deal(rows, self.order.shape)))
        for block, part in enumerate(self._parts(torch.from_numpy(rows)).unbind(1)):
            points = np.unique(part.numpy(), axis=0)
            if len(points) > self.codes:
                means = KMeans(self.codes, init="random", n_init=1, max_iter=ROUNDS, random_state=0)
                points = means.fit(np.ascontiguousarray(part.numpy())).cluster_centers_
            if len(points):
                self.centroids[block] = torch.from_numpy(points[np.minimum(np.arange(self.codes), len(points) - 1)])

    def prepare(self, texts: Tensor) -> Tensor:
        """Return the codes of each text, int64 [n, blocks], each numbered within all blocks."""
        parts = self._parts(texts)
        near = [torch.cdist(parts[:, block], self.centroids[block]).argmin(dim=1) for block in range(self.blocks)]
        return torch.stack(near, dim=1) + torch.arange(self.blocks, device=texts.device) * self.codes

    def start(self, matrix: Tensor) -> None:
        """Begin as the matrix on quantised texts: each code's vector is what the matrix makes of its centroid."""
        rows = torch.cat([matrix, matrix.new_zeros(1, matrix.shape[1])])[self.order]  # [blocks, each, dim]
        self.vectors.weight.data.copy_((self.centroids @ rows).flatten(0, 1))

    def forward(self, codes: Tensor) -> Tensor:
        """Sum the vectors of the codes."""
        return functional.embedding_bag(codes, self.vectors.weight, mode="sum")

    def _parts(self, texts: Tensor) -> Tensor:
        """Deal the numbers of each text to blocks, [n, blocks, each]."""
        return functional.pad(texts, (0, 1))[:, self.order]


def _signs(directions: Tensor) -> Tensor:
    """Return -1 for each column whose largest number is negative: a direction has no sign of its own."""
    largest = directions.abs().argmax(dim=0, keepdim=True)
    return torch.where(directions.gather(0, largest) < 0, -1.0, 1.0)


def deal(rows: Float32, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the columns of each block, [blocks, each]: widest first, each to the block with the least variance yet."""
    blocks, each = shape
    variances = rows.var(axis=0) if len(rows) else np.zeros(rows.shape[1])
    order = np.full((blocks, each), rows.shape[1])
    held, filled = np.zeros(blocks), np.zeros(blocks, dtype=np.int64)
    for column in np.argsort(-variances, kind="stable"):
        block = int(np.where(filled < each, held, np.inf).argmin())
        order[block, filled[block]] = column
        held[block] += variances[column]
        filled[block] += 1
    return order
