"""What is done once to frozen text vectors before a network reads them: reduced or whitened, rows of length 1.

Sentence encoders crowd their vectors into a narrow cone: random products of one shop have cosines over 0.5, and a few
directions hold most of the variance. Whitening spreads them (Zhang et al., WhitenRec, arXiv 2402.10602).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from sklearn.covariance import ledoit_wolf_shrinkage
from torch import Tensor, nn

from tastemaker.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tastemaker.types import Float32

Transform = Literal["none", "pca", "whiten", "zca"]

ROUNDING = 1e-6
"""Directions with a smaller share of the largest variance are rounding errors."""


class TextTransform(nn.Module):
    """(x - mean) matrix, scaled to length 1, [n, t] -> [n, width]; a row of zeros (no text) stays zero.

    The statistics are those of the texts given to `fit`; they are saved as buffers, so another catalogue, or a wish in
    words, is transformed alike.

    Args:
        text_width: length of a text vector, t.
        kind: "none" only scales; "pca" turns to the principal directions; "whiten" also divides each by its deviation;
            "zca" then turns back (Bell and Sejnowski, 1997), so the numbers keep their meaning, and what was learnt on
            one catalogue, whitened by its statistics, fits another one, whitened by its own.
        dim: leading directions that are kept; 0 keeps all.
        groups: "whiten" treats so many equal blocks of the vector each by itself; 1 whitens fully, more are relaxed
            whitening (WhitenRec). Only with dim = 0.
        shrinkage: share of the mean variance in every direction's variance, so that directions with little or none,
            as in a catalogue with fewer texts than t, are not blown up; None: as Ledoit and Wolf (2004) estimate it
            from the texts, much for few of them and little for many.

    Raises:
        ConfigError: there are more groups than numbers in a text vector.
    """

    mean: Tensor
    matrix: Tensor

    def __init__(
        self, text_width: int, kind: Transform, *, dim: int = 0, groups: int = 1, shrinkage: float | None = None
    ) -> None:
        super().__init__()
        if groups > text_width:
            raise ConfigError(
                f"text_groups = {groups}: a text vector has only {text_width} numbers; set at most {text_width}"
            )
        self.kind, self.groups, self.shrinkage = kind, groups, shrinkage
        self.width = min(dim or text_width, text_width) if kind != "none" else text_width
        self.register_buffer("mean", torch.zeros(text_width))
        if kind != "none":
            self.register_buffer("matrix", torch.eye(text_width, self.width))

    @property
    def ordered(self) -> bool:
        """Whether the numbers of a transformed vector are directions of the texts, the widest first."""
        return self.kind in ("pca", "whiten") and self.groups == 1

    def fit(self, texts: Float32) -> None:
        """Take mean and covariance of the rows that are not zero, [n, t].

        Where all of them are one text there is no covariance: vectors stay as they are (their first `width` numbers).
        """
        if self.kind == "none":
            return
        rows = texts[texts.any(axis=1)].astype(np.float64)
        mean = rows.mean(axis=0) if len(rows) else np.zeros(texts.shape[1])
        centred = rows - mean
        if np.square(centred).sum() <= ROUNDING * np.square(rows).sum():
            return
        matrix = np.zeros((texts.shape[1], self.width))
        for columns in np.array_split(np.arange(texts.shape[1]), self.groups):
            directions = self._directions(centred[:, columns])
            kept = columns[: self.width]  # all of them, where there are groups
            matrix[np.ix_(columns, kept)] = directions[:, : self.width]
        self.mean.copy_(torch.from_numpy(mean))
        self.matrix.copy_(torch.from_numpy(matrix))

    def recentre(self, texts: Float32) -> None:
        """Take the mean of another catalogue's texts; else all of them would lean to one side, and look alike.

        Where all of them are one text the mean stays.
        """
        rows = texts[texts.any(axis=1)].astype(np.float64)
        mean = rows.mean(axis=0) if len(rows) else rows.sum(axis=0)
        if self.kind != "none" and np.square(rows - mean).sum() > ROUNDING * np.square(rows).sum():
            self.mean.copy_(torch.from_numpy(mean))

    def forward(self, texts: Tensor) -> Tensor:
        """Transform rows, [n, t] -> [n, width]."""
        there = texts.any(dim=1, keepdim=True)
        moved = (texts - self.mean) @ self.matrix if self.kind != "none" else texts
        return nn.functional.normalize(moved, dim=1) * there

    def _directions(self, centred: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the principal directions as columns, widest first; whitened, each divided by its deviation."""
        variances, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
        variances, vectors = np.maximum(variances[::-1], 0), vectors[:, ::-1]
        vectors = vectors * np.where(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(vectors))] < 0, -1, 1)
        if self.kind == "pca":
            return vectors
        shrinkage = self.shrinkage
        if shrinkage is None:
            estimate = float(ledoit_wolf_shrinkage(centred, assume_centered=True))
            shrinkage = max(estimate, 1 / len(centred))  # the estimate for two texts is 0
        shrunk = (1 - shrinkage) * variances + shrinkage * variances.mean()
        real = shrunk > ROUNDING * max(shrunk[0], 1e-300)
        whitened = vectors * np.where(real, 1 / np.sqrt(np.where(real, shrunk, 1)), 0)
        return whitened @ vectors.T if self.kind == "zca" else whitened
