"""What several recommenders say of the same products, side by side, and the weights that serve best.

Each gives its best candidates; what it says of one is made comparable: "share" is the score over the sum of the list's,
"softmax" is exp of the score over the sum, "rank" the reciprocal rank 1 / (60 + place) (Cormack et al., SIGIR 2009).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.data.ranking import Ranking
    from tastemaker.types import Bool, Float32, Float64, Int32, Int64

Form = Literal["share", "softmax", "rank"]
FORMS: tuple[Form, ...] = ("share", "softmax", "rank")
RRF = 60.0
STEPS = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
"""Weights that are tried for one member while the others stand still; the best member begins at 1."""
ROUNDS = 3
CHOSEN_AT = 10
NOTHING = np.iinfo(np.int32).max


@dataclass(frozen=True, slots=True)
class Opinions:
    """Every candidate of each question once, with what each member says of it in every form.

    Attributes:
        items: [B, C], in order of their numbers, -1 at the end.
        forms: float32 [B, C, members] for each form; 0 where a member does not list the candidate.
    """

    items: Int32
    forms: dict[Form, Float32]

    @classmethod
    def of(cls, rankings: Sequence[Ranking]) -> Opinions:
        """Gather the members' lists, [B, m] each."""
        items, places = _union([ranking.items for ranking in rankings])
        shape = (len(items), items.shape[1] + 1, len(rankings))  # one place more, for what is no candidate
        forms: dict[Form, Float32] = {form: np.zeros(shape, dtype=np.float32) for form in FORMS}
        for number, (ranking, at) in enumerate(zip(rankings, places, strict=True)):
            for form, values in _comparable(ranking).items():
                np.put_along_axis(forms[form][:, :, number], at, values, axis=1)
        return cls(items, {form: values[:, :-1] for form, values in forms.items()})

    def weighted(self, forms: Sequence[Form], weights: Float64) -> Float32:
        """Return the weighted sum of one form of each member's opinion, [B, C]; -inf beside -1."""
        total = np.zeros(self.items.shape)
        for number, (form, weight) in enumerate(zip(forms, weights, strict=True)):
            if weight:
                total += weight * self.forms[form][:, :, number]
        return np.where(self.items >= 0, total, -np.inf).astype(np.float32)

    def take(self, rows: Int64) -> Opinions:
        """Return the questions at `rows`."""
        return Opinions(self.items[rows], {form: values[rows] for form, values in self.forms.items()})

    def of_members(self, members: Sequence[int]) -> Opinions:
        """Return the same candidates with the opinions of some members only."""
        return Opinions(self.items, {form: values[:, :, list(members)] for form, values in self.forms.items()})


def ndcg(scores: Float32, items: Int32, first: Int32) -> float:
    """Return NDCG@10 of scored candidates [B, C] against one target each; a target that nobody names counts as 0.

    Of equal scores the lower item number goes first, as in lists.
    """
    target = items == first[:, None]
    answered = target.any(axis=1)
    true = scores[target][:, None]
    given, lower = scores[answered], items[answered] < first[answered][:, None]
    ahead = ((given > true) | ((given == true) & lower & (items[answered] >= 0))).sum(axis=1)
    return float((1 / np.log2(ahead[ahead < CHOSEN_AT] + 2)).sum() / max(1, len(first)))


def best_forms(opinions: Opinions, first: Int32) -> tuple[list[Form], list[float]]:
    """Return the forms that serve pairs of the best member with each other one best, and each member's own NDCG."""
    members = opinions.forms["rank"].shape[2]
    alone = [
        ndcg(opinions.weighted(["rank"] * members, np.eye(members)[number]), opinions.items, first)
        for number in range(members)
    ]
    best = int(np.argmax(alone))
    found: dict[Form, tuple[float, list[Form]]] = {}
    for own in FORMS:
        forms: list[Form] = [own] * members
        total = 0.0
        for number in range(members):
            if number != best:
                pair = opinions.of_members([best, number])
                value, forms[number] = max((_best_of_two(pair, [own, form], first), form) for form in FORMS)
                total += value
        found[own] = total, forms
    return max(found.values())[1], alone


def ascend(opinions: Opinions, forms: Sequence[Form], first: Int32, *, start: int) -> Float64:
    """Improve one weight at a time by NDCG@10, from the single member `start`, until nothing gets better."""
    weights = np.zeros(len(forms))
    weights[start] = 1.0
    best = ndcg(opinions.weighted(forms, weights), opinions.items, first)
    for _ in range(ROUNDS):
        before = best
        for number in range(len(weights)):
            if number == start:
                continue
            for step in STEPS:
                tried = weights.copy()
                tried[number] = step
                value = ndcg(opinions.weighted(forms, tried), opinions.items, first)
                if value > best + 1e-9:
                    best, weights = value, tried
        if best <= before:
            break
    return np.asarray(weights / weights.sum())


def _best_of_two(pair: Opinions, forms: Sequence[Form], first: Int32) -> float:
    """Return the best NDCG@10 of two members over a few weights of the second."""
    return max(ndcg(pair.weighted(forms, np.array([1.0, weight])), pair.items, first) for weight in (0.1, 0.3, 1.0))


def _comparable(ranking: Ranking) -> dict[Form, Float32]:
    """Return all forms of a member's scores, [B, m] each; rows sum to 1, or to 0 where there is nothing to share."""
    there = ranking.items >= 0
    scores = np.where(there, ranking.scores, 0).astype(np.float64)
    lowest = np.minimum(scores.min(axis=1, keepdims=True, initial=0), 0)
    highest = np.where(there, ranking.scores, -np.inf).max(axis=1, keepdims=True, initial=-1e30)
    values: dict[Form, Float64] = {
        "share": np.where(there, scores - lowest, 0),
        "softmax": np.where(there, np.exp(np.minimum(scores - highest, 0)), 0),
        "rank": np.where(there, 1 / (RRF + 1 + np.arange(ranking.items.shape[1])), 0),
    }
    found: dict[Form, Float32] = {}
    for form, value in values.items():
        total = value.sum(axis=1, keepdims=True)
        found[form] = np.divide(value, total, out=np.zeros_like(value), where=total > 0).astype(np.float32)
    return found


def _union(lists: Sequence[Int32]) -> tuple[Int32, list[Int64]]:
    """Return each row's distinct items in order, [B, C], -1 filled, and where each list's items stand in it.

    What is no item (-1) stands at place C.
    """
    together = np.concatenate(lists, axis=1)
    keys = np.where(together < 0, NOTHING, together)
    order = np.argsort(keys, axis=1, kind="stable")
    ordered = np.take_along_axis(keys, order, 1)
    new = np.ones(ordered.shape, dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    new &= ordered != NOTHING
    width = int(new.sum(axis=1).max(initial=0))
    place_in_order = np.where(ordered == NOTHING, width, np.cumsum(new, axis=1) - 1)
    places = np.empty(together.shape, dtype=np.int64)
    np.put_along_axis(places, order, place_in_order, 1)
    items = np.full((len(together), width + 1), -1, dtype=np.int32)
    np.put_along_axis(items, places, together, 1)
    ends = np.cumsum([part.shape[1] for part in lists])[:-1]
    return items[:, :width], np.split(places, ends, axis=1)


def hits(items: Int32, first: Int32) -> Bool:
    """Return which candidate is the target, [B, C]."""
    return np.asarray(items == first[:, None])
