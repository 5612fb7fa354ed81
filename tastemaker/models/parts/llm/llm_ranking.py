"""What all rankers share that ask a language model about candidates: questions, tuning, counts, saving."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tastemaker.configurable import array_text, text_array, under
from tastemaker.data.queries import Queries
from tastemaker.errors import ConfigError
from tastemaker.lm.base import describe
from tastemaker.models.parts.llm.choosing import Tally
from tastemaker.models.parts.llm.llm_tuning import RankerTuner, RankerTuning
from tastemaker.models.parts.llm.questions import (
    NOTHING_WENT_WRONG,
    ROOM,
    AskingConfig,
    QuestionWriter,
    demonstrated,
    demonstrations_for,
    prompts_beside,
    restored_demonstrations,
    shortened,
)
from tastemaker.models.parts.reranking.reranker import Purpose, Reranker
from tastemaker.progress import Progress, silent
from tastemaker.recommender import Aids, check_tuning
from tastemaker.text.prompting.wordings import WORDINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.data.ranking import Ranking
    from tastemaker.lm.adapting import Adapter
    from tastemaker.lm.base import LanguageModel, Prompt
    from tastemaker.models.parts.llm.choosing import Question
    from tastemaker.models.parts.llm.demonstrations import Demonstrations
    from tastemaker.text.instructions.tasks import Task
    from tastemaker.text.prompting.prompts import Template
    from tastemaker.types import Float32, Int32

BLOCK = 64
"""Questions that are asked together: a graphics card reads many prompts at once."""


class RankingConfig(AskingConfig):
    """Knobs of every ranker that asks a language model.

    Attributes:
        tuning: how the language model is tuned on the training data, table `[stage.tuning]`; without it, it is asked as
            it is.
    """

    tuning: RankerTuning | None = None


class LanguageModelRanker(Reranker):
    """Re-ranks candidates by asking a language model; a subclass gives `_answers`.

    Class attributes:
        tasks: what the language model is tuned on where the settings name nothing.
    """

    takes = ("lm",)
    ranks_cold_items = True
    reads_wish = True
    tasks: ClassVar[tuple[Task, ...]]
    Config = RankingConfig
    config: Any  # RankingConfig, or a subclass with the ranker's own settings

    def __init__(self, *, lm: LanguageModel | None = None, **settings: Any) -> None:  # noqa: ANN401  # see Configurable
        super().__init__(lm=lm, **settings)
        self._counts: Counter[str] = Counter()
        self._writer: QuestionWriter | None = None
        self._demonstrations: Demonstrations | None = None
        self._tuner = RankerTuner(self.config.tuning, model=self.name, tasks=self.tasks)
        if self.config.tuning is None:
            return
        if self.config.demonstrations or self.config.chain_of_thought:
            raise ConfigError(
                f"{self.name}.tuning: the model learns to answer at once; set demonstrations = 0 and "
                "chain_of_thought = false, or leave tuning out"
            )
        if self.config.profile == "lm":
            raise ConfigError(
                f"{self.name}.tuning: the tuned model would write other profiles than those it was tuned on; set "
                'profile = "statistics" or "none", or leave tuning out'
            )

    def _choose_nothing(self) -> None:
        super()._choose_nothing()
        self._calibration: dict[str, int] = {}

    @property
    def _lettered_examples(self) -> bool:
        """Whether demonstrations show candidates by letter."""
        return False

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Take the catalogue anew, demonstrations from the log where any are wanted, and tune if that is set."""
        self._learn(train, further=False, seed=seed, progress=progress)

    def tune(self, train: Dataset, *, aids: Aids | None = None, seed: int = 0, progress: Progress = silent) -> None:
        """Go on from what was tuned before; see `Tunable`."""
        check_tuning(self, train)
        self.aids, self._items = aids or Aids(), train.items
        self._learn(train, further=True, seed=seed, progress=progress)

    def _learn(self, train: Dataset, *, further: bool, seed: int, progress: Progress) -> None:
        self._writer = None
        self._counts.clear()
        self._demonstrations = demonstrations_for(self.config, train, seed=seed)
        self.lm = self._tuner.learn(
            self.lm,
            train,
            history=self.config.history,
            candidates=self._shown_at_once,
            profiles=None if self.config.profile == "none" else self._written().profiles,
            wording=WORDINGS[self.config.template],
            aids=self.aids,
            further=further,
            seed=seed,
            progress=progress,
        )
        self._writer = None

    @property
    def adapter(self) -> Adapter | None:
        """What tuning added to the language model; None without tuning, and before."""
        return self._tuner.adapter

    @property
    def _shown_at_once(self) -> int:
        """Candidates that one prompt shows, or that one question is about."""
        return int(self.config.candidates)

    def transfer(self, items: Entities) -> None:
        """Re-rank another shop's products; what was chosen and tuned stays as it is, demonstrations do not.

        Raises:
            NotFitted: `fit` or `load` comes first.
        """
        self.reread(items)
        self._demonstrations = None

    def reread(self, items: Entities) -> None:
        """Read other texts of the same products, in demonstrations too; see `Rereading`."""
        _ = self.items
        self._items, self._writer = items, None

    def opinions(
        self, queries: Queries, candidates: Ranking, *, purpose: Purpose, progress: Progress = silent
    ) -> list[Float32]:
        """Ask the model; see `Reranker.opinions`.

        Raises:
            ConfigError: there is no language model, or not one that is needed.
            LanguageModelError: the weight is to be chosen, and not one question was answered.
        """
        counts = self._counts if purpose == "rank" else Tally.of(self.name) if purpose == "choice" else Counter()
        shown = [row[row >= 0][: self.config.candidates] for row in candidates.items]
        rows = [row for row, items in enumerate(shown) if len(items) > 1]
        choosing = purpose == "choice"
        questions = self._written().write(queries.take(rows), [shown[row] for row in rows], choosing=choosing)
        questions = [
            shortened(question, self.lm, self._longest, counts, room=max(ROOM, self._answer_tokens(question)))
            for question in questions
        ]
        given = self._answers(questions, choosing=choosing, counts=counts, progress=progress)
        if choosing:
            self._calibration = dict(counts)
            if isinstance(counts, Tally) and counts and not counts["answered"]:
                raise counts.unanswered()
        opinions = [np.empty(0, dtype=np.float32)] * len(queries)
        for row, scores in zip(rows, given, strict=True):
            opinions[row] = opinions[row] if scores is None else scores
        return opinions

    def _answers(
        self, questions: Sequence[Question], *, choosing: bool, counts: Counter[str], progress: Progress
    ) -> list[Float32 | None]:
        """Return scores of each question's candidates; None where the model failed, with the failure counted.

        Args:
            questions: any number.
            choosing: whether they are the validation questions that the weight is chosen on.
            counts: of answers and failures.
            progress: shown over blocks of questions.
        """
        results: list[Float32 | None] = []
        for block in progress(blocks(questions), label="asking the language model"):
            results += self._scores(block, counts=counts)
        return results

    @abstractmethod
    def _scores(self, questions: Sequence[Question], *, counts: Counter[str]) -> list[Float32 | None]:
        """Return scores of each question's candidates; None where the model failed, with the failure counted."""

    @abstractmethod
    def _longest(self, question: Question) -> Prompt:
        """Return the longest prompt that a question becomes."""

    def _answer_tokens(self, question: Question) -> int:
        """Return how many tokens an answer may take."""
        return 1

    @property
    @abstractmethod
    def _template(self) -> Template:
        """The prompt that asks."""

    def _written(self) -> QuestionWriter:
        if self._writer is None:
            self._writer = QuestionWriter(self.config, self.items, lm=self.lm, demonstrations=self._demonstrations)
        return self._writer

    def prepare(self) -> None:
        """Read the catalogue's names and what profiles need; see `Preparing`."""
        writer = self._written()
        if self.config.profile != "lm" and not self.config.chain_of_thought and len(self.items):
            first = np.zeros(1, dtype=np.int32)
            writer.write(Queries.from_lists([first]), [first])

    def demonstrated(self, queries: Queries) -> list[tuple[Int32, Int32]]:
        """Return user and item numbers of the purchases of others that the prompt for each query shows."""
        found = demonstrated(self._demonstrations, queries, self.config)
        if self._demonstrations is None:
            return [(rows, rows) for rows in found]
        return [self._demonstrations.purchases(rows) for rows in found]

    def learnt_from(self) -> dict[str, tuple[Int32, Int32]]:
        """Return the purchases that demonstrations may show, and those that tuning pairs were made of."""
        if self._demonstrations is None:
            return self._tuner.learnt_from()
        everybody = np.arange(len(self._demonstrations), dtype=np.int32)
        return {"demonstrations": self._demonstrations.purchases(everybody)}

    def report(self) -> dict[str, Any]:
        """Return the chosen weight with its trials, the prompt's identity, tuning, and what went wrong how often."""
        return {
            **super().report(),
            "prompt": self._template.identity,
            "prompts_beside": prompts_beside(self.config, lettered=self._lettered_examples),
            "language_model": None if self.lm is None else describe(self.lm),
            **self._tuner.report(),
            "counts_on_validation": self._calibration,
            "counts": dict(self._counts),
            **(NOTHING_WENT_WRONG if self._writer is None else self._writer.report()),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the weight and how it was chosen, the demonstrations, and what tuning learnt."""
        parts = {"demonstrations": self._demonstrations, "tuned": self._tuner}
        return {
            **super().arrays(),
            "counts": text_array(json.dumps(self._calibration)),
            **{
                f"{prefix}.{name}": array
                for prefix, part in parts.items()
                if part is not None
                for name, array in part.arrays().items()
            },
        }

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take weight, the choice's trials, demonstrations and the tuned model back."""
        super().restore(arrays)
        self._demonstrations = restored_demonstrations(under(arrays, "demonstrations"), len(self.items))
        self._calibration = json.loads(array_text(arrays["counts"]))
        self.lm = self._tuner.restore(self.lm, under(arrays, "tuned"))


def blocks(questions: Sequence[Question]) -> list[Sequence[Question]]:
    """Return the questions that are asked together."""
    return [questions[start : start + BLOCK] for start in range(0, len(questions), BLOCK)]
