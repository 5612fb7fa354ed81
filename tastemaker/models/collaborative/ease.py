r"""EASE: a linear auto-encoder in closed form, the strongest simple model on many benchmarks.

$B = I - P\, diag(P)^{-1}$ with $P = (X^T X + \lambda I)^{-1}$ and X the 0/1 user-item matrix: the ridge regression of
each item on all others, with a zero diagonal (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019,
eq. 8). A history scores $s = x B$.

Deviation from the paper: an item of the history weighs $r^{age}$ in x, with r = `recency`; r = 1 is the paper's form.
Items without interactions in the training data take no part and get no opinion.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field
from scipy.linalg import lapack
from scipy.sparse import csr_array

from tastemaker import configurable
from tastemaker.data.ranking import top_k
from tastemaker.errors import DataError
from tastemaker.models.parts.matrices.similarity import age_weights
from tastemaker.models.parts.matrices.sparse import arrays_of, matrix_of
from tastemaker.recommender import Recommender

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.queries import Queries
    from tastemaker.progress import Progress
    from tastemaker.types import Float32, Int32

BLOCK = 1024
"""Rows handled at a time where a whole second matrix would be too much."""
SINGLE_PRECISION_LIMIT = 1e4
"""Largest bound on the condition number that single precision is trusted with (about three digits remain)."""
DOUBLE_PRECISION_LIMIT = 1e13
"""The same for double precision."""


class EASEConfig(configurable.Config):
    """Knobs of `ease`.

    Attributes:
        reg: lambda, weight of the squared coefficients.
        recency: weight of a history item for each step back from the newest; 1 = the paper's form.
        coefficients: how many are kept for each history item, the largest by magnitude; 0 keeps all, which is the
            paper's form and takes 4 n^2 bytes (590 MB for 12,000 items), in memory and on disk.
    """

    reg: float = Field(default=300.0, gt=0, le=1e12)
    recency: float = Field(default=0.6, gt=0, le=1)
    coefficients: int = Field(default=0, ge=0)


class EASE(Recommender):
    """Predicts each item from all others by ridge regression."""

    name = "ease"
    because = "goes together with"
    Config = EASEConfig
    config: EASEConfig
    weights: Float32 | csr_array  # [known, known]

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Invert the Gram matrix of the items that occur.

        Raises:
            DataError: it does not fit into memory, or cannot be inverted with so small a `reg`.
        """
        self.known = np.flatnonzero(train.bought).astype(np.int32)
        matrix = csr_array(train.matrix()[:, self.known])
        gram = csr_array((matrix.T @ matrix).tocsr())
        bound = 1 + float(gram.sum(axis=1).max()) / self.config.reg  # of the condition number, by Gershgorin's circles
        if bound > DOUBLE_PRECISION_LIMIT:
            raise singular(len(self.known), self.config.reg)
        precision = np.dtype(np.float32 if bound <= SINGLE_PRECISION_LIMIT else np.float64)
        check_memory(len(self.known), precision)
        weights = coefficients(gram, self.config.reg, precision)
        self.weights = strongest(weights, self.config.coefficients) if self.config.coefficients else weights

    def score(self, queries: Queries) -> Float32:
        """Return x B, [B, n]; -inf for items that do not occur in training and for histories of only such items."""
        scores = np.full((len(queries), len(self.items)), -np.inf, dtype=np.float32)
        rows = csr_array(queries.matrix(len(self.items), recency=self.config.recency)[:, self.known])
        asked = np.flatnonzero(np.diff(rows.indptr))
        scores[np.ix_(asked, self.known)] = _dense(csr_array(rows[asked]) @ self.weights)
        return scores

    def contributions(self, history: Int32, item: int) -> Float32:
        """Return the weighted coefficient of each history item; a repeated item counts at its newest place."""
        place = np.full(len(self.items), -1, dtype=np.int32)
        place[self.known] = np.arange(len(self.known))
        both = (place[history] >= 0) & (place[item] >= 0)
        parts = np.zeros(len(history), dtype=np.float32)
        parts[both] = _dense(self.weights[place[history[both]]][:, [place[item]]])[:, 0]
        return parts * age_weights(history, self.config.recency)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the numbers of the items that take part, and the coefficients between them."""
        if isinstance(self.weights, csr_array):
            return {"known": self.known, **arrays_of(self.weights, "weights")}
        return {"known": self.known, "weights": self.weights}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take back what `arrays` returned."""
        self.known = arrays["known"]
        size = len(self.known)
        if self.config.coefficients:
            self.weights = matrix_of(arrays, "weights", (size, size))
        else:
            self.weights = arrays["weights"].reshape(size, size)


