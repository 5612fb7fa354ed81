r"""PALR's ranker: a language model chooses among the retriever's candidates, given history and profile in words.

For each query the prompt has three parts (history, profile, candidates by letter). In mode "likelihood" one forward
pass gives the log-probability of every letter; it is averaged over `orders` arrangements of the candidates, minus the
mean log-probability of each letter on validation questions, both against position bias. In mode "generate" the model
writes a list of letters. In mode "titles" each candidate's title is scored as a continuation of history and profile,
with the prompt read once: slower than letters, and nearer to what a small model has learnt to do; measure both.
Wording, demonstrations of similar shoppers and a chain of thought are settings; a list longer than `window` is put in
order window by window.

The final score of a candidate is $(1 - w)\,d(r_{retriever}) + w\,d(r_{model})$ with $d(r) = 1/\log_2(r + 2)$ of its
0-based rank $r$, plus 1 for candidates that the model was shown. The weight $w$ is chosen on validation questions, and
is zero unless the model helps there by more than 2.8 standard errors: an untuned small model hardly makes a list worse
in silence. What fails keeps the retriever's order and is counted. With a fixed weight nothing is asked on validation,
so no letter prior is learnt.

Sources: PALR, arXiv 2305.07622 (three-part prompt, candidates only); shuffle-and-average, recency-focused and few-shot
prompts after LLMRank, arXiv 2305.08845; letter prior after contextual calibration, arXiv 2102.09690; sliding window of
RankGPT, arXiv 2304.09542. Deviation from PALR: the retriever's rank takes part in the score.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from tastemaker.errors import ConfigError
from tastemaker.lm.base import LikelihoodModel
from tastemaker.models.parts.llm.choosing import (
    LETTER_TOKENS,
    Answer,
    TitleLikelihoods,
    ask_likelihoods,
    ask_lists,
    letter_prior,
)
from tastemaker.models.parts.llm.llm_ranking import LanguageModelRanker, RankingConfig, blocks
from tastemaker.models.parts.llm.windows import slide
from tastemaker.models.parts.reranking.reranker import LEAST_QUESTIONS
from tastemaker.text.clean import clean
from tastemaker.text.prompting.prompts import LETTERS, NAME_LENGTH
from tastemaker.text.prompting.wordings import template_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.lm.base import LanguageModel, Prompt
    from tastemaker.models.parts.llm.choosing import Question
    from tastemaker.progress import Progress
    from tastemaker.text.prompting.prompts import Template
    from tastemaker.types import Float32


class ListwiseConfig(RankingConfig):
    """Settings of `listwise`, beyond those of every re-ranker that asks a language model.

    Attributes:
        mode: "likelihood" reads letter probabilities, "titles" scores whole titles, "generate" lets the model write a
            list.
        window: candidates that the model sees at a time; a longer list is put in order by a sliding window.
        step: places by which the window slides.
        history: newest items of the history that the model sees (PALR: at most 20).
        orders: arrangements of the candidates to average over, in mode "likelihood".
        calibration: validation questions used for the choice and for the letter prior.
        listed: how many letters the model is asked for in mode "generate".
        tuning: how the language model is tuned, table `[stage.tuning]`: with tasks = ["recommend"] PALR v1, with
            "recommend_retrieval" too, which is the default, PALR v2; None asks it as it is.
    """

    mode: Literal["likelihood", "titles", "generate"] = "likelihood"
    candidates: int = Field(default=20, ge=2, le=200)
    window: int = Field(default=len(LETTERS), ge=2, le=len(LETTERS))
    step: int = Field(default=10, ge=1, le=len(LETTERS))
    orders: int = Field(default=2, ge=1, le=len(LETTERS))
    calibration: int = Field(default=100, ge=LEAST_QUESTIONS)
    listed: int = Field(default=10, ge=1, le=len(LETTERS))


class Listwise(LanguageModelRanker):
    """Re-ranks candidates by asking a language model about all of them; needs a retriever before it."""

    name = "listwise"
    tasks = ("recommend", "recommend_retrieval")
    Config = ListwiseConfig
    config: ListwiseConfig

    def __init__(self, *, lm: LanguageModel | None = None, **settings: Any) -> None:  # noqa: ANN401  # see Configurable
        super().__init__(lm=lm, **settings)
        window, step = self.config.window, self.config.step
        if step > window:
            raise ConfigError(f"listwise.step: {step}: must not exceed window = {window}, or it skips places")
        self._titles = TitleLikelihoods()

    def _choose_nothing(self) -> None:
        super()._choose_nothing()
        self._prior = np.zeros(self._shown_at_once, dtype=np.float32)

    def _learn(self, train: Dataset, *, further: bool, seed: int, progress: Progress) -> None:
        super()._learn(train, further=further, seed=seed, progress=progress)
        self._titles = TitleLikelihoods()  # what titles alone are worth to the model that is asked from now on

    @property
    def _shown_at_once(self) -> int:
        return min(self.config.candidates, self.config.window)

    @property
    def _lettered_examples(self) -> bool:
        return self.config.mode != "titles"

    @property
    def _template(self) -> Template:
        return template_of(self.config.template, self.config.mode)

    def _answers(
        self, questions: Sequence[Question], *, choosing: bool, counts: Counter[str], progress: Progress
    ) -> list[Float32 | None]:
        """Ask; the letter prior is learnt where the weight is chosen.

        Every window is counted; "further windows" are the answered ones beyond one a question.
        """
        results: list[Float32 | None] = []
        before = counts["answered"]
        heads = self._learn_prior(questions, counts, progress) if choosing else []
        if heads and max(len(question.candidates) for question in questions) <= self._shown_at_once:
            return [None if answer is None else answer.scores(self._prior) for answer in heads]
        window = self.config.candidates if self.config.mode == "titles" else self._shown_at_once
        for block in progress(blocks(questions), label="asking the language model"):
            results += slide(block, partial(self._scores, counts=counts), window=window, step=self.config.step)
        if more := counts["answered"] - before - sum(scores is not None for scores in results):
            counts["further windows"] += more
        return results

    def _scores(self, questions: Sequence[Question], *, counts: Counter[str]) -> list[Float32 | None]:
        """Return the model's scores of each question's candidates, as the mode says; None where it failed."""
        if self.config.mode == "titles":
            return self._titles.ask(self.lm, questions, counts=counts)
        if self.config.mode == "generate":
            return ask_lists(self.lm, questions, listed=self.config.listed, counts=counts)
        answers = ask_likelihoods(self.lm, questions, orders=self.config.orders, counts=counts)
        return [None if answer is None else answer.scores(self._prior) for answer in answers]

    def _learn_prior(
        self, questions: Sequence[Question], counts: Counter[str], progress: Progress
    ) -> list[Answer | None]:
        """Learn what the model says of letters from the head of each list; return these answers."""
        answers: list[Answer | None] = []
        if self.config.mode != "likelihood":
            return answers
        for block in progress(blocks(questions), label="asking the language model"):
            heads = [one.part(np.arange(min(self._shown_at_once, len(one.candidates)))) for one in block]
            answers += ask_likelihoods(self.lm, heads, orders=self.config.orders, counts=counts)
        self._prior = letter_prior(answers, self._shown_at_once)
        return answers

    def _longest(self, question: Question) -> Prompt:
        """Return the longest prompt that a question becomes."""
        if self.config.mode == "titles":
            return question.title_prompt()
        order = np.argsort([-len(name) for name in question.candidates], kind="stable")[: self._shown_at_once]
        return question.prompt(order, count=self.config.listed if self.config.mode == "generate" else None)

    def _answer_tokens(self, question: Question) -> int:
        """Return how many tokens a letter, a list of letters, or the longest title may take."""
        if self.config.mode == "generate":
            return LETTER_TOKENS * self.config.listed
        if self.config.mode == "titles" and isinstance(self.lm, LikelihoodModel):
            titles = [clean(name, max_length=NAME_LENGTH) for name in question.candidates]
            return self.lm.count_tokens(f" {max(titles, key=lambda title: len(title.encode()))}")
        return 1

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the letter prior, and all that every such ranker keeps."""
        return {**super().arrays(), "prior": self._prior}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take back what `arrays` returned."""
        super().restore(arrays)
        self._prior = arrays["prior"].reshape(self._shown_at_once)
