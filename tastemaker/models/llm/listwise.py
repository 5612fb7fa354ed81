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

from tastemaker import configurable, metrics
from tastemaker.configurable import array_text, text_array
from tastemaker.data.ranking import Ranking, sort_lists
from tastemaker.errors import ConfigError, DataError, LanguageModelError
from tastemaker.lm.base import describe
from tastemaker.models.choosing import (
    Answer,
    Question,
    TitleLikelihoods,
    ask_likelihoods,
    ask_lists,
    letter_prior,
    ranks_of,
)
from tastemaker.progress import Progress, silent
from tastemaker.recommender import Recommender, check_queries
from tastemaker.text.profile import ProfileWriter
from tastemaker.text.prompts import CHOOSE, LETTERS, NEXT, ORDER
from tastemaker.text.render import item_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.queries import Queries
    from tastemaker.data.split import Holdout
    from tastemaker.lm.base import LanguageModel
    from tastemaker.types import Float32, Int32

WEIGHTS = tuple(round(step / 10, 1) for step in range(11))
"""Weights tried on validation."""
TEMPLATES = {"likelihood": CHOOSE, "titles": NEXT, "generate": ORDER}
"""Mode -> the prompt that asks."""
CERTAINTY = 2.8
"""Standard errors by which a weight must help on validation before the model takes part at all.

The chance that any of ten useless weights passes is then at most 10 x 0.0026 (one-sided normal, Bonferroni).
"""
LEAST_QUESTIONS = 20
"""Validation questions below which no weight is chosen."""
CHOSEN_AT = 10
"""List length of the NDCG by which the weight is chosen."""


class ListwiseConfig(configurable.Config):
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
    history: int = Field(default=20, ge=1)
    orders: int = Field(default=2, ge=1, le=len(LETTERS))
    profile: Literal["statistics", "lm", "none"] = "statistics"
    weight: float | Literal["auto"] = Field(default="auto", union_mode="left_to_right")
    calibration: int = Field(default=100, ge=LEAST_QUESTIONS)
    listed: int = Field(default=10, ge=1, le=len(LETTERS))