def _dense(matrix: Any) -> Float32:  # noqa: ANN401  # a product of the two kinds has no common type
    return np.asarray(matrix.toarray() if isinstance(matrix, csr_array) else matrix, dtype=np.float32)


def coefficients(gram: csr_array, reg: float, precision: np.dtype[Any]) -> Float32:
    """Return EASE's B, dense float32 [n, n], from the sparse Gram matrix; one other dense matrix is alive beside it.

    Raises:
        DataError: the matrix cannot be inverted in this precision.
    """
    n = gram.shape[0]
    dense = np.zeros((n, n), dtype=precision, order="F")
    for start in range(0, n, BLOCK):
        dense[:, start : start + BLOCK] = gram[start : start + BLOCK].toarray().T
    dense[np.diag_indices(n)] += reg
    single = precision == np.float32
    factorise, invert = (lapack.spotrf, lapack.spotri) if single else (lapack.dpotrf, lapack.dpotri)
    factor, failed = factorise(dense, lower=1, overwrite_a=1, clean=0)
    inverse, failed_too = invert(factor, lower=1, overwrite_c=1) if not failed else (factor, failed)
    if failed or failed_too:
        raise singular(n, reg)
    for start in range(0, n, BLOCK):  # LAPACK fills the lower triangle only
        stop = min(start + BLOCK, n)
        corner = np.tril(inverse[start:stop, start:stop], -1)
        inverse[start:stop, start:stop] = np.tril(inverse[start:stop, start:stop]) + corner.T
        inverse[start:stop, stop:] = inverse[stop:, start:stop].T
    scale = -1.0 / inverse.diagonal().copy()
    weights = np.empty((n, n), dtype=np.float32)
    for start in range(0, n, BLOCK):
        weights[start : start + BLOCK] = inverse[start : start + BLOCK] * scale  # B_ij = -P_ij / P_jj
    np.fill_diagonal(weights, 0)
    return weights


def singular(n: int, reg: float) -> DataError:
    """Return the error for a Gram matrix of n items that cannot be inverted with this `reg`."""
    return DataError(f"ease: the Gram matrix of {n} items cannot be inverted with reg = {reg:g}; use a larger reg")


def strongest(weights: Float32, keep: int) -> csr_array:
    """Return the `keep` coefficients of largest magnitude of each row, ties to the lower column, sparse [n, n]."""
    keep = min(keep, len(weights))
    columns = np.empty((len(weights), keep), dtype=np.int32)
    for start in range(0, len(weights), BLOCK):
        block = np.abs(weights[start : start + BLOCK])
        columns[start : start + BLOCK] = np.sort(top_k(block, keep).items, axis=1)
    offsets = np.arange(len(weights) + 1, dtype=np.int64) * keep
    data = np.take_along_axis(weights, columns, 1).ravel()
    return csr_array((data, columns.ravel(), offsets), shape=weights.shape)


def check_memory(n: int, precision: np.dtype[Any]) -> None:
    """Refuse a problem that needs more memory than the machine has free.

    Raises:
        DataError: the message says how much is needed and what to do.
    """
    needed = n * n * (precision.itemsize + 4)
    available = available_memory()
    if needed > available:
        raise DataError(
            f"ease: {n:,} items need {needed / 2**30:.1f} GiB of memory, {available / 2**30:.1f} GiB are free; "
            "drop rare items (a k-core), or use item_knn, whose memory grows with the interactions"
        )


def available_memory() -> int:
    """Return the bytes of memory that can be used without swapping, as far as the system tells."""
    return min(_free_on_machine(), _free_in_container())


def _free_on_machine() -> int:
    """Return what Linux calls available, elsewhere all that is installed; where nothing is said, no limit."""
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        [available] = [line for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable:")]
        return int(available.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else sys.maxsize


def _free_in_container() -> int:
    """Return what the control group still allows; without one, no limit."""
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text().strip()
        return sys.maxsize if limit == "max" else int(limit) - int((group / "memory.current").read_text())
    except OSError:
        return sys.maxsize
