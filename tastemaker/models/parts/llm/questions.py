"""Shoppers and candidates put into words: the settings that rankers which ask language models share, and their use.

Prompting strategies: zero-shot, few-shot with demonstrations of similar shoppers, chain of thought (what the shopper is
after first, then the choice), and other wordings. What is written and found here depends on one query alone, so a batch
gives what single queries give.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from tastemaker.lm.base import LikelihoodModel
from tastemaker.models.parts.llm.choosing import Question
from tastemaker.models.parts.llm.demonstrations import Demonstrations
from tastemaker.models.parts.reranking.reranker import RerankerConfig
from tastemaker.redaction import redact
from tastemaker.text.intent import IntentWriter
from tastemaker.text.profile import ProfileWriter
from tastemaker.text.prompting.prompts import EXAMPLE_CHOICE, EXAMPLE_NEXT, INTENT, LETTERS, PROFILE
from tastemaker.text.prompting.wordings import WORDINGS
from tastemaker.text.render import item_names

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.data.queries import Queries
    from tastemaker.lm.base import LanguageModel, Prompt
    from tastemaker.types import Int32

ROOM = 64
"""Tokens of the context that prompts leave for an answer or a title, at least."""
NOTHING_WENT_WRONG = dict.fromkeys(
    ("profiles_unreadable", "profiles_failed", "intents_unreadable", "intents_failed"), 0
)
NOTHING = np.empty(0, dtype=np.int32)


class AskingConfig(RerankerConfig):
    """Knobs of a re-ranker that asks a language model: what a question says.

    Attributes:
        template: how the question is worded; `tastemaker prompts` lists the wordings.
        demonstrations: similar shoppers whose next purchase is shown as an example (few-shot); 0 for zero-shot.
        choices: candidates shown with each demonstration.
        chain_of_thought: whether the model first writes what the shopper is after, then chooses: two calls.
        profile: who writes the profile part: "statistics", the language model ("lm"), or "none".
    """

    template: Literal["palr", "recency", "role", "plain", "complement", "rules"] = "palr"
    demonstrations: int = Field(default=0, ge=0, le=16)
    choices: int = Field(default=4, ge=2, le=len(LETTERS))
    chain_of_thought: bool = False
    profile: Literal["statistics", "lm", "none"] = "statistics"


class QuestionWriter:
    """Writes questions about one catalogue.

    Args:
        config: what questions say.
        items: the catalogue.
        lm: writes profiles and intents, where these are wanted of it, and says how long its context is.
        demonstrations: what similar shoppers are found in; None where none are shown.
    """

    def __init__(
        self, config: AskingConfig, items: Entities, *, lm: LanguageModel | None, demonstrations: Demonstrations | None
    ) -> None:
        self._config, self._lm, self._demonstrations = config, lm, demonstrations
        self._names = item_names(items)
        self._profiles = ProfileWriter(items, lm=lm if config.profile == "lm" else None)

    @cached_property
    def _intents(self) -> IntentWriter:
        return IntentWriter(self._lm)

    def write(self, queries: Queries, shown: Sequence[Int32], *, choosing: bool = False) -> list[Question]:
        """Put histories, profiles, wishes, demonstrations, intents and candidates into words.

        Args:
            queries: B histories.
            shown: candidates of each query, item numbers.
            choosing: whether these are the validation questions that the weight is chosen on.

        Raises:
            ConfigError: a chain of thought is wanted and there is no language model.
            LanguageModelError: the model is to write profiles or intents, and while choosing answers nothing at all.
        """
        config, names = self._config, self._names
        histories = [history[-config.history :] for history in queries]
        profiles = [""] * len(histories) if config.profile == "none" else self.profiles(histories, choosing=choosing)
        # A name takes no part in anything, not even in the random order that hangs on a question.
        wishes = [redact(wish, personal=True) for wish in queries.texts or ("",) * len(histories)]
        found = demonstrated(self._demonstrations, queries, config)
        questions = []
        for row, (history, items) in enumerate(zip(histories, shown, strict=True)):
            question = Question(
                [names[item] for item in history],
                [names[item] for item in items],
                profiles[row],
                wishes[row],
                wording=WORDINGS[config.template],
            )
            if self._demonstrations is not None:
                question = replace(question, examples=[self._demonstrations.example(int(n), names) for n in found[row]])
            if config.chain_of_thought:
                said = self._intents.write(question.history, profile=question.profile, wish=question.wish)
                question = replace(question, intent=said)
                if choosing:
                    self._intents.tries.check("chain_of_thought")
            questions.append(question)
        return questions

    def profiles(self, histories: Sequence[Int32], *, choosing: bool = False) -> list[str]:
        """Return the profile of each history in words; see `write`."""
        said: list[str] = []
        for history in histories:
            said += [profile.in_words() for profile in self._profiles.write([history])]
            if choosing:
                self._profiles.tries.check('profile = "lm"')
        return said

    def report(self) -> dict[str, Any]:
        """Return what went wrong how often."""
        wrote = "_intents" in vars(self)
        return {
            "profiles_unreadable": self._profiles.unreadable,
            "profiles_failed": self._profiles.tries.failed,
            "intents_unreadable": self._intents.unreadable if wrote else 0,
            "intents_failed": self._intents.tries.failed if wrote else 0,
        }


def demonstrations_for(config: AskingConfig, train: Dataset, *, seed: int) -> Demonstrations | None:
    """Return the demonstrations of a training set, None where none are wanted."""
    if not config.demonstrations:
        return None
    return Demonstrations.of(train, history=config.history, choices=config.choices, seed=seed)


def demonstrated(demonstrations: Demonstrations | None, queries: Queries, config: AskingConfig) -> list[Int32]:
    """Return the numbers of the demonstrations that each query is shown."""
    if demonstrations is None:
        return [NOTHING] * len(queries)
    return demonstrations.find(queries.newest(config.history), config.demonstrations)


def restored_demonstrations(arrays: dict[str, NDArray[Any]], n_items: int) -> Demonstrations | None:
    """Return saved demonstrations, None where none were saved."""
    return Demonstrations.restored(arrays, n_items) if arrays else None


def prompts_beside(config: AskingConfig, *, lettered: bool) -> list[str]:
    """Return the identities of the prompts that take part beside the question's own."""
    parts = {
        EXAMPLE_CHOICE if lettered else EXAMPLE_NEXT: config.demonstrations > 0,
        INTENT: config.chain_of_thought,
        PROFILE: config.profile == "lm",
    }
    return [template.identity for template, wanted in parts.items() if wanted]


def shortened(
    question: Question,
    lm: LanguageModel | None,
    prompt: Callable[[Question], Prompt],
    counts: Counter[str],
    *,
    room: int = ROOM,
) -> Question:
    """Return a question whose prompt, the longest that `prompt` makes of it, leaves `room` tokens for the answer.

    Demonstrations go first, the least similar one to begin with, then the older half of the history, again and again;
    the newest purchase, the candidates and the wish stay. Each question that was shortened is counted. A model that
    cannot count tokens (a server) is asked as it is; so is one whose context is too short for the rest, and its refusal
    is counted as a failure.
    """
    if not isinstance(lm, LikelihoodModel):
        return question
    whole = question
    while lm.count_tokens(prompt(question)) + room > lm.context:
        if question.examples:
            question = replace(question, examples=question.examples[1:])
        elif len(question.history) > 1:
            question = replace(question, history=question.history[(len(question.history) + 1) // 2 :])
        else:
            break
    if question is not whole:
        counts["shortened to the context"] += 1
    return question
