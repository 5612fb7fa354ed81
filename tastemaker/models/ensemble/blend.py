"""Recommenders in parallel: what several members say, put together with weights or trees learnt on validation.

Members that err differently help each other, counts and networks above all. Each member gives its best `pool`
candidates; which form of what it says (`tastemaker.models.parts.ensemble.blending`) and which weights is chosen by
NDCG@10 on validation questions, one coordinate at a time from the best single member, so a member that does not help
gets the weight 0. With combine = "trees", boosted trees (`tastemaker.models.parts.ensemble.boosting`) then put the best
candidates in order, where they prove better than the weights on validation questions that they did not learn from.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from tastemaker import configurable
from tastemaker.configurable import array_text, text_array, under
from tastemaker.data.ranking import Ranking, sort_lists
from tastemaker.errors import ConfigError, DataError
from tastemaker.models.parts.ensemble import blending, boosting
from tastemaker.models.parts.ensemble.blending import CHOSEN_AT, Form, Opinions
from tastemaker.models.parts.ensemble.boosting import Asked, Lists
from tastemaker.progress import Progress, silent
from tastemaker.recommender import Recommender, check_queries, chunks

if TYPE_CHECKING:
    from collections.abc import Sequence

    import lightgbm
    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.data.queries import Queries
    from tastemaker.data.splits import Holdout
    from tastemaker.types import Int32

LEAST = 20
"""Fewer validation questions choose nothing."""


class BlendConfig(configurable.Config):
    """Settings of `blend`.

    Attributes:
        pool: candidates that each member gives; lists are no longer than what all of them give together.
        combine: "weights", or "trees" that learn where to trust which member; they need thousands of questions.
        item_facts: whether trees also see how often and how lately a product was bought. Not for data that keep only
            products with a number of purchases, nor where new products are held out: there it gives answers away.
        calibration: validation questions on which forms, weights and trees are chosen.
    """

    pool: int = Field(default=100, ge=1)
    combine: Literal["weights", "trees"] = "weights"
    item_facts: bool = False
    calibration: int = Field(default=20_000, ge=LEAST)


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
        if self.config.combine == "trees":
            boosting.require_lightgbm()
        self.members = tuple(members)
        self._choose_nothing()

    @property
    def parts(self) -> dict[str, Recommender]:
        """The members by the prefix of their saved arrays."""
        return {str(number): member for number, member in enumerate(self.members)}

    @property
    def voices(self) -> list[Recommender]:
        """The members with a weight, the weightiest first."""
        order = np.argsort(-self._weights, kind="stable")
        return [self.members[number] for number in order if self._weights[number] > 0]

    @property
    def reads_wish(self) -> bool:  # type: ignore[override]  # of its members
        """Whether any member uses a wish in words."""
        return any(member.heeds_wish() for member in self.members)

    def heeds_wish(self) -> bool:
        """Say whether a member with a say uses a wish; trees hear all members."""
        heard = self.members if self._trees is not None else self.voices
        return any(member.heeds_wish() for member in heard)

    def wish_share(self) -> float:
        """Return the share of the weights, or of what trees gain, that members which use a wish have.

        Weights and trees are learnt on questions without a wish: a small share is no opinion on what a wish is worth.
        """
        shares = np.array([member.wish_share() for member in self.members])
        total = float(self._weights.sum())
        weighted = float(self._weights @ shares) / total if total else 0.0
        return weighted if self._trees is None else boosting.part_of(self._trees, shares, weighted=weighted)

    @property
    def ranks_cold_items(self) -> bool:  # type: ignore[override]  # of its members
        """Whether any member can rank a product that nobody has bought."""
        return any(member.ranks_cold_items for member in self.members)

    @property
    def answers_empty_history(self) -> bool:  # type: ignore[override]  # of its members
        """Whether any member ranks for a shopper without history."""
        return any(member.answers_empty_history for member in self.members)

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
        self._facts = boosting.Facts.of(train.queries(), train.n_items) if self.config.item_facts else None
        for name, member in self.parts.items():
            member.fit(train, aids=self.aids.of_part(name), seed=seed, progress=progress)

    def _choose_nothing(self) -> None:
        self._forms: list[Form] = ["rank"] * len(self.members)
        self._weights = np.full(len(self.members), 1.0 / len(self.members))
        self._trees: lightgbm.Booster | None = None
        self._trials: dict[str, float] = {}

    def calibrate(
        self, validation: Holdout, *, candidates: Ranking | None = None, seed: int = 0, progress: Progress = silent
    ) -> None:
        """Choose forms, weights and trees by NDCG@10 of the first targets, the history masked.

        Raises:
            DataError: too few questions to choose by.
        """
        if len(validation) < LEAST:
            raise DataError(
                f"blend: {len(validation)} validation questions are too few to choose weights; needs {LEAST}"
            )
        members = progress(self.members, label="asking members", total=len(self.members))
        opinions = Opinions.of([member.rank(validation.queries, self.config.pool) for member in members])
        first = validation.targets.items[validation.targets.offsets[:-1]]
        self._forms, alone = blending.best_forms(opinions, first)
        self._weights = blending.ascend(opinions, self._forms, first, start=int(np.argmax(alone)))
        asked = self._asked(opinions, validation.queries)
        self._trials = dict(zip(self._member_names(), alone, strict=True))
        self._trials["weights"] = blending.ndcg(asked.weighted, opinions.items, first)
        self._trees = None
        if self.config.combine == "trees":
            self._grow(asked, first, seed=seed)

    def _grow(self, asked: Asked, first: Int32, *, seed: int) -> None:
        """Grow trees if they beat the weights on questions that they were not grown on.

        How many trees, and whether at all, is judged by folds; then they are grown on all questions. The weights were
        chosen on all of them, which favours them a little.
        """
        lists = Lists.of(asked, first)
        if len(lists.sizes) < LEAST:
            return  # the members name too few targets to learn from
        rounds, said = boosting.tried(lists, seed=seed)
        by_weights, by_trees = (boosting.ndcg(lists, one) for one in (lists.weighted, said))
        self._trials |= {"weights, where a target is named": by_weights, "trees, where a target is named": by_trees}
        if by_trees > by_weights:
            self._trees = boosting.grow(lists, rounds=rounds, seed=seed)

    def _asked(self, opinions: Opinions, queries: Queries) -> Asked:
        return Asked(opinions, opinions.weighted(self._forms, self._weights), self._facts, queries)

    def rank(self, queries: Queries, k: int, *, candidates: Ranking | None = None, seen: bool = False) -> Ranking:
        """Rank by the weighted sum of what the members say, or by trees."""
        check_queries(queries, len(self.items), k)
        parts = []
        for rows in chunks(len(queries), 8 * self.config.pool * len(self.members)):
            asked = queries.take(rows)
            offered = None if candidates is None else candidates.take(rows)
            opinions = Opinions.of(
                [member.rank(asked, self.config.pool, candidates=offered, seen=seen) for member in self.members]
            )
            told = self._asked(opinions, asked)
            scores = told.weighted if self._trees is None else boosting.order(self._trees, told)
            parts.append(sort_lists(opinions.items, scores, k))
        return Ranking.stack(parts, k)

    def report(self) -> dict[str, Any]:
        """Return forms and weights, what each member is worth alone on validation, and the members' own reports."""
        return {
            "members": [
                {"model": member.name, "form": form, "weight": round(float(weight), 4), "report": member.report()}
                for member, form, weight in zip(self.members, self._forms, self._weights, strict=True)
            ],
            "combined_by": "weights" if self._trees is None else f"{self._trees.num_trees()} trees",
            "trees_look_at": self._importance(),
            f"ndcg@{CHOSEN_AT}_on_validation": self._trials,
        }

    def _importance(self) -> dict[str, float]:
        """Return what the trees gain from most, as shares of all they gain."""
        if self._trees is None:
            return {}
        gains = self._trees.feature_importance("gain")
        named = zip(
            boosting.names(self._member_names(), facts=self._facts is not None),
            gains / max(gains.sum(), 1e-12),
            strict=True,
        )
        return {name: round(float(gain), 4) for name, gain in sorted(named, key=lambda one: -one[1])[:10]}

    def _member_names(self) -> list[str]:
        return [f"{number}: {member.name}" for number, member in enumerate(self.members)]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return weights, forms, trees in LightGBM's text format, facts of items, and the members' arrays."""
        chosen = json.dumps({"forms": self._forms, "trials": self._trials})
        own = {"weights": self._weights, "chosen": text_array(chosen)}
        if self._facts is not None:
            own["facts"] = self._facts.items
        if self._trees is not None:
            own["trees"] = text_array(self._trees.model_to_string())
        return own | {
            f"{name}.{key}": array for name, member in self.parts.items() for key, array in member.arrays().items()
        }

    def attach(self, items: Entities, arrays: dict[str, NDArray[Any]]) -> Blend:
        """Give each member its arrays back."""
        for name, member in self.parts.items():
            member.attach(items, under(arrays, name))
        return super().attach(items, arrays)

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take weights, forms, trees and facts back."""
        self._weights = arrays["weights"].reshape(len(self.members))
        chosen = json.loads(array_text(arrays["chosen"]))
        self._forms, self._trials = chosen["forms"], chosen["trials"]
        facts = arrays.get("facts")
        self._facts = None if facts is None else boosting.Facts(facts.reshape(len(self.items), -1))
        self._trees = boosting.read(array_text(arrays["trees"])) if "trees" in arrays else None
