"""A shopper's intent in words: the first step of a chain of thought, written by a language model from the history.

What the model writes is a text of no authority: cleaned, cut, quoted in the prompt that follows, and left out where it
says nothing. Only the given history, profile and wish enter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tastemaker.errors import ConfigError
from tastemaker.lm.tries import Tries
from tastemaker.text import parse
from tastemaker.text.prompting.fitting import newest_that_fit
from tastemaker.text.prompting.prompts import INTENT, INTENT_LENGTH, shopper_places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.lm.base import LanguageModel, Prompt

ANSWER_TOKENS = 60


class IntentWriter:
    """Writes intents; "" where the model failed or wrote nothing that can be read.

    Attributes:
        unreadable: answers that say nothing: empty, no words, a refusal.
        tries: what became of each question.
    """

    def __init__(self, lm: LanguageModel | None) -> None:
        if lm is None:
            raise ConfigError("chain_of_thought: no [lm] is set; add an [lm] table")
        self._lm = lm
        self.unreadable = 0
        self.tries = Tries()

    def write(self, history: Sequence[str], *, profile: str = "", wish: str = "") -> str:
        """Return what a shopper is after, at most 240 characters; a history beyond the context loses its older part.

        Args:
            history: product names, oldest first.
            profile: keywords, or "".
            wish: the shopper's own words, or "".
        """

        def showing(count: int) -> Prompt:
            return INTENT.fill(**shopper_places(history[len(history) - count :], profile, wish))

        shown = newest_that_fit(len(history), showing, self._lm, room=ANSWER_TOKENS)
        answer = self.tries.ask(self._lm, showing(shown), max_tokens=ANSWER_TOKENS, stop=("\n",))
        if answer is None:
            return ""
        intent = parse.sentences(answer, max_length=INTENT_LENGTH)
        self.unreadable += not intent
        return intent
