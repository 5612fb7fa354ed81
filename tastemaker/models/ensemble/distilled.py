r"""A slow ranker distilled into one that answers in milliseconds: a small network over plain facts of each candidate.

The members are the teachers, a tuned language model for instance. They are asked once, in training, about histories cut
from the training data and candidates that a co-occurrence retriever would offer; a network with one hidden layer learns
the teachers' scores, made comparable within each list, from what is at hand at once:

- the place in the retriever's list;
- how often the product was bought, and how often after the history's products (co-occurrence, newer ones more);
- how near its text is to the history's (nearest, newest, mean by recency), and whether category and brand are shared.

Teachers are not saved and not needed any more; the report says who they were, and how well student and teachers agree
on lists that the student did not learn from (knowledge distillation, arXiv 1503.02531; of rankers, arXiv 1809.07428).
"""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field
from scipy.stats import kendalltau
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from tastemaker.abilities import Judging, Traceable
from tastemaker.configurable import array_text, text_array, under
from tastemaker.data.queries import Queries
from tastemaker.data.ranking import Ranking
from tastemaker.errors import ConfigError, DataError
from tastemaker.lm.base import describe
from tastemaker.models.parts.ensemble.candidate_facts import CandidateFacts
from tastemaker.models.parts.reranking.reranker import Purpose, Reranker, RerankerConfig
from tastemaker.models.parts.texts.text_vectors import encoder_or_default
from tastemaker.progress import Progress, silent
from tastemaker.text.instructions.affinity import Affinity
from tastemaker.text.instructions.examples import ExampleConfig, draw_examples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.encoders.base import Encoder
    from tastemaker.recommender import Recommender
    from tastemaker.types import Float32, Float64, Int32

CHECKED = 0.2
"""Share of the questions that the student does not learn from, to see how well it agrees."""


class DistilledConfig(RerankerConfig):
    """Knobs of `distilled`.

    Attributes:
        candidates: how many of the offered candidates are looked at, best first; the rest keep their order below.
        history: newest items of the history that are looked at.
        questions: lists that the teachers are asked about in training, at most.
        hidden: units of the hidden layer.
        epochs: passes over the teachers' lists, at most.
        learning_rate: of Adam.
        weight: weight of the student against the retriever, or "auto" to choose it on validation.
    """

    candidates: int = Field(default=20, ge=2, le=200)
    questions: int = Field(default=2000, ge=10)
    hidden: int = Field(default=32, ge=1)
    epochs: int = Field(default=200, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)


class Distilled(Reranker):
    """Re-ranks candidates as its members would, in milliseconds; needs a retriever before it."""

    name = "distilled"
    takes = ("encoder", "members")
    members_optional = True
    ranks_cold_items = True
    Config = DistilledConfig
    config: DistilledConfig

    def __init__(
        self,
        *,
        members: Sequence[Recommender] = (),
        encoder: Encoder | None = None,
        **settings: Any,  # noqa: ANN401  # see Configurable
    ) -> None:
        super().__init__(encoder=encoder_or_default(encoder), **settings)
        self.encoder: Encoder
        self._teachers = tuple(members)
        self._layers: list[NDArray[Any]] = []
        self._told: dict[str, Any] = {}

    @property
    def members(self) -> tuple[Recommender, ...]:
        """The teachers, as long as they are needed: nothing of them is saved once the student has learnt."""
        return () if self._layers else self._teachers

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Fit the teachers, ask them, and learn from their answers.

        Raises:
            ConfigError: there is no teacher.
            DataError: no teacher had an opinion.
        """
        if not self._teachers:
            raise ConfigError(
                f"{self.name}: has nobody to learn from; add [[stage.member]] tables, or load a saved one"
            )
        for number, teacher in enumerate(self._teachers):
            teacher.fit(train, aids=self.aids.of_part(f"teacher{number}"), seed=seed, progress=progress)
        queries, offered = self._questions(train, seed)
        opinions = [_opinion(teacher, queries, offered) for teacher in self._teachers]
        wanted = _mean(opinions)
        learnt = np.random.default_rng(seed).random(len(queries)) >= CHECKED
        rows = np.isfinite(wanted) & learnt[:, None]
        if not rows.any():
            said = "; ".join(map(_spoke, self._teachers, opinions))
            raise DataError(
                f"{self.name}: no teacher had an opinion on any of the {learnt.sum()} lists to learn from ({said}); "
                "choose teachers that answer, or raise questions"
            )
        self._facts = CandidateFacts.of(train, self.encoder, progress=progress)
        found = self._facts.describe(queries, offered).astype(np.float64)
        student = MLPRegressor(
            hidden_layer_sizes=(self.config.hidden,),
            max_iter=self.config.epochs,
            learning_rate_init=self.config.learning_rate,
            early_stopping=True,
            random_state=seed,
        )
        self._centre, self._spread = found[rows].mean(axis=0), found[rows].std(axis=0) + 1e-6
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # `epochs` are at most so many
            student.fit((found[rows] - self._centre) / self._spread, wanted[rows])
        self._layers = [np.asarray(part, dtype=np.float64) for part in (*student.coefs_, *student.intercepts_)]
        self._told = {
            "teachers": [_told(teacher) for teacher in self._teachers],
            "questions": int(learnt.sum()),
            **_agreement(self._judge(found), np.where(learnt[:, None], np.nan, wanted)),
        }

    def _questions(self, train: Dataset, seed: int) -> tuple[Queries, Ranking]:
        """Return histories cut from training data, and what a co-occurrence retriever offers them."""
        share = min(1.0, self.config.questions / max(1, train.n_users))
        drawn = draw_examples(
            train, ExampleConfig(share=share, swap=0.0, fill=0), history=self.config.history, seed=seed
        )
        drawn = drawn[: self.config.questions]
        histories = [example.history for example in drawn]
        width = self.config.candidates
        items = np.full((len(drawn), width), -1, dtype=np.int32)
        scores = np.full(items.shape, -np.inf, dtype=np.float32)
        for row, (found, values) in enumerate(Affinity(train).mined(histories)):
            items[row, : len(found[:width])], scores[row, : len(found[:width])] = found[:width], values[:width]
        return Queries.from_lists(histories), Ranking(items, scores)

    def opinions(
        self, queries: Queries, candidates: Ranking, *, purpose: Purpose, progress: Progress = silent
    ) -> list[Float32]:
        """Return what the student says; see `Reranker.opinions`."""
        offered = candidates.cut(self.config.candidates)
        found = self._facts.describe(queries.newest(self.config.history), offered)
        scores = self._judge(found.astype(np.float64))
        return [row[:length] for row, length in zip(scores, offered.lengths, strict=True)]

    def _judge(self, found: Float64) -> Float32:
        """Return the student's scores, [B, m], from facts [B, m, f]; rounded, whatever else is asked."""
        first, second, bias, last = self._layers
        hidden = np.maximum((found - self._centre) / self._spread @ first + bias, 0)
        return np.asarray(np.round((hidden @ second + last)[..., 0], 6), dtype=np.float32)

    def learnt_from(self) -> dict[str, tuple[Int32, Int32]]:
        """Return what the teachers were tuned on."""
        return {
            f"{what} of {teacher.name}": pairs
            for teacher in self._teachers
            if isinstance(teacher, Traceable)
            for what, pairs in teacher.learnt_from().items()
        }

    def report(self) -> dict[str, Any]:
        """Return the chosen weight with its trials, who the teachers were, and how well the student agrees."""
        return {**super().report(), "distilled": self._told}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the student alone."""
        return {
            **super().arrays(),
            **{f"layer.{number}": part for number, part in enumerate(self._layers)},
            "centre": self._centre,
            "spread": self._spread,
            "told": text_array(json.dumps(self._told)),
            **{f"facts.{name}": array for name, array in self._facts.arrays().items()},
        }

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take the student back; teachers are not needed."""
        super().restore(arrays)
        self._layers = [arrays[f"layer.{number}"] for number in range(4)]
        self._centre, self._spread = arrays["centre"], arrays["spread"]
        self._told = json.loads(array_text(arrays["told"]))
        self._facts = CandidateFacts.restored(under(arrays, "facts"), len(self.items))


