"""A mean over probed cases and how far chance may have moved it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tastemaker import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence


def mean_with_interval(values: Sequence[float], *, seed: int) -> dict[str, float | None] | None:
    """Return "value", "low" and "high": the mean and its 95 % bootstrap interval; None where there are no values."""
    if not len(values):
        return None
    cases = np.asarray(values, dtype=np.float32)
    return metrics.summarise({"mean": cases}, seed=seed)["mean"]
