"""Saving sparse matrices as plain arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from tastemaker.errors import ArtifactError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def arrays_of(matrix: csr_array, name: str) -> dict[str, NDArray[Any]]:
    """Return the three CSR arrays under "NAME.data", "NAME.indices" and "NAME.indptr"."""
    return {
        f"{name}.data": matrix.data,
        f"{name}.indices": matrix.indices.astype(np.int32),
        f"{name}.indptr": matrix.indptr.astype(np.int64),
    }


def matrix_of(arrays: dict[str, NDArray[Any]], name: str, shape: tuple[int, int]) -> csr_array:
    """Rebuild the matrix that `arrays_of` took apart, and check that it is one of `shape`.

    Raises:
        ArtifactError: an array is missing, or an index lies outside `shape`.
    """
    try:
        data, indices, indptr = (arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr"))
        matrix = csr_array((data, indices, indptr), shape=shape)
        matrix.check_format(full_check=True)
    except (KeyError, ValueError) as error:
        raise ArtifactError(f"saved matrix '{name}' is not a CSR matrix of shape {shape}: {error}") from error
    return matrix
