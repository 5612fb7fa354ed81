"""Recommenders in series: each stage passes its best candidates on; a fallback fills what is missing."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker import configurable
from tastemaker.abilities import Calibrated, Telling, Transferable, Tunable
from tastemaker.data.ranking import Ranking
from tastemaker.data.splits import Holdout
from tastemaker.errors import ConfigError
from tastemaker.progress import Progress, silent
from tastemaker.recommender import Aids, Recommender, check_queries, check_tuning

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.data.queries import Queries
    from tastemaker.types import Bool

DEFAULT_KEEP = 50
"""Candidates that a retriever passes on (PALR, arXiv 2305.07622, section on candidate retrieval)."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One recommender of a pipeline.

    Attributes:
        recommender: the first stage retrieves from the catalogue; later ones re-rank what they are given.
        keep: number of candidates passed on; those beyond keep their order behind what later stages return.
    """

    recommender: Recommender
    keep: int = DEFAULT_KEEP


class Pipeline(Recommender):
    """Stages in series with a fallback; itself a recommender.

    A candidate that a later stage has no opinion on keeps its place in the order below those with one, so no stage can
    lose products. Rows that are still short are filled by the fallback, below their lowest score.
    """

    name = "pipeline"

    def __init__(self, stages: Sequence[Stage], *, fallback: Recommender | None = None) -> None:
        super().__init__()
        if not stages:
            raise ConfigError("a pipeline needs at least one stage")
        for number, stage in enumerate(stages):
            if stage.keep < 1:
                raise ConfigError(
                    f"stage {number} ({stage.recommender.name}): keep is {stage.keep}, must be at least 1"
                )
        if not stages[0].recommender.retrieves:
            raise ConfigError(f"{stages[0].recommender.name}: only re-ranks candidates; put a retriever before it")
        if fallback is not None and not fallback.retrieves:
            raise ConfigError(f"fallback {fallback.name}: only re-ranks candidates; choose one that retrieves")
        self.stages = tuple(stages)
        self.fallback = fallback
        self._resting: Recommender | None = None  # the fallback, while the catalogue is one that it cannot rank

    @property
    def parts(self) -> dict[str, Recommender]:
        """Every recommender inside, by the prefix of its saved arrays."""
        parts = {str(number): stage.recommender for number, stage in enumerate(self.stages)}
        return parts if self.fallback is None else {**parts, "fallback": self.fallback}

    def fit(self, train: Dataset, *, aids: Aids | None = None, seed: int = 0, progress: Progress = silent) -> Self:
        """Fit every stage and the fallback on the same data."""
        if self._resting is not None:
            self.fallback, self._resting = self._resting, None
        aids = aids or Aids()
        for name, part in progress(list(self.parts.items()), label="fitting"):
            part.fit(train, aids=aids.of_part(name), seed=seed, progress=progress)
        self._items = train.items
        return self

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Learn nothing of its own; `fit` fits the stages."""

    def heeds_wish(self) -> bool:
        """Say whether any stage does."""
        return any(stage.recommender.heeds_wish() for stage in self.stages)

    def wish_share(self) -> float:
        """Return that of the stage with most."""
        return max(stage.recommender.wish_share() for stage in self.stages)

    @property
    def stops_early(self) -> bool:  # type: ignore[override]  # of its parts
        """Whether validation questions end the training of any part."""
        return any(part.stops_early for part in self.parts.values())

    @property
    def wants_calibration(self) -> bool:
        """Whether a stage has a choice to make on validation questions."""
        return any(
            isinstance(stage.recommender, Calibrated) and stage.recommender.calibration_size > 0
            for stage in self.stages
        )

    def calibrate(self, validation: Holdout, *, seed: int = 0, progress: Progress = silent) -> None:
        """Let each stage that has a choice make it on validation questions, in pipeline order."""
        for number, stage in enumerate(self.stages):
            model = stage.recommender
            if isinstance(model, Calibrated) and model.calibration_size > 0:
                sample = validation.sample(model.calibration_size, seed=seed)
                candidates = None
                if number:
                    keep = self.stages[number - 1].keep
                    candidates = self._run(sample.queries, keep, upto=number)[-1].cut(keep)
                model.calibrate(sample, candidates=candidates, seed=seed, progress=progress)

    def transfer(self, items: Entities) -> list[str]:
        """Rank a catalogue that the pipeline was not fitted on, of another shop or of today; what was learnt stays.

        A fallback that cannot do that rests until the next `fit`: `fallback` is None meanwhile. Where something is
        raised, all stages still rank the old catalogue.

        Returns:
            What rests, a sentence each.

        Raises:
            ConfigError: a stage cannot rank another catalogue.
            DataError: a stage cannot rank this one.
            NotFitted: the pipeline was not fitted.
        """
        _ = self.items
        moving: list[Transferable] = []
        for number, stage in enumerate(self.stages):
            if not isinstance(stage.recommender, Transferable):
                raise ConfigError(
                    f"stage {number} ({stage.recommender.name}): cannot rank another catalogue than the one "
                    "it was fitted on; models that read names and texts can: text_knn, listwise"
                )
            moving.append(stage.recommender)
        if isinstance(self.fallback, Transferable):
            moving.append(self.fallback)
        before = [(part, dict(vars(part))) for part in moving]  # a move sets attributes anew, and changes none in place
        try:
            for part in moving:
                part.transfer(items)
        except BaseException:
            for part, state in before:
                vars(part).clear()
                vars(part).update(state)
            raise
        self._items = items
        if self.fallback is not None and not isinstance(self.fallback, Transferable):
            self._resting, self.fallback = self.fallback, None
        if self._resting is None:
            return []
        return [
            f"fallback {self._resting.name} rests until the next fit: "
            "it cannot rank another catalogue; lists may be shorter"
        ]

    def tune(
        self, train: Dataset, *, aids: Aids | None = None, seed: int = 0, progress: Progress = silent
    ) -> list[str]:
        """Let every part that can go on learning do so; the others, counts mostly, are fitted anew on `train`.

        Those keep what they chose on validation, such as the weights of a blend, as tuning makes no such choices. A
        fallback that rests since `transfer` is fitted too and comes back.

        Returns:
            The names of those that were fitted anew.

        Raises:
            DataError: `train` has no interactions, or another catalogue than the one that the pipeline ranks.
        """
        check_tuning(self, train)
        if self._resting is not None:
            self.fallback, self._resting = self._resting, None
        aids, anew = aids or Aids(), []
        for name, part in progress(list(self.parts.items()), label="tuning"):
            if isinstance(part, Tunable):
                part.tune(train, aids=aids.of_part(name), seed=seed, progress=progress)
            else:
                kept = replace(aids.of_part(name), keep_choices=True)
                part.fit(train, aids=kept, seed=seed, progress=progress)
                anew.append(part.name)
        return anew

    def rank(self, queries: Queries, k: int, *, candidates: Ranking | None = None, seen: bool = False) -> Ranking:
        """Rank through all stages, then fill short rows from the fallback."""
        check_queries(queries, len(self.items), k)
        ranking = self._run(queries, k, candidates=candidates, seen=seen)[-1].cut(k)
        return self.filled(ranking, queries, k, candidates=candidates, seen=seen)

    def rank_by_stage(
        self,
        queries: Queries,
        k: int,
        *,
        seen: bool = False,
        upto: int | None = None,
        seconds: list[float] | None = None,
    ) -> list[Ranking]:
        """Return what the pipeline would answer after each of its stages, without the fallback.

        Args:
            queries: B histories.
            k: length of the lists.
            seen: whether items of the history may be listed.
            upto: run so many stages only; None runs all.
            seconds: one number a stage, to which the wall-clock time that the stage takes is added.
        """
        return self._run(queries, k, seen=seen, upto=upto, seconds=seconds)

    def refined(self, number: int, queries: Queries, ranking: Ranking, *, seen: bool = False) -> tuple[Ranking, Bool]:
        """Let one later stage re-rank what the stages before it found.

        Args:
            number: of the stage, from 1.
            queries: B histories.
            ranking: [B, m]; what the stage before does not pass on, or this one has no opinion on, stays below.
            seen: whether items of the history may be listed.

        Returns:
            [B, m], and whether the stage was asked and gave no answer that could be used, bool [B].
        """
        model = self.stages[number].recommender
        offered = ranking.cut(self.stages[number - 1].keep)
        width = offered.items.shape[1]
        if isinstance(model, Telling):
            better, silent_ones = model.rank_and_tell(queries, width, candidates=offered, seen=seen)
        else:
            better = model.rank(queries, width, candidates=offered, seen=seen)
            silent_ones = np.zeros(len(queries), dtype=bool)
        return append_below(better, ranking, ranking.items.shape[1]), silent_ones

    def filled(
        self, ranking: Ranking, queries: Queries, k: int, *, candidates: Ranking | None = None, seen: bool = False
    ) -> Ranking:
        """Return `ranking` with short rows filled by the fallback."""
        short = np.flatnonzero(ranking.lengths < k)
        if self.fallback is None or not len(short):
            return ranking
        offered = None if candidates is None else candidates.take(short)
        filler = self.fallback.rank(queries.take(short), k, candidates=offered, seen=seen)
        items, scores = ranking.items.copy(), ranking.scores.copy()
        joined = append_below(ranking.take(short), filler, k)
        items[short], scores[short] = joined.items, joined.scores
        return Ranking(items, scores)

    def _run(
        self,
        queries: Queries,
        k: int,
        *,
        candidates: Ranking | None = None,
        seen: bool = False,
        upto: int | None = None,
        seconds: list[float] | None = None,
    ) -> list[Ranking]:
        stages = self.stages[:upto]
        width = k if len(stages) == 1 else max(k, stages[0].keep)
        rankings: list[Ranking] = []
        for number, stage in enumerate(stages):
            started = time.perf_counter()
            if number == 0:
                ranking = stage.recommender.rank(queries, width, candidates=candidates, seen=seen)
            else:
                ranking, _ = self.refined(number, queries, rankings[-1], seen=seen)
            rankings.append(ranking)
            if seconds is not None:
                seconds[number] += time.perf_counter() - started
        return rankings

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of all parts, prefixed by stage number or "fallback"."""
        return {
            f"{prefix}.{name}": array for prefix, part in self.parts.items() for name, array in part.arrays().items()
        }

    def attach(self, items: Entities, arrays: dict[str, NDArray[Any]]) -> Self:
        """Give each part its arrays back."""
        self._items = items
        for prefix, part in self.parts.items():
            part.attach(items, configurable.under(arrays, prefix))
        return self


def append_below(ranking: Ranking, more: Ranking, k: int) -> Ranking:
    """Return width-k lists: `ranking`, then the items of `more` that are not yet listed, scored below the lowest."""
    items = np.full((len(ranking), k), -1, dtype=np.int32)
    scores = np.full((len(ranking), k), -np.inf, dtype=np.float32)
    for row in range(len(ranking)):
        listed = ranking.items[row][ranking.items[row] >= 0][:k]
        extra = more.items[row][more.items[row] >= 0]
        extra = extra[~np.isin(extra, listed)][: k - len(listed)]
        end = len(listed) + len(extra)
        items[row, : len(listed)], items[row, len(listed) : end] = listed, extra
        scores[row, : len(listed)] = ranking.scores[row, : len(listed)]
        lowest = float(ranking.scores[row, len(listed) - 1]) if len(listed) else 0.0
        step = max(1.0, abs(lowest)) * 1e-3
        scores[row, len(listed) : end] = lowest - step * np.arange(1, len(extra) + 1)
    return Ranking(items, scores)
