"""Fitting a pipeline under a protocol: what it learns from, what it chooses on, and what stays unseen."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tastemaker import guards
from tastemaker.abilities import Tunable
from tastemaker.data.splits import leave_one_out
from tastemaker.progress import Progress, silent
from tastemaker.recommender import CHECKPOINT, Aids

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.splits import Holdout, Split
    from tastemaker.pipeline import Pipeline

FIRST, CHOICES, AGAIN = "fit on train", "choices on validation", "fit on train + validation"
"""Steps of fitting, as they are called where their seconds are told."""


def fit(
    pipeline: Pipeline,
    split: Split,
    *,
    refit: bool = False,
    aids: Aids | None = None,
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
        aids: device, threads, a listener, and a folder for checkpoints, from which a killed fit goes on; they stay
            there until `forget_checkpoints`. Validation questions and choices are set here.
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
        with timed(seconds, FIRST):
            first = _first(aids, split.validation)
            pipeline.fit(split.train, aids=first, seed=seed, progress=progress)
        noticed = guards.check_fitted(pipeline, split)
    if pipeline.wants_calibration:
        with timed(seconds, CHOICES):
            pipeline.calibrate(split.validation, seed=seed, progress=progress)
    if not refit:
        return noticed
    return noticed | fit_again(pipeline, split, aids=aids, seed=seed, progress=progress, seconds=seconds)


def fit_again(
    pipeline: Pipeline,
    split: Split,
    *,
    aids: Aids | None = None,
    seed: int = 0,
    progress: Progress = silent,
    seconds: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Fit a pipeline that was fitted on train once more, on train + validation, keeping its choices.

    Args and return value are those of `fit`.
    """
    with timed(seconds, AGAIN):
        pipeline.fit(split.refit, aids=_again(aids), seed=seed, progress=progress)
    return guards.check_fitted(pipeline, split, refit=True)


@contextmanager
def timed(seconds: dict[str, float] | None, step: str) -> Iterator[None]:
    """Note what a step took, if anyone asks."""
    started = time.perf_counter()
    yield
    if seconds is not None:
        seconds[step] = time.perf_counter() - started


def _first(aids: Aids | None, validation: Holdout) -> Aids:
    """Return the aids of the fit that makes choices."""
    aids = aids or Aids()
    return replace(aids, validation=validation, folder=aids.folder and aids.folder / "first")


def _again(aids: Aids | None) -> Aids:
    """Return the aids of the fit that keeps them; its checkpoints stand apart, as both fits train the same parts."""
    aids = aids or Aids()
    return replace(aids, keep_choices=True, folder=aids.folder and aids.folder / "again")


def forget_checkpoints(folder: Path) -> None:
    """Remove the checkpoints that fits under `folder` kept, and the folders that are empty then."""
    for file in sorted(folder.rglob(f"*{CHECKPOINT}")):
        file.unlink()
    for place in sorted((place for place in folder.rglob("*") if place.is_dir()), reverse=True):
        if not any(place.iterdir()):
            place.rmdir()


def fit_on_all(
    pipeline: Pipeline, data: Dataset, *, aids: Aids | None = None, seed: int = 0, progress: Progress = silent
) -> None:
    """Fit on everything, for production.

    Choices that need validation are made first, on a leave-one-out split of the same data, with a fit that does not
    see the held-out part. Where no shopper has 3 interactions, networks are trained for all their epochs. `aids` are
    those of `fit`.

    Raises:
        DataError: a weight or another choice needs validation, and no shopper has 3 interactions.
    """
    real = data.real()
    can_stop = pipeline.stops_early and real.queries().lengths.max(initial=0) >= 3
    if pipeline.wants_calibration or can_stop:
        split = leave_one_out(real)
        pipeline.fit(split.refit, aids=_first(aids, split.test), seed=seed, progress=progress)
        if pipeline.wants_calibration:
            pipeline.calibrate(split.test, seed=seed, progress=progress)
    pipeline.fit(data, aids=_again(aids), seed=seed, progress=progress)


def tune_on_all(
    pipeline: Pipeline, data: Dataset, *, aids: Aids | None = None, seed: int = 0, progress: Progress = silent
) -> tuple[list[str], dict[str, int]]:
    """Go on learning from everything, for production.

    For how many epochs is chosen first, by a tuning that does not see each shopper's last purchase; then all begins
    again, with the last purchases. Where no shopper has 3 interactions, as many epochs as the training before chose.

    Returns:
        Names of the parts that were fitted anew, and the number of epochs of each part that went on learning.
    """
    aids, epochs = replace(aids or Aids(), keep_choices=True), {}
    tunable = {name: part for name, part in pipeline.parts.items() if isinstance(part, Tunable)}
    real = data.real()
    if pipeline.stops_early and real.queries().lengths.max(initial=0) >= 3:
        split = leave_one_out(real)
        begun = {name: part.arrays() for name, part in tunable.items()}
        pipeline.tune(split.refit, aids=_first(aids, split.test), seed=seed, progress=progress)
        epochs = {f"{name}/": part.report().get("best_epoch") for name, part in tunable.items()}
        for name, part in tunable.items():
            part.attach(data.items, begun[name])
    chosen = {name: count for name, count in epochs.items() if count is not None}
    return pipeline.tune(data, aids=replace(_again(aids), epochs=chosen), seed=seed, progress=progress), chosen
