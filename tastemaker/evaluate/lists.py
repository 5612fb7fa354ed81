"""Ranking all test questions with a fitted pipeline, block by block, with the clock running."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tastemaker import probes
from tastemaker.data.ranking import Ranking
from tastemaker.lm.cache import CachedLM
from tastemaker.progress import Progress, silent

if TYPE_CHECKING:
    from tastemaker.data.queries import Queries
    from tastemaker.data.splits import Holdout
    from tastemaker.pipeline import Pipeline

BLOCK = 256
"""Queries ranked between two steps of the progress bar."""
LATENCY_ASKED, LATENCY_ASKED_LM, LATENCY_SECONDS = 200, 5, 5.0
"""Single requests whose latency is measured, fewer where each asks a language model, and the seconds after which no
further one is begun."""
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


def latency(
    pipeline: Pipeline, queries: Queries, k: int, *, masking: bool, asks_model: bool, seed: int
) -> dict[str, float | int | None]:
    """Ask random queries one by one and return the median and the 95th percentile of their milliseconds.

    Caches of language models are passed by, so that the model is measured and not the disk; None where the model left a
    question without an answer.
    """
    order = np.random.default_rng(seed).permutation(len(queries))[: LATENCY_ASKED_LM if asks_model else LATENCY_ASKED]
    pipeline.rank(queries.take([int(order[0])]), k, seen=not masking)  # warm: tables are made once, not by request
    taken: list[float] = []
    before = probes.counts_of(pipeline)
    begun = time.perf_counter()
    with _past_caches(pipeline):
        for row in order:
            started = time.perf_counter()
            if taken and started - begun > LATENCY_SECONDS:
                break
            pipeline.rank(queries.take([int(row)]), k, seen=not masking)
            taken.append(1000 * (time.perf_counter() - started))
    if probes.failures(probes.counts_since(pipeline, before)):
        return {"p50": None, "p95": None, "asked": len(taken)}
    return {
        "p50": round(float(np.quantile(taken, 0.5)), 3),
        "p95": round(float(np.quantile(taken, 0.95)), 3),
        "asked": len(taken),
    }


def with_newest(test: Holdout, length: int | None) -> Queries:
    """Return the questions with so short a history; who asks stays known, so that no model meets him as a stranger."""
    return test.queries if length is None else test.queries.newest(length)


def _past_caches(pipeline: Pipeline) -> ExitStack:
    """Let the pipeline's language models be asked themselves, not their caches, for one `with`."""
    with ExitStack() as stack:
        for stage in pipeline.stages:
            if isinstance(stage.recommender.lm, CachedLM):
                stack.enter_context(stage.recommender.lm.bypassed())
        return stack.pop_all()
