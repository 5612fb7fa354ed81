"""Ranking all test questions with a fitted pipeline, block by block, with the clock running."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tastemaker.data.ranking import Ranking
from tastemaker.progress import Progress, silent

if TYPE_CHECKING:
    from tastemaker.data.queries import Queries
    from tastemaker.data.split import Holdout
    from tastemaker.pipeline import Pipeline

BLOCK = 256
"""Queries ranked between two steps of the progress bar."""
LATENCY_ASKED, LATENCY_SECONDS = 200, 5.0
"""Single requests whose latency is measured, and the seconds after which no further one is begun."""
COLD_LENGTHS = (0, 1, 2, 3, 5, 10, 20)
"""Newest purchases shown to the recommender in the cold-start curve, beside the whole history."""
COLD_ASKED = 2000
"""Shoppers asked for each point of the cold-start curve."""


@dataclass(frozen=True, slots=True)
class Lists:
    """What a pipeline answered.

    Attributes:
        by_stage: the lists after each stage, filled by the fallback, so the last are those of the pipeline.
        short: lists of the last stage that the fallback had to fill, or that stay short without one.
        stage_seconds: wall time in each stage.
        seconds: wall time over all.
    """

    by_stage: list[Ranking]
    short: int
    stage_seconds: list[float]
    seconds: float

    @property
    def final(self) -> Ranking:
        """The lists of the pipeline."""
        return self.by_stage[-1]


def rank_all(pipeline: Pipeline, test: Holdout, k: int, *, masking: bool, progress: Progress = silent) -> Lists:
    """Rank every query, with lists of length k after each stage."""
    blocks = [slice(start, start + BLOCK) for start in range(0, len(test), BLOCK)]
    parts: list[list[Ranking]] = [[] for _ in pipeline.stages]
    stage_seconds = [0.0] * len(pipeline.stages)
    short = 0
    started = time.perf_counter()
    for rows in progress(blocks, label="ranking"):
        queries = test.queries.take(rows)
        rankings = pipeline.rank_by_stage(queries, k, seen=not masking, seconds=stage_seconds)
        rankings = [ranking.cut(k) for ranking in rankings]
        short += int((rankings[-1].lengths < k).sum())
        for stage, ranking in zip(parts, rankings, strict=True):
            stage.append(pipeline.filled(ranking, queries, k, seen=not masking))
    seconds = time.perf_counter() - started
    return Lists([Ranking.stack(stage, k) for stage in parts], short, stage_seconds, seconds)


def latency(pipeline: Pipeline, queries: Queries, k: int, *, masking: bool, seed: int) -> dict[str, float | int]:
    """Ask random queries one by one and return the median and the 95th percentile of their milliseconds."""
    order = np.random.default_rng(seed).permutation(len(queries))[:LATENCY_ASKED]
    pipeline.rank(queries.take([int(order[0])]), k, seen=not masking)  # warm: caches are filled once, not by request
    taken: list[float] = []
    begun = time.perf_counter()
    for row in order:
        started = time.perf_counter()
        if taken and started - begun > LATENCY_SECONDS:
            break
        pipeline.rank(queries.take([int(row)]), k, seen=not masking)
        taken.append(1000 * (time.perf_counter() - started))
    return {
        "p50": round(float(np.quantile(taken, 0.5)), 3),
        "p95": round(float(np.quantile(taken, 0.95)), 3),
        "asked": len(taken),
    }


def with_newest(test: Holdout, length: int | None) -> Queries:
    """Return the questions as a shopper of so short a history would ask them: unknown, with few purchases."""
    queries = test.queries if length is None else test.queries.newest(length)
    return type(queries)(queries.offsets, queries.items, queries.texts)
