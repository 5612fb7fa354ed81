r"""Pairwise ranking: the language model chooses between two candidates at a time, and strengths are fitted to that.

Each comparison is asked in both orders, so what a model says of a letter whatever stands there cancels: with the
log-odds $l_{ij}$ and $l_{ji}$ of the first-named, candidate i beats j with probability
$p_{ij} = \sigma((l_{ij} - l_{ji}) / 2)$. At most `comparisons` pairs are asked about, laid out as the rounds of a
tournament in which every candidate meets as many others as every other one does, so all are tied to each other. The
score is the strength $s_i$ of a Bradley-Terry model, $p_{ij} = \sigma(s_i - s_j)$ (Bradley and Terry, Biometrika 1952),
or the mean $p_{ij}$ ("wins").

Source: pairwise ranking prompting, arXiv 2306.17563 (both orders; all pairs). Deviations: the cap, and Bradley-Terry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from tastemaker.models.parts.llm.choosing import ask_choices
from tastemaker.models.parts.llm.llm_ranking import LanguageModelRanker, RankingConfig
from tastemaker.models.parts.reranking.reranker import LEAST_QUESTIONS
from tastemaker.text.prompting.prompts import LETTERS, prefer
from tastemaker.text.prompting.wordings import WORDINGS

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from tastemaker.lm.base import Prompt
    from tastemaker.models.parts.llm.choosing import Question
    from tastemaker.text.prompting.prompts import Template
    from tastemaker.types import Float32, Float64, Int64

RIDGE = 0.1
"""Holds strengths together where a candidate wins or loses all its comparisons."""
ROUNDS = 25
"""Newton steps of the fit; it has settled long before."""


class PairwiseConfig(RankingConfig):
    """Settings of `pairwise`, beyond those of every re-ranker that asks a language model.

    Attributes:
        candidates: how many of the offered candidates are compared, best first; the rest keep their order below.
        comparisons: pairs of candidates that are asked about at most, each in both orders.
        aggregate: what is made of the comparisons: strengths of a "bradley_terry" model, or "wins".
        choices: candidates drawn with each demonstration, which are shown where the answer is a letter of many.
        chain_of_thought: whether the model first writes what the shopper is after, then judges.
    """

    candidates: int = Field(default=20, ge=2, le=200)
    comparisons: int = Field(default=40, ge=1)
    aggregate: Literal["bradley_terry", "wins"] = "bradley_terry"
    calibration: int = Field(default=100, ge=LEAST_QUESTIONS)


class Pairwise(LanguageModelRanker):
    """Re-ranks candidates by asking a language model about two at a time; needs a retriever before it."""

    name = "pairwise"
    tasks = ("pairwise",)
    Config = PairwiseConfig
    config: PairwiseConfig

    @property
    def _template(self) -> Template:
        return WORDINGS[self.config.template].prefer

    def _longest(self, question: Question) -> Prompt:
        first, second = sorted(question.candidates, key=len)[-2:]
        return self._prompt(question, first, second)

    def _prompt(self, question: Question, first: str, second: str) -> Prompt:
        return prefer(
            question.history,
            (first, second),
            profile=question.profile,
            wish=question.wish,
            intent=question.intent,
            examples=question.examples,
            template=question.wording.prefer,
        )

    def _scores(self, questions: Sequence[Question], *, counts: Counter[str]) -> list[Float32 | None]:
        """Return strength or mean wins of each candidate; None where the model failed."""
        laid_out = [schedule(len(one.candidates), self.config.comparisons) for one in questions]
        prompts = [
            [
                self._prompt(question, question.candidates[one], question.candidates[other])
                for pair in pairs
                for one, other in (pair, pair[::-1])
            ]
            for question, pairs in zip(questions, laid_out, strict=True)
        ]
        given = ask_choices(self.lm, prompts, LETTERS[:2], counts=counts)
        results: list[Float32 | None] = []
        for question, pairs, logs in zip(questions, laid_out, given, strict=True):
            if logs is None:
                results.append(None)
                continue
            odds = (logs[:, 0] - logs[:, 1]).reshape(-1, 2).astype(np.float64)  # [pairs, order]
            wins = 1 / (1 + np.exp(-np.clip((odds[:, 0] - odds[:, 1]) / 2, -30, 30)))
            combine = strengths if self.config.aggregate == "bradley_terry" else mean_wins
            results.append(combine(np.array(pairs), wins, len(question.candidates)).astype(np.float32))
        return results


def schedule(candidates: int, comparisons: int) -> list[tuple[int, int]]:
    """Return which candidates meet: round r pairs each with the one r places further on, round the circle.

    Whole rounds are laid out as long as they fit, and the last one in part; the first round ties all to each other.
    """
    pairs: dict[tuple[int, int], None] = {}
    for step in range(1, candidates // 2 + 1):
        for one in range(candidates):
            other = (one + step) % candidates
            pairs.setdefault((min(one, other), max(one, other)))
    return list(pairs)[:comparisons]


def strengths(pairs: Int64, wins: Float64, candidates: int) -> Float64:
    r"""Fit a Bradley-Terry model with a ridge, by Newton's method.

    Args:
        pairs: who met, [p, 2].
        wins: probability that the first one wins, [p].
        candidates: how many there are.

    Returns:
        Strengths s, [candidates], that maximise
        $\sum_p w \log\sigma(s_i - s_j) + (1 - w) \log\sigma(s_j - s_i) - \lambda |s|^2 / 2$; their sum is 0.
    """
    met = np.zeros((len(pairs), candidates))
    met[np.arange(len(pairs)), pairs[:, 0]], met[np.arange(len(pairs)), pairs[:, 1]] = 1.0, -1.0
    found = np.zeros(candidates)
    for _ in range(ROUNDS):
        expected = 1 / (1 + np.exp(-met @ found))
        gradient = met.T @ (wins - expected) - RIDGE * found
        curvature = (met.T * (expected * (1 - expected))) @ met + RIDGE * np.eye(candidates)
        move = np.linalg.solve(curvature, gradient)
        found += move * min(1.0, 2.0 / max(np.abs(move).max(), 1e-12))
    return np.asarray(found, dtype=np.float64)


def mean_wins(pairs: Int64, wins: Float64, candidates: int) -> Float64:
    """Return the mean probability with which each candidate won; 0.5 for one that was never asked about."""
    won = np.bincount(pairs[:, 0], wins, candidates) + np.bincount(pairs[:, 1], 1 - wins, candidates)
    met = np.bincount(pairs.ravel(), minlength=candidates)
    return np.asarray(np.where(met > 0, won / np.maximum(met, 1), 0.5), dtype=np.float64)
