r"""Mixing a re-ranker's order into its retriever's, with a weight that is chosen on validation questions.

The score of a candidate is $(1 - w)\,d(r_{retriever}) + w\,d(r_{model})$ with $d(r) = 1/\log_2(r + 2)$ of its 0-based
rank $r$, plus 1 for candidates that the model was shown. Whatever the model says, a candidate rises at most `max_rise`
places above its place in the retriever's list: what a text can talk a model into has a bound that does not depend on
the model (OWASP LLM Top 10:2026, LLM01: bound the blast radius). Falling is not bounded: somebody has to make room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tastemaker import metrics
from tastemaker.data.ranking import Ranking, sort_lists
from tastemaker.defences import defended

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.data.queries import Queries
    from tastemaker.types import Int32, Int64

WEIGHTS = tuple(round(step / 10, 1) for step in range(11))
"""Weights tried on validation."""
CERTAINTY = 2.8
"""Standard errors by which a weight must help on validation before the model takes part at all.

The chance that any of ten useless weights passes is then at most 10 x 0.0026 (one-sided normal, Bonferroni), for a
model that these questions had no part in. Where they also ended its training (`TrainedReranker`), the best of E judged
epochs is tried, and the bound is E times as high.
"""
CHOSEN_AT = 10
"""List length of the NDCG by which the weight is chosen."""


def mixed(candidates: Ranking, ranks: Sequence[Int32], weight: float, *, max_rise: int | None = None) -> Ranking:
    """Mix rank discounts of retriever and model; candidates that the model did not see stay below in their order.

    Args:
        candidates: the retriever's lists, [B, m].
        ranks: the model's 0-based ranks of the first candidates of each list; empty where it has no opinion.
        weight: of the model, 0 to 1.
        max_rise: places that a candidate may rise at most, see `capped`; None for no bound.
    """
    width = candidates.items.shape[1]
    discount = (1.0 / np.log2(np.arange(width) + 2)).astype(np.float32)
    scores = np.tile(discount, (len(candidates), 1))
    for row, given in enumerate(ranks):
        m = len(given)
        if m and weight > 0:
            scores[row, :m] = (1 - weight) * discount[:m] + weight * discount[given] + 1.0
            # + 1 lifts what the model saw above the rest, whatever the weight
    scores[candidates.items < 0] = -np.inf
    ranking = sort_lists(candidates.items, scores, width)
    return ranking if max_rise is None else capped(candidates, ranking, max_rise)


def capped(candidates: Ranking, ranking: Ranking, max_rise: int) -> Ranking:
    """Return a ranking of the candidates in which none stands more than `max_rise` places above where it was offered.

    The places are filled from the top, each with the best-ranked candidate that may stand there already; so a list
    without such rises stays as it is, bit by bit. Scores are lowered where the order changes, and never tie there.
    Where some candidates are not ranked, places are counted among those that are.

    With the defences off (`tastemaker.defences`) nothing is capped.

    Args:
        candidates: as they were offered, [B, m], best first.
        ranking: the same candidates in another order, or some of them, [B, k].
        max_rise: 0 keeps the offered order.
    """
    if not defended():
        return ranking
    items, scores = ranking.items.copy(), ranking.scores.copy()
    for row in range(len(ranking)):
        listed = ranking.items[row, : ranking.lengths[row]]
        offered = _places(candidates.items[row], listed)
        if not (offered - np.arange(len(listed)) > max_rise).any():
            continue
        waiting, order = list(range(len(listed))), []
        for at in range(len(listed)):
            order.append(waiting.pop(next(n for n, one in enumerate(waiting) if offered[one] - at <= max_rise)))
        items[row, : len(order)] = listed[order]
        lowest = np.float32(np.inf)
        for at, one in enumerate(order):
            lowest = min(ranking.scores[row, one], np.nextafter(lowest, np.float32(-np.inf)))
            scores[row, at] = lowest
    return Ranking(items, scores)


def _places(offered: Int32, listed: Int32) -> Int64:
    """Return the 0-based place of each listed item among the listed ones, in the order in which they were offered."""
    place = {int(item): at for at, item in reversed(list(enumerate(offered)))}
    ranks = np.empty(len(listed), dtype=np.int64)
    ranks[np.argsort([place[int(item)] for item in listed], kind="stable")] = np.arange(len(listed))
    return ranks


def try_weights(
    candidates: Ranking, ranks: Sequence[Int32], targets: Queries, *, max_rise: int | None = None
) -> list[dict[str, float]]:
    """Return NDCG at each weight, and the paired gain over weight 0 with its standard error."""
    name = f"ndcg@{CHOSEN_AT}"
    lists = {weight: mixed(candidates, ranks, weight, max_rise=max_rise) for weight in WEIGHTS}
    values = {
        weight: metrics.per_query(ranking, targets, (CHOSEN_AT,))[name].astype(np.float64)
        for weight, ranking in lists.items()
    }
    gains = {weight: value - values[0.0] for weight, value in values.items()}
    return [
        {
            "weight": weight,
            name: float(values[weight].mean()),
            "gain": float(gain.mean()),
            "standard_error": float(gain.std(ddof=1) / np.sqrt(len(gain))),
        }
        for weight, gain in gains.items()
    ]


def best_weight(trials: Sequence[dict[str, float]]) -> float:
    """Return the weight with the largest gain among those that help for certain, 0 where none does."""
    helpful = [trial for trial in trials if trial["gain"] > CERTAINTY * trial["standard_error"] > 0]
    return max(helpful, key=lambda trial: trial["gain"])["weight"] if helpful else 0.0