def _opinion(teacher: Recommender, queries: Queries, offered: Ranking) -> Float32:
    """Return a teacher's scores [B, m] of the offered candidates, standardised in each list; NaN for none."""
    if isinstance(teacher, Judging):
        given = teacher.own_order(queries, offered)
    else:
        given = teacher.rank(queries, offered.items.shape[1], candidates=offered)
    scores = np.full(offered.items.shape, np.nan, dtype=np.float32)
    for row in range(len(queries)):
        place = {int(item): number for number, item in enumerate(offered.items[row]) if item >= 0}
        for item, score in zip(given.items[row].tolist(), given.scores[row].tolist(), strict=True):
            if item in place and np.isfinite(score):
                scores[row, place[item]] = score
        known = np.isfinite(scores[row])
        if known.sum() > 1:
            values = scores[row, known]
            scores[row, known] = (values - values.mean()) / (values.std() + 1e-6)
        else:
            scores[row] = np.nan
    return scores


def _mean(opinions: Sequence[Float32]) -> Float32:
    """Return the mean of what teachers say of each candidate, NaN where none says anything."""
    stacked = np.stack(opinions)
    known = np.isfinite(stacked)
    total = np.where(known, stacked, 0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan).astype(np.float32)


def _agreement(student: Float32, teacher: Float32) -> dict[str, float]:
    """Return Kendall's tau and how often both put the same candidate first, over lists with two opinions and more."""
    taus, firsts = [], []
    for one, other in zip(student, teacher, strict=True):
        known = np.isfinite(other)
        if known.sum() > 1:
            tau = kendalltau(one[known], other[known]).statistic
            taus.append(float(tau) if np.isfinite(tau) else 0.0)
            firsts.append(float(one[known].argmax() == other[known].argmax()))
    if not taus:
        return {}
    return {"lists_checked": len(taus), "kendall_tau": float(np.mean(taus)), "same_first": float(np.mean(firsts))}


def _spoke(teacher: Recommender, opinion: Float32) -> str:
    """Return on how many lists a teacher had an opinion, and its own counts if it keeps any."""
    counts = teacher.report().get("counts")
    spoke = f"{teacher.name}: {np.isfinite(opinion).any(axis=1).sum()} of {len(opinion)}"
    return f"{spoke}, {counts}" if counts else spoke


def _told(teacher: Recommender) -> dict[str, Any]:
    """Return who a teacher was."""
    said = {"model": teacher.name, **teacher.config.model_dump(mode="json")}
    return said if teacher.lm is None else {**said, "language_model": describe(teacher.lm)}
