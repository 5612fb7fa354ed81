r"""Boosted trees that put candidates in order by what members say of them and by plain facts of items and histories.

LambdaMART (Burges, "From RankNet to LambdaRank to LambdaMART", MSR-TR-2010-82) as in LightGBM. A weighted sum trusts a
member alike for every shopper and product; trees learn where to trust which, by how sure the members are, how many
agree, and how long the history is.

Facts of items (how often and how lately they were bought) help too, and are left out unless asked for: in data that
keep only products with, say, 5 purchases, a product with 4 in the training part is sure to be among the held-out
ones, and where products are held out as new ones, a count of 0 gives them away. Trees would learn that, which is worth
nothing in a shop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker.errors import MissingExtra
from tastemaker.models.parts.ensemble.blending import CHOSEN_AT, FORMS, Opinions, hits

if TYPE_CHECKING:
    from collections.abc import Sequence

    import lightgbm
    from numpy.typing import NDArray

    from tastemaker.data.queries import Queries
    from tastemaker.types import Bool, Float32, Float64, Int32, Int64

DEPTH = 150
"""Candidates of a question that the trees put in order: the best ones by the weighted sum."""
LEAVES, RATE, ROUNDS, PATIENCE = 15, 0.05, 400, 40
FOLDS = 4
"""Parts of the questions; the trees of three are judged on the fourth."""
LEAST_IN_LEAF = 100
"""Candidates that a leaf stands for at least; small calibration sets get smaller leaves."""
ITEM_FACTS = ("log count", "share of purchases that are newest", "mean place", "log mean age", "log history length")
QUERY_FACTS = ("log count of newest", "mean log count", "mean place of newest")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the training log tells of items, float32 [n, ITEM_FACTS].

    Count of purchases; share of them that are their shopper's newest; mean place in the history from 0 (oldest) to 1;
    mean number of later purchases; mean length of the histories.
    """

    items: Float32

    @classmethod
    def of(cls, histories: Queries, n_items: int) -> Facts:
        """Count in the histories of the training data."""
        lengths = histories.lengths[histories.rows]
        ages = histories.offsets[1:][histories.rows] - 1 - np.arange(len(histories.items))
        places = (lengths - 1 - ages) / np.maximum(lengths - 1, 1)
        counts = np.bincount(histories.items, minlength=n_items)

        def mean(values: NDArray[Any]) -> Float64:
            return np.bincount(histories.items, values, minlength=n_items) / np.maximum(counts, 1)

        columns = [np.log1p(counts), mean(ages == 0), mean(places), np.log1p(mean(ages)), np.log1p(mean(lengths))]
        return cls(np.stack(columns, axis=1).astype(np.float32))

    def of_queries(self, queries: Queries) -> Float32:
        """Return facts of histories, float32 [B, QUERY_FACTS]; zeros for an empty one."""
        found = np.zeros((len(queries), len(QUERY_FACTS)), dtype=np.float32)
        asked = queries.lengths > 0
        newest = queries.items[queries.offsets[1:][asked] - 1]
        counts = self.items[:, 0]
        sums = np.bincount(queries.rows, counts[queries.items], minlength=len(queries))
        found[asked, 0], found[asked, 2] = counts[newest], self.items[newest, 2]
        found[asked, 1] = sums[asked] / queries.lengths[asked]
        return found


def names(members: Sequence[str], *, facts: bool) -> list[str]:
    """Return what each number of a candidate says, in the order of `Asked.features`."""
    said = [f"{form} of {member}" for form in FORMS for member in members]
    told = [*ITEM_FACTS, *QUERY_FACTS] if facts else []
    return ["weighted sum", *said, "members that name it", "best rank", "log length of the history", *told]


def part_of(trees: lightgbm.Booster, shares: Float64, *, weighted: float) -> float:
    """Return which part of what trees gain comes from some share of each member.

    Args:
        trees: the trees.
        shares: of each member, [M].
        weighted: the same share of the weighted sum.
    """
    of_all = float(shares.mean())  # how many members name a candidate, and the best rank, come from all of them
    gains = trees.feature_importance("gain")
    told = np.zeros(len(gains))
    known = [weighted, *np.tile(shares, len(FORMS)), of_all, of_all]
    told[: len(known)] = known
    return float(gains @ told / max(gains.sum(), 1e-12))


