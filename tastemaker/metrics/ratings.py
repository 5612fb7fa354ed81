"""Errors of predicted ratings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tastemaker.types import Float32


def mae(predicted: Float32, true: Float32) -> float:
    """Return the mean absolute error of predicted ratings."""
    return float(np.abs(predicted.astype(np.float64) - true).mean())


def rmse(predicted: Float32, true: Float32) -> float:
    """Return the root of the mean squared error of predicted ratings."""
    return float(np.sqrt(np.square(predicted.astype(np.float64) - true).mean()))
