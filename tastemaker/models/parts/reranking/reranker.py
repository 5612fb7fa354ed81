"""What all re-rankers share: they look at a retriever's first candidates, and a weight decides how much they say.

The weight is chosen on validation questions (`tastemaker.models.parts.reranking.mixing`), and is zero unless the model
helps there for certain, so a re-ranker cannot make lists worse in silence. Where it has no opinion, the retriever's
order stands. What it says lifts a candidate by a stated number of places at most, whatever a product's text may have
talked it into.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field

from tastemaker import configurable
from tastemaker.configurable import array_text, text_array
from tastemaker.data.ranking import Ranking, sort_lists
from tastemaker.errors import ConfigError, DataError
from tastemaker.models.parts.reranking.mixing import best_weight, mixed, try_weights
from tastemaker.progress import Progress, silent
from tastemaker.recommender import Recommender, check_queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.queries import Queries
    from tastemaker.data.splits import Holdout
    from tastemaker.encoders.base import Encoder
    from tastemaker.lm.base import LanguageModel
    from tastemaker.recommender import Aids
    from tastemaker.types import Bool, Float32, Int32

LEAST_QUESTIONS = 20
"""Validation questions below which no weight is chosen."""

Purpose = Literal["rank", "choice", "probe"]
"""Why opinions are wanted: for lists, to choose the weight on validation questions, or to look at them alone."""


class RerankerConfig(configurable.Config):
    """Settings of every re-ranker.

    Attributes:
        candidates: how many of the offered candidates the model sees, best first; the rest keep their order below.
        history: newest items of the history that the model sees.
        weight: weight of the model against the retriever, or "auto" to choose it on validation.
        calibration: validation questions used for the choice.
        max_rise: places that the model may lift a candidate above its place in the retriever's list at most; "half" is
            half of `candidates`.
    """

    candidates: int = Field(default=50, ge=2)
    history: int = Field(default=20, ge=1)
    weight: float | Literal["auto"] = Field(default="auto", union_mode="left_to_right")
    calibration: int = Field(default=2000, ge=LEAST_QUESTIONS)
    max_rise: int | Literal["half"] = "half"


class Reranker(Recommender):
    """Re-ranks candidates, mixed with the retriever's order; a subclass gives `opinions` and what it learns."""

    retrieves = False
    answers_empty_history = True
    Config = RerankerConfig
    config: Any  # RerankerConfig, or a subclass with the model's own settings

    def __init__(
        self,
        *,
        encoder: Encoder | None = None,
        lm: LanguageModel | None = None,
        **settings: Any,  # noqa: ANN401  # see Configurable
    ) -> None:
        super().__init__(encoder=encoder, lm=lm, **settings)
        if isinstance(self.config.weight, float) and not 0 <= self.config.weight <= 1:
            raise ConfigError(f'{self.name}.weight: {self.config.weight}: must lie between 0 and 1, or be "auto"')
        if self.config.max_rise != "half" and self.config.max_rise < 0:
            raise ConfigError(f'{self.name}.max_rise: {self.config.max_rise}: must be at least 0, or "half"')
        self._choose_nothing()

    def fit(self, train: Dataset, *, aids: Aids | None = None, seed: int = 0, progress: Progress = silent) -> Self:
        """Learn from scratch, with nothing chosen yet unless `aids` keep what was; see `Recommender.fit`."""
        if aids is None or not aids.keep_choices:
            self._choose_nothing()
        return super().fit(train, aids=aids, seed=seed, progress=progress)

    def _choose_nothing(self) -> None:
        """Forget what was chosen on validation."""
        self._weight = self.config.weight if isinstance(self.config.weight, float) else 0.0
        self._trials: list[dict[str, float]] = []

    @abstractmethod
    def opinions(
        self, queries: Queries, candidates: Ranking, *, purpose: Purpose, progress: Progress = silent
    ) -> Sequence[Float32]:
        """Return the model's own scores of the first candidates of each list, the higher the better.

        Args:
            queries: B histories.
            candidates: the retriever's lists, [B, m], without what the shopper has unless that may be listed.
            purpose: why they are wanted.
            progress: shown over the work.

        Returns:
            B arrays [at most config.candidates] in the order of the candidates; empty where there is no opinion.
        """

    @property
    def max_rise(self) -> int:
        """Places that a candidate may rise above its place in the retriever's list at most."""
        limit = self.config.max_rise
        return int(self.config.candidates // 2 if limit == "half" else limit)

    @property
    def calibration_size(self) -> int:
        """Validation questions wanted: none when the weight is given."""
        return int(self.config.calibration) if self.config.weight == "auto" else 0

    def heeds_wish(self) -> bool:
        """Say whether the model has any say."""
        return self.reads_wish and self._weight > 0

    def calibrate(
        self, validation: Holdout, *, candidates: Ranking | None, seed: int = 0, progress: Progress = silent
    ) -> None:
        """Choose the weight on validation questions (NDCG@10).

        Raises:
            ConfigError: there are no candidates.
            DataError: there are too few questions to tell help from chance.
        """
        if len(validation) < LEAST_QUESTIONS:
            raise DataError(
                f"{self.name}: {len(validation)} validation questions are too few to choose a weight; "
                f"needs {LEAST_QUESTIONS}, or a fixed one: weight = 0.5 in its [[stage]]"
            )
        offered = without_history(self._given(candidates), validation.queries)
        given = self.opinions(validation.queries, offered, purpose="choice", progress=progress)
        ranks = [ranks_of(scores) for scores in given]
        self._trials = try_weights(offered, ranks, validation.targets, max_rise=self.max_rise)
        self._weight = best_weight(self._trials)

    def rank(self, queries: Queries, k: int, *, candidates: Ranking | None = None, seen: bool = False) -> Ranking:
        """Re-rank the candidates.

        Raises:
            ConfigError: no candidates.
        """
        return self.rank_and_tell(queries, k, candidates=candidates, seen=seen)[0]

    def rank_and_tell(
        self, queries: Queries, k: int, *, candidates: Ranking | None = None, seen: bool = False
    ) -> tuple[Ranking, Bool]:
        """Re-rank the candidates, and say where the model was asked and had no opinion; see `Telling`."""
        check_queries(queries, len(self.items), k)
        offered = self._given(candidates)
        if not seen:
            offered = without_history(offered, queries)
        nothing = [np.empty(0, dtype=np.float32)] * len(queries)
        given = self.opinions(queries, offered, purpose="rank") if self._weight > 0 else nothing
        ranks = [ranks_of(scores) for scores in given]
        silent_ones = np.array([self._weight > 0 and not len(scores) for scores in given], dtype=bool)
        ranking = mixed(offered, ranks, self._weight, max_rise=self.max_rise)
        return sort_lists(ranking.items, ranking.scores, k), silent_ones & (offered.lengths > 1)

    def own_order(self, queries: Queries, candidates: Ranking) -> Ranking:
        """Return the model's own order of the candidates that it is shown, [B, config.candidates].

        It is asked whatever the weight. A row is empty where it has no opinion.
        """
        width = self.config.candidates
        items = np.full((len(queries), width), -1, dtype=np.int32)
        scores = np.full(items.shape, -np.inf, dtype=np.float32)
        for row, given in enumerate(self.opinions(queries, candidates, purpose="probe")):
            items[row, : len(given)], scores[row, : len(given)] = candidates.items[row, : len(given)], given
        return sort_lists(items, scores, width)

    def report(self) -> dict[str, Any]:
        """Return the chosen weight with its trials."""
        return {"weight": self._weight, "chosen_on_validation": self._trials}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the weight, and how it was chosen."""
        return {"weight": np.array([self._weight]), "chosen": text_array(json.dumps(self._trials))}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take the weight and the choice's trials back."""
        self._weight = float(arrays["weight"].reshape(1)[0])
        self._trials = json.loads(array_text(arrays["chosen"]))

    def _given(self, candidates: Ranking | None) -> Ranking:
        if candidates is None:
            raise ConfigError(f"{self.name}: only re-ranks candidates; put a retriever before it")
        return candidates


def ranks_of(scores: Float32) -> Int32:
    """Return the 0-based rank of each score, best first; ties in the given order."""
    ranks = np.empty(len(scores), dtype=np.int32)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    return ranks


def without_history(candidates: Ranking, queries: Queries) -> Ranking:
    """Take what the shopper has out of the candidates."""
    n = 1 + max(int(candidates.items.max(initial=0)), int(queries.items.max(initial=0)))
    rows = np.arange(len(queries))[:, None]
    seen = np.isin(rows * n + candidates.items, queries.rows * n + queries.items) & (candidates.items >= 0)
    if not seen.any():
        return candidates
    return sort_lists(candidates.items, np.where(seen, -np.inf, candidates.scores), candidates.items.shape[1])
