r"""How alike two lists for one question are: the measures of FaiRLLM, and rank-biased overlap.

For a first list $R$ and a second one $R'$ of length K, with $r(v)$ and $r'(v)$ the 1-based places:

- Jaccard@K: $|R \cap R'| / |R \cup R'|$.
- SERP*@K: $\sum_{v \in R'} [v \in R]\,(K - r'(v) + 1) \,/\, (K (K + 1) / 2)$, shared products weighted by their place.
- PRAG*@K: of the pairs in the order of $R'$, the share that $R$ orders alike; a pair agrees if its first product is in
  R and stands before the second one there, or the second one is missing.
- RBO: rank-biased overlap, extrapolated, p = 0.9 (Webber, Moffat and Zobel, TOIS 2010, eq. 32).

All are 1 for equal lists and 0 for lists without a product in common. The first three are those of Zhang et al., Is
ChatGPT Fair for Recommendation?, RecSys 2023, arXiv 2305.07609, sections 2.3; their code divides SERP* and PRAG* by
other constants in places, we by those that make equal lists 1. Shorter lists count with their own length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tastemaker.data.ranking import Ranking
    from tastemaker.types import Float32, Int32

PERSISTENCE = 0.9
"""Probability p of RBO's reader to look at the next place."""
MEASURES = ("jaccard", "serp", "prag", "rbo")


def similarities(first: Ranking, second: Ranking, k: int) -> dict[str, Float32]:
    """Compare two lists a question at length k.

    Args:
        first: the lists to compare with, [B, m].
        second: the others, [B, n].
        k: places that are looked at.

    Returns:
        Measure -> float32 [B]; NaN where both lists are empty.
    """
    values = {name: np.full(len(first), np.nan, dtype=np.float32) for name in MEASURES}
    for row in range(len(first)):
        one, other = (ranking.items[row, : min(k, int(ranking.lengths[row]))] for ranking in (first, second))
        if len(one) or len(other):
            values["jaccard"][row] = len(np.intersect1d(one, other)) / len(np.union1d(one, other))
            values["serp"][row] = _serp(one, other)
            values["prag"][row] = _prag(one, other)
            values["rbo"][row] = _rbo(one, other)
    return values


def _serp(first: Int32, second: Int32) -> float:
    k = max(len(first), len(second))
    weights = k - np.arange(len(second))  # K - r' + 1 with 1-based r'
    return float(weights[np.isin(second, first)].sum() / (k * (k + 1) / 2))


def _prag(first: Int32, second: Int32) -> float:
    if len(second) < 2:
        return float(np.array_equal(first, second))
    place = {int(item): at for at, item in enumerate(first)}
    places = np.array([place.get(int(item), len(first) + len(second)) for item in second])
    listed = places < len(first)
    agrees = listed[:, None] & (places[:, None] < places)
    return float(np.triu(agrees, 1).sum() / (len(second) * (len(second) - 1) / 2))


def _rbo(first: Int32, second: Int32) -> float:
    depth = min(len(first), len(second))
    if not depth:
        return 0.0
    shared = np.array([len(np.intersect1d(first[:d], second[:d])) for d in range(1, depth + 1)])
    depths = np.arange(1, depth + 1)
    decay = PERSISTENCE**depths
    return float(shared[-1] / depth * decay[-1] + (1 - PERSISTENCE) / PERSISTENCE * (shared / depths * decay).sum())
