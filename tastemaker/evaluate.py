"""Offline evaluation: one protocol, stated in full beside every figure."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker import metrics
from tastemaker.data.ranking import Ranking
from tastemaker.data.split import leave_one_out
from tastemaker.progress import Progress, silent

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.data.split import Holdout, Split
    from tastemaker.pipeline import Pipeline

DEFAULT_KS = (5, 10)
BLOCK = 256
"""Queries ranked between two steps of the progress bar."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The outcome of one evaluation; every field is JSON-ready.

    Attributes:
        protocol: split, masking, refit, sample, seeds, counts, data fingerprint.
        metrics: measure -> {"value", "low", "high"}: mean over queries and its 95 % bootstrap interval.
        stages: the same measures after each stage, with what the stage changed and its own report.
        cost: seconds to fit (calibration included) and to rank, and what language models were asked.
    """

    protocol: dict[str, Any]
    metrics: dict[str, dict[str, float | None]]
    stages: list[dict[str, Any]]
    cost: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as plain values for JSON."""
        return {"protocol": self.protocol, "metrics": self.metrics, "stages": self.stages, "cost": self.cost}


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


def evaluate(
    pipeline: Pipeline,
    split: Split,
    *,
    ks: tuple[int, ...] = DEFAULT_KS,
    masking: bool = True,
    refit: bool = False,
    sample: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Evaluation:
    """Fit a pipeline on train and measure it on test, ranking every item of the catalogue.

    Args:
        pipeline: any pipeline, fitted or not; it is fitted anew.
        split: train, validation and test.
        ks: list lengths.
        masking: whether items of the history are left out of the lists.
        refit: whether the last fit is on train + validation.
        sample: evaluate this many random test queries instead of all.
        seed: of fitting, sampling and bootstrap.
        progress: shown over fitting and ranking.

    Raises:
        DataError: the split cannot be fitted or asked.
    """
    k = min(max(ks), split.train.n_items)
    started = time.perf_counter()
    fit(pipeline, split, refit=refit, seed=seed, progress=progress)
    fitted = time.perf_counter()
    test = split.test if sample is None else split.test.sample(sample, seed=seed)
    by_stage, short = rank_all(pipeline, test, k, masking=masking, progress=progress)
    ranked = time.perf_counter()
    protocol = {
        **split.protocol,
        "items_ranked": "all",
        "history_masked": masking,
        "fitted_on": "train + validation" if refit else "train",
        "history_at_test": "train + validation",
        "order_of_ties": "file",
        "order_of_equal_scores": "lower item number first",
        "test_queries": len(test),
        "test_queries_available": len(split.test),
        "sample": None if sample is None or sample >= len(split.test) else "random, by seed",
        "targets_in_history": _targets_in_history(test),
        "repeated_targets": "counted; a masked list can never hit them" if masking else "counted",
        "fallback": pipeline.fallback.name if pipeline.fallback else None,
        "fallback_rows": short if pipeline.fallback else 0,
        "interval": "95 % percentile bootstrap over queries, 1,000 resamples",
        "seed": seed,
    }
    cost = {
        "fit_seconds": round(fitted - started, 3),
        "rank_seconds": round(ranked - fitted, 3),
        "language_models": _language_model_costs(pipeline),
    }
    summary = _summary(by_stage[-1], test, split.train, ks, seed=seed)
    return Evaluation(protocol, summary, _stage_reports(pipeline, by_stage, test, ks, seed=seed), cost)


def _summary(
    final: Ranking, test: Holdout, train: Dataset, ks: tuple[int, ...], *, seed: int
) -> dict[str, dict[str, float | None]]:
    """Return every measure of the final lists, those over queries with an interval."""
    measured = metrics.per_query(final, test.targets, ks)
    summary: dict[str, dict[str, float | None]] = {
        name: _with_interval(values, seed=seed) for name, values in measured.items()
    }
    k = max(ks)
    summary[f"coverage@{k}"] = {"value": metrics.coverage(final.items, train.n_items), "low": None, "high": None}
    categories = metrics.category_coverage(final.items, train.items)
    if categories is not None:
        summary[f"category_coverage@{k}"] = {"value": categories, "low": None, "high": None}
    return summary


def _language_model_costs(pipeline: Pipeline) -> list[dict[str, Any]]:
    """Return what each stage's language model was asked since it was loaded: calibration and test together."""
    return [
        {"stage": number, "model": stage.recommender.lm.name, **asdict(stage.recommender.lm.usage)}
        for number, stage in enumerate(pipeline.stages)
        if stage.recommender.lm is not None
    ]


def rank_all(
    pipeline: Pipeline, test: Holdout, k: int, *, masking: bool, progress: Progress = silent
) -> tuple[list[Ranking], int]:
    """Rank every query block by block.

    Returns:
        The lists after each stage, short ones filled by the fallback, so the last are those of the pipeline; and how
        many lists of the last stage were short.
    """
    blocks = [slice(start, start + BLOCK) for start in range(0, len(test), BLOCK)]
    parts: list[list[Ranking]] = [[] for _ in pipeline.stages]
    short = 0
    for rows in progress(blocks, label="ranking"):
        queries = test.queries.take(rows)
        rankings = [ranking.cut(k) for ranking in pipeline.rank_by_stage(queries, k, seen=not masking)]
        short += int((rankings[-1].lengths < k).sum())
        for stage, ranking in zip(parts, rankings, strict=True):
            stage.append(pipeline.filled(ranking, queries, k, seen=not masking))
    return [Ranking.stack(stage, k) for stage in parts], short


def _stage_reports(
    pipeline: Pipeline, by_stage: list[Ranking], test: Holdout, ks: tuple[int, ...], *, seed: int
) -> list[dict[str, Any]]:
    """Say for each stage what its lists are worth, and what it added to or took from the stage before."""
    reports = []
    before = None
    for stage, ranking in zip(pipeline.stages, by_stage, strict=True):
        measured = metrics.per_query(ranking, test.targets, ks)
        report: dict[str, Any] = {
            "model": stage.recommender.name,
            "config": stage.recommender.config.model_dump(mode="json"),
            "metrics": {name: _with_interval(values, seed=seed) for name, values in measured.items()},
        }
        if before is not None:
            report["change"] = {
                name: _with_interval(values - before[name], seed=seed) for name, values in measured.items()
            }
        report |= {"report": stage.recommender.report()}
        reports.append(report)
        before = measured
    return reports


def _with_interval(values: Any, *, seed: int) -> dict[str, float | None]:  # noqa: ANN401  # float32 [B]
    low, high = metrics.bootstrap_interval(values, seed=seed)
    return {"value": float(values.mean()), "low": low, "high": high}


def _targets_in_history(test: Holdout) -> int:
    """Count targets that the shopper had bought before: repeat purchases."""
    n = int(max(test.queries.items.max(initial=0), test.targets.items.max(initial=0))) + 1
    known = test.queries.rows * n + test.queries.items
    return int(np.isin(test.targets.rows * n + test.targets.items, known).sum())
