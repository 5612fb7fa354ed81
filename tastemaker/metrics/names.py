"""What the measures are called, and which direction is better. Definitions: docs/measures.md."""

from __future__ import annotations

from typing import Literal

Better = Literal["higher", "lower", "zero"]

BETTER: dict[str, Better] = {
    **dict.fromkeys(("recall", "hit_rate", "ndcg", "mrr", "map", "precision"), "higher"),
    **dict.fromkeys(("coverage", "category_coverage", "novelty", "diversity", "category_diversity"), "higher"),
    **dict.fromkeys(("serendipity", "revenue_recall", "revenue_ndcg"), "higher"),
    **dict.fromkeys(("gini", "miscalibration", "mae", "rmse"), "lower"),
    "popularity_lift": "zero",
}
"""Measure, without "@k" -> whether the higher value is better, the lower, or the one nearer to zero."""


def better(measure: str) -> Better:
    """Return which direction is better for a measure such as "ndcg@10"; an unknown one counts as "higher"."""
    return BETTER.get(measure.partition("@")[0], "higher")


def worth(measure: str, value: float) -> float:
    """Return a number that grows with how good `value` is."""
    return {"higher": value, "lower": -value, "zero": -abs(value)}[better(measure)]
