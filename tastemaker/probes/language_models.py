"""What language-model stages did with what they were asked, and how much their opinion hangs on the order of asking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker.data.ranking import Ranking
from tastemaker.probes.means import mean_with_interval
from tastemaker.probes.similarity import MEASURES, similarities

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tastemaker.abilities import Judging
    from tastemaker.data.queries import Queries
    from tastemaker.pipeline import Pipeline
    from tastemaker.types import Float32

TOP = 5
"""List length of the overlap; lists that are no longer than this have the same top whatever the order."""


def counts_of(pipeline: Pipeline) -> dict[int, dict[str, int]]:
    """Return by stage number what each language-model stage counted since its fit; take one before ranking."""
    return {
        number: dict(report["counts"])
        for number, stage in enumerate(pipeline.stages)
        if stage.recommender.lm is not None and "counts" in (report := stage.recommender.report())
    }


def counts_since(pipeline: Pipeline, before: Mapping[int, Mapping[str, int]]) -> dict[int, dict[str, int]]:
    """Return by stage number what each language-model stage counted since `before`, zeros left out."""
    return {
        number: {name: new for name, count in counts.items() if (new := count - before.get(number, {}).get(name, 0))}
        for number, counts in counts_of(pipeline).items()
    }


def failures(counts: Mapping[int, Mapping[str, int]]) -> int:
    """Return how many questions were left without a usable answer, over all stages."""
    return sum(count for own in counts.values() for name, count in own.items() if name.startswith("failed"))


def language_models(
    pipeline: Pipeline, asked: int, *, since: Mapping[int, Mapping[str, int]] | None = None
) -> list[dict[str, Any]]:
    """Say for each language-model stage what became of its questions.

    Args:
        pipeline: after ranking.
        asked: how many queries were ranked.
        since: `counts_of(pipeline)` before that ranking; without it everything since the fit counts.

    Returns:
        For each such stage, in whole numbers: queries "asked" and "answered", "parse failures" (answers without a
        single candidate), "other failures" (no answer: errors, limits), and within the answers "out of candidates" and
        "repeated"; of these four, a query whose list takes several windows may have several. "fallback rate" is the
        share of the queries that kept the retriever's order: the model failed, or was not asked because its weight is
        0 or there was nothing to choose.
    """
    found = []
    for number, new in counts_since(pipeline, since or {}).items():
        failed = failures({number: new})
        unreadable = new.get("failed: unreadable", 0)
        answered = new.get("answered", 0) - new.get("further windows", 0)
        found.append(
            {
                "stage": number,
                "model": pipeline.stages[number].recommender.name,
                "asked": asked,
                "answered": answered,
                "parse failures": unreadable,
                "other failures": failed - unreadable,
                "out of candidates": new.get("invalid letters", 0),
                "repeated": new.get("repeated letters", 0),
                "fallback rate": 1 - answered / asked if asked else None,
            }
        )
    return found


def order_sensitivity(judge: Judging, queries: Queries, candidates: Ranking, *, seed: int) -> dict[str, Any]:
    """Ask twice, the second time with the same candidates in a random order, and compare the two answers.

    A steady judge gives the same order: tau and overlaps of 1. One that chooses by position alone gives a tau near 0.

    Args:
        judge: a re-ranker, asked for its own order, before that is mixed with the retriever's.
        queries: B histories; each costs two answers.
        candidates: the retriever's lists, [B, m].
        seed: of the random order, and of the intervals.

    Returns:
        "asked", "answered" (queries with an order both times), "share_answered"; then means over those queries with
        95 % intervals: "kendall_tau" (tau-b; Kendall, 1945), "overlap@1" (the same first item) and, over queries with
        more than five candidates, "overlap@5" and the likeness of the first five by `similarities`: "jaccard@5",
        "serp@5", "prag@5", "rbo@5". A mean over nothing is None.
    """
    first = judge.own_order(queries, candidates)
    second = judge.own_order(queries, _shuffled(first, seed=seed))
    taus, same, overlaps, rows = [], [], [], []
    for row in range(len(queries)):
        m = int(first.lengths[row])
        before, after = first.items[row, :m], second.items[row, : second.lengths[row]]
        if not m or set(before.tolist()) != set(after.tolist()):
            continue
        tau = _tau(first.scores[row, np.argsort(before)], second.scores[row, np.argsort(after)])
        if tau is None:
            continue
        taus.append(tau)
        same.append(before[0] == after[0])
        if m > TOP:
            overlaps.append(len(np.intersect1d(before[:TOP], after[:TOP])) / TOP)
            rows.append(row)
    alike = similarities(first.take(rows), second.take(rows), TOP)
    return {
        "asked": len(queries),
        "answered": len(taus),
        "share_answered": len(taus) / len(queries) if len(queries) else None,
        "kendall_tau": mean_with_interval(taus, seed=seed),
        "overlap@1": mean_with_interval(same, seed=seed),
        f"overlap@{TOP}": mean_with_interval(overlaps, seed=seed),
        **{f"{name}@{TOP}": mean_with_interval(alike[name].tolist(), seed=seed) for name in MEASURES},
    }


def _shuffled(ranking: Ranking, *, seed: int) -> Ranking:
    """Return the same lists in random order; empty places stay at the end."""
    rng = np.random.default_rng(seed)
    items = ranking.items.copy()
    for row, length in enumerate(ranking.lengths):
        items[row, :length] = rng.permutation(items[row, :length])
    falling = -np.arange(items.shape[1], dtype=np.float32)
    return Ranking(items, np.where(items < 0, -np.inf, falling).astype(np.float32))


def _tau(first: Float32, second: Float32) -> float | None:
    """Return Kendall's tau-b of two score arrays of the same items; None where one of them knows no order."""
    one, other = (np.sign(scores[:, None] - scores) for scores in (first, second))  # [m, m]
    pairs = np.sqrt((one != 0).sum() * (other != 0).sum())
    return float((one * other).sum() / pairs) if pairs else None
