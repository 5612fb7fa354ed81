"""Recommenders in parallel: a weighted sum of what several members say, with weights learnt on validation.

Members that err differently help each other, counts and networks above all. Each member gives its best `pool`
candidates; what it says of one is made comparable between members ("share": its score over the sum of the list's,
"softmax": exp of the score over the sum, "rank": the reciprocal rank 1 / (60 + place); Cormack et al., SIGIR 2009), and
a weighted sum decides. Which form and which weights is chosen by NDCG@10 on validation questions, one coordinate at a
time from the best single member, so a member that does not help gets the weight 0.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from tastemaker import configurable
from tastemaker.configurable import array_text, text_array, under
from tastemaker.data.ranking import Ranking, sort_lists
from tastemaker.errors import ConfigError, DataError
from tastemaker.progress import Progress, silent
from tastemaker.recommender import Recommender, check_queries, chunks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.data.queries import Queries
    from tastemaker.data.split import Holdout
    from tastemaker.types import Float32, Int32

Form = Literal["share", "softmax", "rank"]
FORMS: tuple[Form, ...] = ("share", "softmax", "rank")
STEPS = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
"""Weights that are tried for one member while the others stand still; the best member begins at 1."""
ROUNDS = 3
RRF = 60.0
CHOSEN_AT = 10


class BlendConfig(configurable.Config):
    """Settings of `blend`.

    Attributes:
        pool: candidates that each member gives.
        calibration: validation questions on which forms and weights are chosen.
    """

    pool: int = Field(default=100, ge=1)
    calibration: int = Field(default=5000, ge=20)


class Blend(Recommender):
    """What several members recommend, weighted."""

    name = "blend"
    Config = BlendConfig
    config: BlendConfig

    takes = ("members",)

    def __init__(self, *, members: Sequence[Recommender] = (), **settings: Any) -> None:  # noqa: ANN401  # see Config
        super().__init__(**settings)
        if len(members) < 2:
            raise ConfigError("blend: needs at least two members")
        for member in members:
            if not member.retrieves:
                raise ConfigError(f"blend: {member.name} only re-ranks candidates; it can be a later stage, no member")
            if isinstance(member, Blend):
                raise ConfigError("blend: a blend is no member of another; name its members themselves")
        self.members = tuple(members)
        self._choose_nothing()

    @property
    def parts(self) -> dict[str, Recommender]:
        """The members by the prefix of their saved arrays."""
        return {str(number): member for number, member in enumerate(self.members)}

    @property
    def calibration_size(self) -> int:
        """Validation questions that it wants."""
        return self.config.calibration

    @property
    def stops_early(self) -> bool:  # type: ignore[override]  # of its members
        """Whether validation questions end the training of any member."""
        return any(member.stops_early for member in self.members)

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Fit every member on the same data; without validation all count alike, by rank."""
        if not self.aids.keep_choices:
            self._choose_nothing()
        for name, member in self.parts.items():
            member.fit(train, aids=self.aids.of_part(name), seed=seed, progress=progress)

    def _choose_nothing(self) -> None:
        self._forms: list[Form] = ["rank"] * len(self.members)
        self._weights = np.full(len(self.members), 1.0 / len(self.members))
        self._trials: dict[str, float] = {}

    def calibrate(
        self, validation: Holdout, *, candidates: Ranking | None = None, seed: int = 0, progress: Progress = silent
    ) -> None:
        """Choose forms and weights by NDCG@10 of the first targets, the history masked.

        Raises:
            DataError: too few questions to choose by.
        """
        if len(validation) < 20:
            raise DataError(f"blend: {len(validation)} validation questions are too few to choose weights; needs 20")
        said = [_Said.of(member.rank(validation.queries, self.config.pool)) for member in self.members]
        first = validation.targets.items[validation.targets.offsets[:-1]]
        self._forms, alone = _best_forms(said, first)
        pool = _Pool.of(said, self._forms, first)
        self._weights = _ascend(pool, start=int(np.argmax(alone)))
        names = [f"{number}: {member.name}" for number, member in enumerate(self.members)]
        self._trials = {**dict(zip(names, alone, strict=True)), "blend": pool.ndcg(self._weights)}

    def rank(self, queries: Queries, k: int, *, candidates: Ranking | None = None, seen: bool = False) -> Ranking:
        """Rank by the weighted sum of what the members say."""
        check_queries(queries, len(self.items), k)
        parts = []
        for rows in chunks(len(queries), 4 * self.config.pool * len(self.members)):
            asked = queries.take(rows)
            offered = None if candidates is None else candidates.take(rows)
            said = [
                _Said.of(member.rank(asked, max(k, self.config.pool), candidates=offered, seen=seen))
                for member in self.members
            ]
            items, features = _union(said, self._forms)
            scores = np.where(items >= 0, features @ self._weights, -np.inf).astype(np.float32)
            parts.append(sort_lists(items, scores, k))
        return Ranking.stack(parts, k)

    def report(self) -> dict[str, Any]:
        """Return forms and weights, what each member is worth alone on validation, and the members' own reports."""
        return {
            "members": [
                {"model": member.name, "form": form, "weight": round(float(weight), 4), "report": member.report()}
                for member, form, weight in zip(self.members, self._forms, self._weights, strict=True)
            ],
            f"ndcg@{CHOSEN_AT}_on_validation": self._trials,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return weights, forms and the members' arrays."""
        chosen = json.dumps({"forms": self._forms, "trials": self._trials})
        own = {"weights": self._weights, "chosen": text_array(chosen)}
        return own | {
            f"{name}.{key}": array for name, member in self.parts.items() for key, array in member.arrays().items()
        }

    def attach(self, items: Entities, arrays: dict[str, NDArray[Any]]) -> Blend:
        """Give each member its arrays back."""
        for name, member in self.parts.items():
            member.attach(items, under(arrays, name))
        return super().attach(items, arrays)

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take weights and forms back."""
        self._weights = arrays["weights"].reshape(len(self.members))
        chosen = json.loads(array_text(arrays["chosen"]))
        self._forms, self._trials = chosen["forms"], chosen["trials"]


@dataclass(frozen=True, slots=True)
class _Said:
    """Candidates of one member, [B, m], with every form of its opinion of them."""

    items: Int32
    forms: dict[Form, Float32]

    @classmethod
    def of(cls, ranking: Ranking) -> _Said:
        """Make all forms of a member's lists."""
        there = ranking.items >= 0
        scores = np.where(there, ranking.scores, 0).astype(np.float64)
        lowest = np.minimum(scores.min(axis=1, keepdims=True, initial=0), 0)
        shifted = np.where(there, scores - lowest, 0)
        highest = np.where(there, ranking.scores, -np.inf).max(axis=1, keepdims=True, initial=-1e30)
        powers = np.where(there, np.exp(np.minimum(scores - highest, 0)), 0)
        places = np.where(there, 1 / (RRF + 1 + np.arange(ranking.items.shape[1])), 0)
        forms: dict[Form, Float32] = {}
        for name, values in (("share", shifted), ("softmax", powers), ("rank", places)):
            total = values.sum(axis=1, keepdims=True)
            forms[name] = np.divide(values, total, out=np.zeros_like(values), where=total > 0).astype(np.float32)  # type: ignore[index]
        return cls(ranking.items, forms)


def _union(said: Sequence[_Said], forms: Sequence[Form]) -> tuple[Int32, Float32]:
    """Return every candidate of each row once, [B, C], -1 filled, and each member's opinion of it, [B, C, members]."""
    items = np.concatenate([one.items for one in said], axis=1)
    size, width = items.shape
    opinions = np.zeros((size, width, len(said)), dtype=np.float32)
    start = 0
    for number, (one, form) in enumerate(zip(said, forms, strict=True)):
        end = start + one.items.shape[1]
        opinions[:, start:end, number] = one.forms[form]
        start = end
    order = np.argsort(items, axis=1, kind="stable")
    items = np.take_along_axis(items, order, 1)
    opinions = np.take_along_axis(opinions, order[:, :, None], 1)
    for back in range(1, len(said)):  # a candidate stands at most once for each member: add later ones to the first
        same = np.zeros((size, width), dtype=bool)
        same[:, back:] = (items[:, back:] == items[:, :-back]) & (items[:, back:] >= 0)
        rows, columns = np.nonzero(same)
        firsts = columns - back
        is_first = (firsts == 0) | (items[rows, np.maximum(firsts - 1, 0)] != items[rows, firsts])
        rows, columns, firsts = rows[is_first], columns[is_first], firsts[is_first]
        opinions[rows, firsts] += opinions[rows, columns]
    repeated = np.zeros((size, width), dtype=bool)
    repeated[:, 1:] = items[:, 1:] == items[:, :-1]
    return np.where(repeated, -1, items).astype(np.int32), opinions


@dataclass(frozen=True, slots=True)
class _Pool:
    """Union of all candidates of those validation questions whose target is among them.

    Attributes:
        opinions: [b, C, members].
        there: which places hold a candidate, [b, C].
        target: which one is the target, one a row, [b, C].
        questions: number of all questions.
    """

    opinions: Float32
    there: NDArray[np.bool_]
    target: NDArray[np.bool_]
    questions: int

    @classmethod
    def of(cls, said: Sequence[_Said], forms: Sequence[Form], first: Int32) -> _Pool:
        """Gather what the members say of the questions that any of them can answer."""
        items, opinions = _union(said, forms)
        target = items == first[:, None]
        answered = target.any(axis=1)
        return cls(opinions[answered], items[answered] >= 0, target[answered], len(first))

    def ndcg(self, weights: NDArray[np.float64]) -> float:
        """Return NDCG@10 of the weighted sum; questions whose target is nobody's candidate count as 0."""
        scores = np.where(self.there, self.opinions @ weights.astype(np.float32), -np.inf)
        ahead = (scores > scores[self.target][:, None]).sum(axis=1)
        return float((1 / np.log2(ahead[ahead < CHOSEN_AT] + 2)).sum() / max(1, self.questions))

    def best_of_two(self) -> float:
        """Return the best NDCG@10 of two members over a few weights of the second."""
        return max(self.ndcg(np.array([1.0, weight])) for weight in (0.1, 0.3, 1.0))


def _best_forms(said: Sequence[_Said], first: Int32) -> tuple[list[Form], list[float]]:
    """Return the forms that serve pairs of the best member with each other one best, and each member's own NDCG."""
    alone = [_Pool.of([one], ["rank"], first).ndcg(np.ones(1)) for one in said]
    best = int(np.argmax(alone))
    found: dict[Form, tuple[float, list[Form]]] = {}
    for own in FORMS:
        forms, total = [own] * len(said), 0.0
        for number, one in enumerate(said):
            if number != best:
                value, forms[number] = max(
                    (_Pool.of([said[best], one], [own, form], first).best_of_two(), form) for form in FORMS
                )
                total += value
        found[own] = total, forms
    return max(found.values())[1], alone


def _ascend(pool: _Pool, *, start: int) -> NDArray[np.float64]:
    """Improve one weight at a time, from the best single member, until nothing gets better."""
    weights = np.zeros(pool.opinions.shape[2])
    weights[start] = 1.0
    best = pool.ndcg(weights)
    for _ in range(ROUNDS):
        before = best
        for number in range(len(weights)):
            if number == start:
                continue
            for step in STEPS:
                tried = weights.copy()
                tried[number] = step
                value = pool.ndcg(tried)
                if value > best + 1e-9:
                    best, weights = value, tried
        if best <= before:
            break
    return np.asarray(weights / weights.sum())
