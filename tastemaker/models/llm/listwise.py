r"""PALR's ranker: a language model chooses among the retriever's candidates, given history and profile in words.

For each query the prompt has three parts (history, profile, candidates by letter). In mode "likelihood" one forward
pass gives the log-probability of every letter; it is averaged over `orders` arrangements of the candidates, minus the
mean log-probability of each letter on validation questions, both against position bias. In mode "generate" the model
writes a list of letters. In mode "titles" each candidate's title is scored as a continuation of history and profile,
with the prompt read once: slower than letters, and the better choice for small models, which cannot tell letters apart.
Wording, demonstrations of similar shoppers and a chain of thought are settings; a list longer than `window` is put in
order window by window.

The final score of a candidate is $(1 - w)\,d(r_{retriever}) + w\,d(r_{model})$ with $d(r) = 1/\log_2(r + 2)$ of its
0-based rank $r$, plus 1 for candidates that the model was shown. The weight $w$ is chosen on validation questions, and
is zero unless the model helps there by more than 2.8 standard errors: an untuned small model cannot make the list worse
in silence. What fails keeps the retriever's order and is counted. With a fixed weight nothing is asked on validation,
so no letter prior is learnt.

Sources: PALR, arXiv 2305.07622 (three-part prompt, candidates only); shuffle-and-average, recency-focused and few-shot
prompts after LLMRank, arXiv 2305.08845; letter prior after contextual calibration, arXiv 2102.09690; sliding window of
RankGPT, arXiv 2304.09542. Deviation from PALR: the retriever's rank takes part in the score.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from tastemaker.configurable import array_text, text_array, under
from tastemaker.errors import ConfigError, LanguageModelError
from tastemaker.lm.base import describe
from tastemaker.models.choosing import (
    Answer,
    TitleLikelihoods,
    ask_likelihoods,
    ask_lists,
    letter_prior,
)
from tastemaker.models.questions import (
    NOTHING_WENT_WRONG,
    AskingConfig,
    QuestionWriter,
    demonstrated,
    demonstrations_for,
    prompts_beside,
    restored_demonstrations,
    shortened,
)
from tastemaker.models.reranking import LEAST_QUESTIONS, Purpose, Reranker
from tastemaker.models.windows import slide
from tastemaker.progress import Progress, silent
from tastemaker.text.prompts import LETTERS
from tastemaker.text.wordings import template_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.data.queries import Queries
    from tastemaker.data.ranking import Ranking
    from tastemaker.lm.base import LanguageModel, Prompt
    from tastemaker.models.choosing import Question
    from tastemaker.models.demonstrations import Demonstrations
    from tastemaker.types import Float32, Int32


class ListwiseConfig(AskingConfig):
    """Knobs of `listwise`.

    Attributes:
        template: how the question is worded; `tastemaker prompts` lists the wordings.
        demonstrations: similar shoppers whose next purchase is shown as an example (few-shot); 0 for zero-shot.
        choices: candidates shown with each demonstration.
        chain_of_thought: whether the model first writes what the shopper is after, then chooses: two calls.
        mode: "likelihood" reads letter probabilities, "titles" scores whole titles, "generate" lets the model write a
            list.
        candidates: how many of the offered candidates the model sees, best first; the rest keep their order below.
        window: candidates that the model sees at a time; a longer list is put in order by a sliding window.
        step: places by which the window slides.
        history: newest items of the history that the model sees (PALR: at most 20).
        orders: arrangements of the candidates to average over, in mode "likelihood".
        profile: who writes the profile part: "statistics", the language model ("lm"), or "none".
        weight: weight of the model against the retriever, or "auto" to choose it on validation.
        calibration: validation questions used for the choice and for the letter prior.
        listed: how many letters the model is asked for in mode "generate".
        max_rise: places that the model may lift a candidate above its place in the retriever's list at most; "half" is
            half of `candidates`.
    """

    mode: Literal["likelihood", "titles", "generate"] = "likelihood"
    candidates: int = Field(default=20, ge=2, le=200)
    window: int = Field(default=len(LETTERS), ge=2, le=len(LETTERS))
    step: int = Field(default=10, ge=1, le=len(LETTERS))
    orders: int = Field(default=2, ge=1, le=len(LETTERS))
    calibration: int = Field(default=100, ge=LEAST_QUESTIONS)
    listed: int = Field(default=10, ge=1, le=len(LETTERS))


class Listwise(Reranker):
    """Re-ranks candidates by asking a language model; needs a retriever before it."""

    name = "listwise"
    takes = ("lm",)
    ranks_cold_items = True
    reads_wish = True
    Config = ListwiseConfig
    config: ListwiseConfig

    def __init__(self, *, lm: LanguageModel | None = None, **settings: Any) -> None:  # noqa: ANN401  # see Configurable
        super().__init__(lm=lm, **settings)
        window, step = self.config.window, self.config.step
        if step > window:
            raise ConfigError(f"listwise.step: {step}: must not exceed window = {window}, or it skips places")
        self._width = min(self.config.candidates, window)
        self._prior = np.zeros(self._width, dtype=np.float32)
        self._calibration: dict[str, int] = {}
        self._counts: Counter[str] = Counter()
        self._titles = TitleLikelihoods()
        self._writer: QuestionWriter | None = None
        self._demonstrations: Demonstrations | None = None

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Take the catalogue anew, and demonstrations from the log where any are wanted; the model is frozen."""
        self._writer = None
        self._counts.clear()
        self._demonstrations = demonstrations_for(self.config, train, seed=seed)

    def transfer(self, items: Entities) -> None:
        """Re-rank another shop's products; weight and letter prior stay as they were chosen, demonstrations do not.

        Raises:
            NotFitted: `fit` or `load` comes first.
        """
        _ = self.items
        self._items, self._writer, self._demonstrations = items, None, None

    def opinions(
        self, queries: Queries, candidates: Ranking, *, purpose: Purpose, progress: Progress = silent
    ) -> list[Float32]:
        """Ask the model; see `Reranker.opinions`. The letter prior is learnt where the weight is chosen.

        Raises:
            ConfigError: there is no language model, or not one that the mode needs.
            LanguageModelError: the weight is to be chosen, and not one question was answered.
        """
        counts = self._counts if purpose == "rank" else Counter()
        given = self._ask(queries, candidates, counts=counts, learn_prior=purpose == "choice", progress=progress)
        if purpose == "choice":
            self._calibration = dict(counts)
            if counts and not counts["answered"]:
                raise LanguageModelError(f"{self.name}: no validation question was answered: {self._calibration}")
        return given

    def _ask(
        self, queries: Queries, candidates: Ranking, *, counts: Counter[str], learn_prior: bool, progress: Progress
    ) -> list[Float32]:
        """Return the model's scores of each query's first candidates; an empty array where not asked or failed."""
        width = self.config.candidates
        shown = [row[row >= 0][:width] for row in candidates.items]
        rows = [row for row, items in enumerate(shown) if len(items) > 1]
        questions = self._questions(queries.take(rows), [shown[row] for row in rows])
        questions = [shortened(question, self.lm, self._longest, counts) for question in questions]
        results: list[Float32 | None] = []
        heads = self._learn_prior(questions, counts, progress) if learn_prior else []
        if heads and max(len(question.candidates) for question in questions) <= self._width:
            results = [None if answer is None else answer.scores(self._prior) for answer in heads]
        else:
            window = self.config.candidates if self.config.mode == "titles" else self._width
            for question in progress(questions, label="asking the language model"):
                results += slide([question], partial(self._scores, counts=counts), window=window, step=self.config.step)
        opinions = [np.empty(0, dtype=np.float32)] * len(queries)
        for row, scores in zip(rows, results, strict=True):
            opinions[row] = opinions[row] if scores is None else scores
        return opinions

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
        for question in progress(questions, label="asking the language model"):
            head = question.part(np.arange(min(self._width, len(question.candidates))))
            answers += ask_likelihoods(self.lm, [head], orders=self.config.orders, counts=counts)
        self._prior = letter_prior(answers, self._width)
        return answers

    def _questions(self, queries: Queries, shown: Sequence[Int32]) -> list[Question]:
        """Put queries and candidates into words."""
        if self._writer is None:
            self._writer = QuestionWriter(self.config, self.items, lm=self.lm, demonstrations=self._demonstrations)
        return self._writer.write(queries, shown)

    def _longest(self, question: Question) -> Prompt:
        """Return the longest prompt that a question becomes."""
        if self.config.mode == "titles":
            return question.title_prompt()
        order = np.argsort([-len(name) for name in question.candidates], kind="stable")[: self._width]
        return question.prompt(order, count=self.config.listed if self.config.mode == "generate" else None)

    def demonstrated(self, queries: Queries) -> list[tuple[Int32, Int32]]:
        """Return user and item numbers of the purchases of others that the prompt for each query shows."""
        found = demonstrated(self._demonstrations, queries, self.config)
        if self._demonstrations is None:
            return [(rows, rows) for rows in found]
        return [self._demonstrations.purchases(rows) for rows in found]

    def learnt_from(self) -> dict[str, tuple[Int32, Int32]]:
        """Return the purchases that demonstrations may show."""
        if self._demonstrations is None:
            return {}
        everybody = np.arange(len(self._demonstrations), dtype=np.int32)
        return {"demonstrations": self._demonstrations.purchases(everybody)}

    def report(self) -> dict[str, Any]:
        """Return the chosen weight with its trials, the prompt's identity, and what went wrong how often."""
        return {
            **super().report(),
            "prompt": template_of(self.config.template, self.config.mode).identity,
            "prompts_beside": prompts_beside(self.config, titles=self.config.mode == "titles"),
            "language_model": None if self.lm is None else describe(self.lm),
            "counts_on_validation": self._calibration,
            "counts": dict(self._counts),
            **(NOTHING_WENT_WRONG if self._writer is None else self._writer.report()),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return weight, letter prior, how the weight was chosen, and the demonstrations."""
        shown = {} if self._demonstrations is None else self._demonstrations.arrays()
        return {
            **super().arrays(),
            "prior": self._prior,
            "counts": text_array(json.dumps(self._calibration)),
            **{f"demonstrations.{name}": array for name, array in shown.items()},
        }

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take weight, letter prior, the choice's trials and the demonstrations back."""
        super().restore(arrays)
        self._prior = arrays["prior"].reshape(self._width)
        self._demonstrations = restored_demonstrations(under(arrays, "demonstrations"), len(self.items))
        self._calibration = json.loads(array_text(arrays["counts"]))
