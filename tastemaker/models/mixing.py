r"""Mixing a re-ranker's order into its retriever's, with a weight that is chosen on validation questions.

The score of a candidate is $(1 - w)\,d(r_{retriever}) + w\,d(r_{model})$ with $d(r) = 1/\log_2(r + 2)$ of its 0-based
rank $r$, plus 1 for candidates that the model was shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tastemaker import metrics
from tastemaker.data.ranking import Ranking, sort_lists

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.data.queries import Queries
    from tastemaker.types import Int32

WEIGHTS = tuple(round(step / 10, 1) for step in range(11))
"""Weights tried on validation."""
CERTAINTY = 2.8
"""Standard errors by which a weight must help on validation before the model takes part at all.

The chance that any of ten useless weights passes is then at most 10 x 0.0026 (one-sided normal, Bonferroni).
"""
CHOSEN_AT = 10
"""List length of the NDCG by which the weight is chosen."""


def mixed(candidates: Ranking, ranks: Sequence[Int32], weight: float) -> Ranking:
    """Mix rank discounts of retriever and model; candidates that the model did not see stay below in their order.

    Args:
        candidates: the retriever's lists, [B, m].
        ranks: the model's 0-based ranks of the first candidates of each list; empty where it has no opinion.
        weight: of the model, 0 to 1.
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
    return sort_lists(candidates.items, scores, width)


def try_weights(candidates: Ranking, ranks: Sequence[Int32], targets: Queries) -> list[dict[str, float]]:
    """Return NDCG at each weight, and the paired gain over weight 0 with its standard error."""
    name = f"ndcg@{CHOSEN_AT}"
    values = {
        weight: metrics.per_query(mixed(candidates, ranks, weight), targets, (CHOSEN_AT,))[name].astype(np.float64)
        for weight in WEIGHTS
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
