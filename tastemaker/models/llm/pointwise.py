r"""TALLRec's ranker: one question a candidate, "will the shopper buy this next?", scored by log p(Yes) - log p(No).

The product stands at the end of the prompt, so all before it (rules, history, profile) is read once a shopper. Untuned
models mostly say how common a product sounds; tuning on the task "yes_no" is what the method is about.

Source: TALLRec, arXiv 2305.00447. Deviations: candidates come from a retriever, which the score is mixed with as in
every re-ranker here; the pairs are next purchases and similar products instead of liked and disliked ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from tastemaker.models.parts.llm.choosing import ask_choices
from tastemaker.models.parts.llm.llm_ranking import LanguageModelRanker, RankingConfig
from tastemaker.models.parts.reranking.reranker import LEAST_QUESTIONS
from tastemaker.text.prompting.prompts import YES_OR_NO, yes_no
from tastemaker.text.prompting.wordings import WORDINGS

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from tastemaker.lm.base import Prompt
    from tastemaker.models.parts.llm.choosing import Question
    from tastemaker.text.prompting.prompts import Template
    from tastemaker.types import Float32


class PointwiseConfig(RankingConfig):
    """Settings of `pointwise`, beyond those of every re-ranker that asks a language model.

    Attributes:
        candidates: how many of the offered candidates are asked about, best first; the rest keep their order below.
        choices: candidates drawn with each demonstration, which are shown where the answer is a letter of many.
        chain_of_thought: whether the model first writes what the shopper is after, then judges.
    """

    candidates: int = Field(default=20, ge=2, le=200)
    calibration: int = Field(default=100, ge=LEAST_QUESTIONS)


class Pointwise(LanguageModelRanker):
    """Re-ranks candidates by asking a language model about one at a time; needs a retriever before it."""

    name = "pointwise"
    tasks = ("yes_no",)
    Config = PointwiseConfig
    config: PointwiseConfig

    @property
    def _template(self) -> Template:
        return WORDINGS[self.config.template].yes_no

    def _longest(self, question: Question) -> Prompt:
        return self._prompt(question, max(question.candidates, key=len))

    def _prompt(self, question: Question, name: str) -> Prompt:
        return yes_no(
            question.history,
            name,
            profile=question.profile,
            wish=question.wish,
            intent=question.intent,
            examples=question.examples,
            template=question.wording.yes_no,
        )

    def _scores(self, questions: Sequence[Question], *, counts: Counter[str]) -> list[Float32 | None]:
        """Return log p(Yes) - log p(No) of each candidate; None where the model failed."""
        prompts = [[self._prompt(question, name) for name in question.candidates] for question in questions]
        given = ask_choices(self.lm, prompts, YES_OR_NO, counts=counts)
        return [None if one is None else np.asarray(one[:, 0] - one[:, 1], dtype=np.float32) for one in given]
