r"""PALR's ranker: a language model chooses among the retriever's candidates, given history and profile in words.

For each query the prompt has three parts (history, profile, candidates by letter). In mode "likelihood" one forward
pass gives the log-probability of every letter; it is averaged over `orders` arrangements of the candidates, minus the
mean log-probability of each letter on validation questions, both against position bias. In mode "generate" the model
writes a list of letters. In mode "titles" each candidate's title is scored as a continuation of history and profile,
with the prompt read once: slower than letters, and the better choice for small models, which cannot tell letters apart.

The final score of a candidate is $(1 - w)\,d(r_{retriever}) + w\,d(r_{model})$ with $d(r) = 1/\log_2(r + 2)$ of its
0-based rank $r$, plus 1 for candidates that the model was shown. The weight $w$ is chosen on validation questions, and
is zero unless the model helps there by more than 2.8 standard errors: an untuned small model cannot make the list worse
in silence. What fails keeps the retriever's order and is counted. With a fixed weight nothing is asked on validation,
so no letter prior is learnt.

Sources: PALR, arXiv 2305.07622 (three-part prompt, candidates only); shuffle-and-average after LLMRank, arXiv
2305.08845; letter prior after contextual calibration, arXiv 2102.09690. Deviation from PALR: the retriever's rank
takes part in the score.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from tastemaker.configurable import array_text, text_array
from tastemaker.errors import LanguageModelError
from tastemaker.lm.base import describe
from tastemaker.models.choosing import (
    Answer,
    Question,
    TitleLikelihoods,
    ask_likelihoods,
    ask_lists,
    letter_prior,
)
from tastemaker.models.reranking import LEAST_QUESTIONS, Purpose, Reranker, RerankerConfig
from tastemaker.progress import Progress, silent
from tastemaker.text.profile import ProfileWriter
from tastemaker.text.prompts import CHOOSE, LETTERS, NEXT, ORDER
from tastemaker.text.render import item_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.data.queries import Queries
    from tastemaker.data.ranking import Ranking
    from tastemaker.lm.base import LanguageModel
    from tastemaker.types import Float32, Int32

TEMPLATES = {"likelihood": CHOOSE, "titles": NEXT, "generate": ORDER}
"""Mode -> the prompt that asks."""


class ListwiseConfig(RerankerConfig):
    """Knobs of `listwise`.

    Attributes:
        mode: "likelihood" reads letter probabilities, "titles" scores whole titles, "generate" lets the model write a
            list.
        candidates: how many of the offered candidates the model sees, best first; the rest keep their order below.
        history: newest items of the history that the model sees (PALR: at most 20).
        orders: arrangements of the candidates to average over, in mode "likelihood".
        profile: who writes the profile part: "statistics", the language model ("lm"), or "none".
        weight: weight of the model against the retriever, or "auto" to choose it on validation.
        calibration: validation questions used for the choice and for the letter prior.
        listed: how many letters the model is asked for in mode "generate".
    """

    mode: Literal["likelihood", "titles", "generate"] = "likelihood"
    candidates: int = Field(default=20, ge=2, le=len(LETTERS))
    orders: int = Field(default=2, ge=1, le=len(LETTERS))
    profile: Literal["statistics", "lm", "none"] = "statistics"
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
        self._prior = np.zeros(self.config.candidates, dtype=np.float32)
        self._calibration: dict[str, int] = {}
        self._counts: Counter[str] = Counter()
        self._titles = TitleLikelihoods()
        self._profiles: ProfileWriter | None = None
        self._names: list[str] | None = None

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Learn nothing from the log: the model is frozen. Its catalogue is taken anew."""
        self._profiles = self._names = None
        self._counts.clear()

    def transfer(self, items: Entities) -> None:
        """Re-rank another shop's products; weight and letter prior stay as they were chosen.

        Raises:
            NotFitted: `fit` or `load` comes first.
        """
        _ = self.items
        self._items, self._profiles, self._names = items, None, None

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
        questions = progress(
            self._questions(queries.take(rows), [shown[row] for row in rows]), label="asking the language model"
        )
        results: list[Float32 | None] = []
        if self.config.mode == "likelihood":
            answers: list[Answer | None] = []
            for question in questions:
                answers += ask_likelihoods(self.lm, [question], orders=self.config.orders, counts=counts)
            if learn_prior:
                self._prior = letter_prior(answers, width)
            results = [None if answer is None else answer.scores(self._prior) for answer in answers]
        elif self.config.mode == "titles":
            for question in questions:
                results += self._titles.ask(self.lm, [question], counts=counts)
        else:
            for question in questions:
                results += ask_lists(self.lm, [question], listed=self.config.listed, counts=counts)
        opinions = [np.empty(0, dtype=np.float32)] * len(queries)
        for row, scores in zip(rows, results, strict=True):
            opinions[row] = opinions[row] if scores is None else scores
        return opinions

    def _questions(self, queries: Queries, shown: Sequence[Int32]) -> list[Question]:
        """Put histories, profiles, wishes and candidates into words."""
        if self._names is None or self._profiles is None:
            self._names = item_names(self.items)
            self._profiles = ProfileWriter(self.items, lm=self.lm if self.config.profile == "lm" else None)
        histories = [history[-self.config.history :] for history in queries]
        if self.config.profile == "none":
            profiles = [""] * len(histories)
        else:
            profiles = [profile.in_words() for profile in self._profiles.write(histories)]
        wishes = queries.texts or ("",) * len(histories)
        names = self._names
        return [
            Question([names[item] for item in history], [names[item] for item in items], profile, wish)
            for history, items, profile, wish in zip(histories, shown, profiles, wishes, strict=True)
        ]

    def report(self) -> dict[str, Any]:
        """Return the chosen weight with its trials, the prompt's identity, and what went wrong how often."""
        return {
            **super().report(),
            "prompt": TEMPLATES[self.config.mode].identity,
            "language_model": None if self.lm is None else describe(self.lm),
            "counts_on_validation": self._calibration,
            "counts": dict(self._counts),
            "profiles_unreadable": 0 if self._profiles is None else self._profiles.unreadable,
            "profiles_failed": 0 if self._profiles is None else self._profiles.failed,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return weight, letter prior, and how the weight was chosen."""
        return {**super().arrays(), "prior": self._prior, "counts": text_array(json.dumps(self._calibration))}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take weight, letter prior and the choice's trials back."""
        super().restore(arrays)
        self._prior = arrays["prior"].reshape(self.config.candidates)
        self._calibration = json.loads(array_text(arrays["counts"]))
