"""A language model asked one prompt at a time, and when to stop asking one that does not answer at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tastemaker.errors import LanguageModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.lm.base import LanguageModel, Prompt

GIVEN_UP = 5
"""Failures without a single answer after which a model is not asked on: a server that hangs takes minutes a prompt."""


@dataclass
class Tries:
    """Questions to a language model, and what became of them.

    Attributes:
        answered: prompts that the model answered, readably or not.
        failed: prompts that it did not answer.
        why: message of the last failure, "" where there was none.
    """

    answered: int = field(default=0, init=False)
    failed: int = field(default=0, init=False)
    why: str = field(default="", init=False)

    def ask(self, lm: LanguageModel, prompt: Prompt, *, max_tokens: int, stop: Sequence[str] = ()) -> str | None:
        """Return what the model writes; None where it fails, which is counted."""
        try:
            [answer] = lm.generate([prompt], max_tokens=max_tokens, stop=stop)
        except LanguageModelError as error:
            self.failed += 1
            self.why = str(error)
            return None
        self.answered += 1
        return answer.text

    def check(self, what: str) -> None:
        """Stop where asking on would be a waste of time.

        Raises:
            LanguageModelError: the first prompts failed, all of them.
        """
        if not self.answered and self.failed >= GIVEN_UP:
            raise LanguageModelError(
                f"{what}: the language model failed {self.failed} times, without one answer; "
                f"the last failure: {self.why}"
            )
