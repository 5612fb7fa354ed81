"""Fitting a pipeline under a protocol: what it learns from, what it chooses on, and what stays unseen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tastemaker.data.split import leave_one_out
from tastemaker.progress import Progress, silent

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.data.split import Split
    from tastemaker.pipeline import Pipeline


def fit(pipeline: Pipeline, split: Split, *, refit: bool = False, seed: int = 0, progress: Progress = silent) -> None:
    """Fit on train and make the pipeline's choices on validation; with `refit`, then fit on train + validation.

    The test part is not looked at.
    """
    if pipeline.wants_calibration or not refit:
        pipeline.fit(split.train, seed=seed, progress=progress)
    if pipeline.wants_calibration:
        pipeline.calibrate(split.validation, seed=seed, progress=progress)
    if refit:
        pipeline.fit(split.refit, seed=seed, progress=progress)


def fit_on_all(pipeline: Pipeline, data: Dataset, *, seed: int = 0, progress: Progress = silent) -> None:
    """Fit on everything, for production.

    Choices that need validation are made first, on a leave-one-out split of the same data, with a fit that does not
    see the held-out part.

    Raises:
        DataError: a choice needs validation, and no shopper has 3 interactions.
    """
    if pipeline.wants_calibration:
        split = leave_one_out(data)
        pipeline.fit(split.refit, seed=seed, progress=progress)
        pipeline.calibrate(split.test, seed=seed, progress=progress)
    pipeline.fit(data, seed=seed, progress=progress)