@dataclass(frozen=True, slots=True)
class Asked:
    """Questions with all that trees may know of them.

    Attributes:
        opinions: what the members say of the candidates.
        weighted: the weighted sum of it, [B, C].
        facts: of the items, or None.
        queries: the histories.
    """

    opinions: Opinions
    weighted: Float32
    facts: Facts | None
    queries: Queries

    def take(self, rows: Int64) -> Asked:
        """Return the questions at `rows`."""
        return Asked(self.opinions.take(rows), self.weighted[rows], self.facts, self.queries.take(rows))

    def features(self) -> tuple[Int64, Float32]:
        """Describe the candidates with the best weighted sums.

        Returns:
            Their columns in `opinions`, [B, D], and numbers, float32 [B, D, F].
        """
        depth = min(DEPTH, self.weighted.shape[1])
        columns = np.sort(np.argsort(-self.weighted, axis=1, kind="stable")[:, :depth], axis=1)
        items = np.take_along_axis(self.opinions.items, columns, 1)
        said = {
            form: np.take_along_axis(values, columns[:, :, None], 1) for form, values in self.opinions.forms.items()
        }
        parts = [
            np.where(items >= 0, np.take_along_axis(self.weighted, columns, 1), 0)[:, :, None],
            *(said[form] for form in FORMS),
            (said["rank"] > 0).sum(axis=2, keepdims=True),
            said["rank"].max(axis=2, keepdims=True),
            _spread(np.log1p(self.queries.lengths)[:, None], depth),
        ]
        if self.facts is not None:
            parts += [self.facts.items[np.maximum(items, 0)], _spread(self.facts.of_queries(self.queries), depth)]
        return columns, np.concatenate(parts, axis=2, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Lists:
    """Candidates to learn from, one question's after the other's.

    Attributes:
        numbers: of each candidate, float32 [N, F].
        target: which candidate is a target, [N].
        sizes: candidates of each question, [Q].
    """

    numbers: Float32
    target: Bool
    sizes: Int64

    @classmethod
    def of(cls, asked: Asked, first: Int32) -> Lists:
        """Keep the questions whose target is among the candidates that are looked at."""
        columns, numbers = asked.features()
        target = np.take_along_axis(hits(asked.opinions.items, first), columns, 1)
        answered: Bool = np.asarray(target.any(axis=1))
        there: Bool = (np.take_along_axis(asked.opinions.items, columns, 1) >= 0) & answered[:, None]
        return cls(numbers[there], target[there], there.sum(axis=1)[answered])

    @property
    def weighted(self) -> Float32:
        """The weighted sum of what the members say of each candidate, [N]."""
        return self.numbers[:, 0]

    def data(self) -> lightgbm.Dataset:
        """Return them as LightGBM reads them."""
        import lightgbm

        return lightgbm.Dataset(self.numbers, self.target.astype(np.int32), group=self.sizes)

    def folds(self, *, seed: int) -> list[tuple[Int64, Int64]]:
        """Part the questions into `FOLDS`; return for each the candidates of all the others, and its own."""
        part = np.random.default_rng(seed).permutation(len(self.sizes)) % FOLDS
        of_candidates = np.repeat(part, self.sizes)
        return [(np.flatnonzero(of_candidates != fold), np.flatnonzero(of_candidates == fold)) for fold in range(FOLDS)]


def grow(lists: Lists, *, rounds: int, seed: int) -> lightgbm.Booster:
    """Grow so many trees."""
    import lightgbm

    return lightgbm.train(_settings(lists, seed), lists.data(), rounds)


def tried(lists: Lists, *, seed: int) -> tuple[int, Float64]:
    """Try trees on questions that they were not grown on, each fold of the questions by the trees of the others.

    One part of the questions would do to stop growing, but NDCG of a few thousand is so noisy that it stops anywhere.

    Returns:
        The number of trees after which the mean NDCG@10 over the folds gets no better, and what so many trees of the
        other folds say of each candidate, [N].
    """
    import lightgbm

    folds = lists.folds(seed=seed)
    found = lightgbm.cv(
        _settings(lists, seed),
        lists.data(),
        ROUNDS,
        folds=folds,
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
        return_cvbooster=True,
    )
    boosters: Any = found["cvbooster"]
    rounds = max(1, boosters.best_iteration)
    said = np.zeros(len(lists.target))
    for (_, held_out), trees in zip(folds, boosters.boosters, strict=True):
        said[held_out] = trees.predict(lists.numbers[held_out], num_iteration=rounds)
    return rounds, said


def ndcg(lists: Lists, scores: Float32 | Float64) -> float:
    """Return the mean NDCG@10 of scored candidates, [N], each question having one target; ties count half ahead."""
    question = np.repeat(np.arange(len(lists.sizes)), lists.sizes)
    true = np.zeros(len(lists.sizes))
    true[question[lists.target]] = scores[lists.target]
    above = np.bincount(question, scores > true[question], minlength=len(lists.sizes))
    equal = np.bincount(question, scores == true[question], minlength=len(lists.sizes)) - 1
    places = above + equal / 2
    return float(np.where(places < CHOSEN_AT, 1 / np.log2(places + 2), 0).mean())


def _settings(lists: Lists, seed: int) -> dict[str, Any]:
    return {
        "objective": "lambdarank",
        "metric": "ndcg",
        "eval_at": [CHOSEN_AT],
        "num_leaves": LEAVES,
        "learning_rate": RATE,
        "min_data_in_leaf": max(1, min(LEAST_IN_LEAF, len(lists.target) // 1000)),
        "lambda_l2": 1.0,
        "feature_fraction": 0.6,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }


def order(trees: lightgbm.Booster, asked: Asked) -> Float32:
    """Return a score of every candidate, [B, C]: the trees' for those that they look at, the others in order below."""
    columns, numbers = asked.features()
    size, depth, width = numbers.shape
    if not numbers.size:
        return asked.weighted
    found = np.asarray(trees.predict(numbers.reshape(size * depth, width)), dtype=np.float64).reshape(size, depth)
    places = np.argsort(np.argsort(-asked.weighted, axis=1, kind="stable"), axis=1, kind="stable")
    scores = found.min(axis=1, keepdims=True) - 1 - places
    np.put_along_axis(scores, columns, found, 1)
    return np.where(asked.opinions.items >= 0, scores, -np.inf).astype(np.float32)


def read(text: str) -> lightgbm.Booster:
    """Return trees from LightGBM's text format.

    Raises:
        ValueError: it is none.
    """
    import lightgbm

    try:
        return lightgbm.Booster(model_str=text)
    except lightgbm.basic.LightGBMError as error:
        raise ValueError(str(error)) from error


def require_lightgbm() -> None:
    """Refuse to go on without LightGBM.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import lightgbm  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra('blend with combine = "trees"', "lightgbm", "ranking") from error


def _spread(of_queries: NDArray[Any], depth: int) -> NDArray[Any]:
    """Return what is said of each question beside each of its candidates, [B, f] -> [B, depth, f]."""
    return np.broadcast_to(of_queries[:, None, :], (len(of_queries), depth, of_queries.shape[1]))
