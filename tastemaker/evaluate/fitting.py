"""Fitting a pipeline under a protocol: what it learns from, what it chooses on, and what stays unseen."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tastemaker import guards
from tastemaker.data.split import leave_one_out
from tastemaker.progress import Progress, silent
from tastemaker.recommender import Aids

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.split import Split
    from tastemaker.pipeline import Pipeline

FIRST, CHOICES, AGAIN = "fit on train", "choices on validation", "fit on train + validation"
"""Steps of fitting, as they are called where their seconds are told."""


def fit(
    pipeline: Pipeline,
    split: Split,
    *,
    refit: bool = False,
    folder: Path | None = None,
    seed: int = 0,
    progress: Progress = silent,
    seconds: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Fit on train and make the pipeline's choices on validation; with `refit`, then fit on train + validation.

    Nothing is learnt from the test part. What the fitted parts were tuned on, and what they would say to language
    models, is tested for leaks before any model is asked.

    Args:
        pipeline: any.
        split: train and validation are used.
        refit: whether the last fit is on train + validation, with the choices made before.
        folder: where long training keeps checkpoints; a killed fit goes on from them.
        seed: of the fit.
        progress: shown over the work.
        seconds: takes in what each step took: FIRST, CHOICES and AGAIN, as far as they were needed.

    Returns:
        What the leak tests noticed.

    Raises:
        LeakError: something held out is known before it may be.
    """
    noticed: dict[str, Any] = {}
    chooses = pipeline.wants_calibration or pipeline.stops_early
    if chooses or not refit:
        aids = Aids(validation=split.validation, folder=folder)
        with timed(seconds, FIRST):
            pipeline.fit(split.train, aids=aids, seed=seed, progress=progress)
        noticed = guards.check_fitted(pipeline, split)
    if pipeline.wants_calibration:
        with timed(seconds, CHOICES):
            pipeline.calibrate(split.validation, seed=seed, progress=progress)
    if not refit:
        return noticed
    return noticed | fit_again(pipeline, split, folder=folder, seed=seed, progress=progress, seconds=seconds)


def fit_again(
    pipeline: Pipeline,
    split: Split,
    *,
    folder: Path | None = None,
    seed: int = 0,
    progress: Progress = silent,
    seconds: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Fit a pipeline that was fitted on train once more, on train + validation, keeping its choices.

    Args and return value are those of `fit`.
    """
    with timed(seconds, AGAIN):
        pipeline.fit(split.refit, aids=Aids(keep_choices=True, folder=folder), seed=seed, progress=progress)
    return guards.check_fitted(pipeline, split, refit=True)


@contextmanager
def timed(seconds: dict[str, float] | None, step: str) -> Iterator[None]:
    """Note what a step took, if anyone asks."""
    started = time.perf_counter()
    yield
    if seconds is not None:
        seconds[step] = time.perf_counter() - started


def fit_on_all(pipeline: Pipeline, data: Dataset, *, seed: int = 0, progress: Progress = silent) -> None:
    """Fit on everything, for production.

    Choices that need validation are made first, on a leave-one-out split of the same data, with a fit that does not
    see the held-out part.

    Raises:
        DataError: a choice needs validation, and no shopper has 3 interactions.
    """
    if pipeline.wants_calibration or pipeline.stops_early:
        split = leave_one_out(data)
        pipeline.fit(split.refit, aids=Aids(validation=split.test), seed=seed, progress=progress)
        if pipeline.wants_calibration:
            pipeline.calibrate(split.test, seed=seed, progress=progress)
    pipeline.fit(data, aids=Aids(keep_choices=True), seed=seed, progress=progress)