class Listwise(Recommender):
    """Re-ranks candidates by asking a language model; needs a retriever before it."""

    name = "listwise"
    takes = ("lm",)
    retrieves = False
    answers_empty_history = True
    ranks_cold_items = True
    reads_wish = True
    Config = ListwiseConfig
    config: ListwiseConfig
    lm: LanguageModel | None

    def __init__(self, *, lm: LanguageModel | None = None, **settings: Any) -> None:  # noqa: ANN401  # see Configurable
        super().__init__(lm=lm, **settings)
        if isinstance(self.config.weight, float) and not 0 <= self.config.weight <= 1:
            raise ConfigError(f'listwise.weight: {self.config.weight}: must lie between 0 and 1, or be "auto"')
        self._weight = self.config.weight if isinstance(self.config.weight, float) else 0.0
        self._prior = np.zeros(self.config.candidates, dtype=np.float32)
        self._trials: list[dict[str, float]] = []
        self._calibration: dict[str, int] = {}
        self._counts: Counter[str] = Counter()
        self._titles = TitleLikelihoods()
        self._profiles: ProfileWriter | None = None
        self._names: list[str] | None = None

    @property
    def calibration_size(self) -> int:
        """Validation questions wanted: none when the weight is given."""
        return self.config.calibration if self.config.weight == "auto" else 0

    def heeds_wish(self) -> bool:
        """Say whether the language model is asked at all."""
        return self._weight > 0

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Learn nothing from the log: the model is frozen. Its catalogue is taken anew."""
        self._profiles = self._names = None

    def calibrate(
        self, validation: Holdout, *, candidates: Ranking, seed: int = 0, progress: Progress = silent
    ) -> None:
        """Learn the letter prior and choose the weight on validation questions (NDCG@10).

        Raises:
            DataError: there are too few questions to tell help from chance.
            LanguageModelError: not one question was answered.
        """
        if len(validation) < LEAST_QUESTIONS:
            raise DataError(
                f"{self.name}: {len(validation)} validation questions are too few to choose a weight; "
                f"needs {LEAST_QUESTIONS}, or a fixed weight"
            )
        candidates = _without_history(candidates, validation.queries)
        self._counts.clear()
        ranks = self._ranks(validation.queries, candidates, learn_prior=True, progress=progress)
        self._calibration = dict(self._counts)
        self._counts.clear()
        if self._calibration and not self._calibration.get("answered"):
            raise LanguageModelError(f"{self.name}: no validation question was answered: {self._calibration}")
        self._trials = _trials(candidates, ranks, validation.targets)
        helpful = [trial for trial in self._trials if trial["gain"] > CERTAINTY * trial["standard_error"] > 0]
        self._weight = max(helpful, key=lambda trial: trial["gain"])["weight"] if helpful else 0.0

    def rank(self, queries: Queries, k: int, *, candidates: Ranking | None = None, seen: bool = False) -> Ranking:
        """Re-rank the candidates.

        Raises:
            ConfigError: no candidates, or no language model although the weight is not 0.
        """
        check_queries(queries, len(self.items), k)
        if candidates is None:
            raise ConfigError(f"{self.name}: only re-ranks candidates; put a retriever before it")
        offered = candidates if seen else _without_history(candidates, queries)
        asked = self._weight > 0
        ranks = self._ranks(queries, offered) if asked else [np.empty(0, dtype=np.int32)] * len(queries)
        mixed = _mixed(offered, ranks, self._weight)
        return sort_lists(mixed.items, mixed.scores, k)

    def _ranks(
        self, queries: Queries, candidates: Ranking, *, learn_prior: bool = False, progress: Progress = silent
    ) -> list[Int32]:
        """Return the model's rank of each query's first candidates; an empty array where it was not asked or failed."""
        width = self.config.candidates
        shown = [row[row >= 0][:width] for row in candidates.items]
        rows = [row for row, items in enumerate(shown) if len(items) > 1]
        questions = self._questions(queries.take(rows), [shown[row] for row in rows])
        results: list[Float32 | None] = []
        if self.config.mode == "likelihood":
            answers: list[Answer | None] = []
            for question in progress(questions, label="asking the language model"):
                answers += ask_likelihoods(self.lm, [question], orders=self.config.orders, counts=self._counts)
            if learn_prior:
                self._prior = letter_prior(answers, width)
            results = [None if answer is None else answer.scores(self._prior) for answer in answers]
        elif self.config.mode == "titles":
            for question in progress(questions, label="asking the language model"):
                results += self._titles.ask(self.lm, [question], counts=self._counts)
        else:
            for question in progress(questions, label="asking the language model"):
                results += ask_lists(self.lm, [question], listed=self.config.listed, counts=self._counts)
        ranks = [np.empty(0, dtype=np.int32)] * len(queries)
        for row, scores in zip(rows, results, strict=True):
            if scores is not None:
                ranks[row] = ranks_of(scores)
        return ranks

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
            "weight": self._weight,
            "chosen_on_validation": self._trials,
            "prompt": TEMPLATES[self.config.mode].identity,
            "language_model": None if self.lm is None else describe(self.lm),
            "counts_on_validation": self._calibration,
            "counts": dict(self._counts),
            "profiles_unreadable": 0 if self._profiles is None else self._profiles.unreadable,
            "profiles_failed": 0 if self._profiles is None else self._profiles.failed,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return weight, letter prior, and how the weight was chosen."""
        chosen = json.dumps({"trials": self._trials, "counts": self._calibration})
        return {"weight": np.array([self._weight]), "prior": self._prior, "chosen": text_array(chosen)}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take weight, letter prior and the choice's trials back."""
        self._weight = float(arrays["weight"].reshape(1)[0])
        self._prior = arrays["prior"].reshape(self.config.candidates)
        chosen = json.loads(array_text(arrays["chosen"]))
        self._trials, self._calibration = chosen["trials"], chosen["counts"]


def _trials(candidates: Ranking, ranks: Sequence[Int32], targets: Queries) -> list[dict[str, float]]:
    """Return NDCG at each weight, and the paired gain over weight 0 with its standard error."""
    name = f"ndcg@{CHOSEN_AT}"
    values = {
        weight: metrics.per_query(_mixed(candidates, ranks, weight), targets, (CHOSEN_AT,))[name].astype(np.float64)
        for weight in WEIGHTS
    }
    gains = {weight: value - values[0.0] for weight, value in values.items()}
    return [
        {
            "weight": weight,
            name: float(values[weight].mean()),
            "gain": float(gain.mean()),
            "standard_error": float(gain.std(ddof=1) / np.sqrt(len(gain))),
        }
        for weight, gain in gains.items()
    ]


def _without_history(candidates: Ranking, queries: Queries) -> Ranking:
    """Take what the shopper has out of the candidates."""
    seen = np.zeros(candidates.items.shape, dtype=bool)
    for row, history in enumerate(queries):
        seen[row] = np.isin(candidates.items[row], history)
    if not seen.any():
        return candidates
    return sort_lists(candidates.items, np.where(seen, -np.inf, candidates.scores), candidates.items.shape[1])


def _mixed(candidates: Ranking, ranks: Sequence[Int32], weight: float) -> Ranking:
    """Mix rank discounts of retriever and model; candidates that the model did not see stay below in their order."""
    width = candidates.items.shape[1]
    discount = (1.0 / np.log2(np.arange(width) + 2)).astype(np.float32)
    scores = np.tile(discount, (len(candidates), 1))
    for row, given in enumerate(ranks):
        m = len(given)
        if m and weight > 0:
            scores[row, :m] = (1 - weight) * discount[:m] + weight * discount[given] + 1.0
            # + 1 lifts what the model saw above the rest, whatever the weight
    scores[candidates.items < 0] = -np.inf
    return sort_lists(candidates.items, scores, width)
