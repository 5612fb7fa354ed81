"""How much of a history a prompt may show, so that a language model's context holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tastemaker.lm.base import LanguageModel, LikelihoodModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from tastemaker.lm.base import Prompt


def newest_that_fit(length: int, prompt: Callable[[int], Prompt], lm: LanguageModel, *, room: int) -> int:
    """Return how many of the newest products a prompt shows: all, or half as many until the context holds it.

    Args:
        length: of the history.
        prompt: makes the prompt that shows so many of the newest products.
        lm: a model that cannot count tokens (a server) is shown all.
        room: tokens for the answer.
    """
    while isinstance(lm, LikelihoodModel) and length > 1 and lm.count_tokens(prompt(length)) + room > lm.context:
        length = (length + 1) // 2
    return length
