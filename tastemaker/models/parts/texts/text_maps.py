r"""What stands behind a sentence encoder in two towers: whitening by the catalogue, and maps learnt on purchases.

A catalogue's text vectors are first whitened by its own statistics, $x = Z (v - \mu)$: training-free, and the same
space for every shop, as ZCA keeps the axes. Then a product is $W x + b$, scaled to length 1, and a history
$M \sum_a w_a (W x_a + b)$. Unlearnt, W and M are the identity, b is 0 and $w_a = r^a$: cosines of whitened texts.

Learnt weights that lie between the beginning and the end of a training hold better where data are unlike those of the
training (Wortsman et al., WiSE-FT, CVPR 2022); `Maps.at` returns them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tastemaker.encoders.base import unit_rows
from tastemaker.models.parts.matrices.similarity import on_grid, products
from tastemaker.neural.inputs.text_transforms import TextTransform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tastemaker.types import Float32, Int64

Whitening = Literal["none", "whiten"]


@dataclass(frozen=True, slots=True)
class Whitened:
    """How text vectors of each shop become numbers that maps work on: (v - mean) @ matrix.

    Attributes:
        means: of each shop's texts, [s, d].
        matrices: [s, d, d]; whitened vectors have a mean length of 1.
    """

    means: Float32
    matrices: Float32

    @classmethod
    def of(cls, vectors: Float32, shops: Int64, kind: Whitening, *, shrinkage: float | None = None) -> Whitened:
        """Take the statistics of unit vectors, [t, d], by shop, 0, 1, ... [t]; a row of zeros is left out.

        Without `shrinkage` it is d / (d + texts of the shop): few texts say little of how numbers vary.
        """
        count, d = int(shops.max(initial=0)) + 1, vectors.shape[1]
        means, matrices = np.zeros((count, d), np.float32), np.tile(np.eye(d, dtype=np.float32), (count, 1, 1))
        for shop in range(count if kind == "whiten" else 0):
            own = vectors[shops == shop]
            share = d / (d + len(own)) if shrinkage is None else shrinkage
            transform = TextTransform(d, "zca", shrinkage=share)
            transform.fit(own)
            means[shop], matrix = transform.mean.numpy(), transform.matrix.numpy()
            lengths = np.linalg.norm((own - means[shop]) @ matrix, axis=1)[own.any(axis=1)]
            matrices[shop] = matrix / (lengths.mean() if lengths.any() else 1)
        return cls(means, matrices)

    def apply(self, vectors: Float32, shops: Int64) -> Float32:
        """Return whitened rows, [t, d]."""
        found = np.empty_like(vectors)
        for shop in np.unique(shops):
            found[shops == shop] = (vectors[shops == shop] - self.means[shop]) @ self.matrices[shop]
        return found

    def pooled(self) -> Whitened:
        """Return the mean over the shops, for texts of no shop, such as wishes."""
        return Whitened(self.means.mean(axis=0, keepdims=True), self.matrices.mean(axis=0, keepdims=True))


@dataclass(frozen=True, slots=True)
class Maps:
    """Maps behind whitened vectors, as `two_tower` learns them.

    Attributes:
        weight, bias: W, [d, d], and b, [d].
        onward: M, [d, d].
        ages: weight of a product by its steps back from the newest, [L].
    """

    weight: Float32
    bias: Float32
    onward: Float32
    ages: Float32

    @classmethod
    def unlearnt(cls, d: int, *, max_length: int, recency: float) -> Maps:
        """Return the maps that training begins with."""
        eye, ages = np.eye(d, dtype=np.float32), recency ** np.arange(max_length, dtype=np.float32)
        return cls(eye, np.zeros(d, np.float32), eye, ages.astype(np.float32))

    def at(self, strength: float, *, recency: float) -> Maps:
        """Return maps on the way from the unlearnt ones, strength 0, to these, strength 1."""
        begun = Maps.unlearnt(len(self.bias), max_length=len(self.ages), recency=recency)
        weight, bias, onward = (
            start + np.float32(strength) * (end - start)
            for start, end in ((begun.weight, self.weight), (begun.bias, self.bias), (begun.onward, self.onward))
        )
        ages = begun.ages * (np.maximum(self.ages, 1e-9) / begun.ages) ** np.float32(strength)
        return Maps(weight, bias, onward, ages.astype(np.float32))

    def of_products(self, vectors: Float32, shops: Int64, whitened: Whitened) -> Float32:
        """Return unit vectors of texts from the encoder's, [t, d], on the grid; a row of zeros stays zero."""
        found = np.zeros_like(vectors)
        for shop in np.unique(shops):
            rows = (shops == shop) & vectors.any(axis=1)
            weight, bias = self.behind(whitened, int(shop))
            found[rows] = unit_rows(products(on_grid(vectors[rows]), on_grid(weight)) + bias)
        return on_grid(found)

    def behind(self, whitened: Whitened, shop: int) -> tuple[Float32, Float32]:
        """Return whitening and map as one affine map of the encoder's vectors: weight [d, d] and bias [d]."""
        weight = self.weight.astype(np.float64) @ whitened.matrices[shop].T
        bias = self.bias - weight @ whitened.means[shop]
        return weight.astype(np.float32), bias.astype(np.float32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the maps by name."""
        return {"map.weight": self.weight, "map.bias": self.bias, "onward": self.onward, "ages": self.ages}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Maps:
        """Take back what `arrays` returned."""
        return cls(*(arrays[name] for name in ("map.weight", "map.bias", "onward", "ages")))
