"""Instruction pairs: what a language model is asked and what it should answer, made from training data alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tastemaker.lm.base import Prompt


@dataclass(frozen=True, slots=True)
class InstructionPair:
    """One example of a task in words.

    Attributes:
        task: the family, e.g. "recommend_retrieval".
        prompt: what is asked.
        answer: what the model should write after `prompt.answer`.
        user: number of the shopper that it was made from, -1 for none.
        item: number of the product that it is about or that answers it, -1 for none.
    """

    task: str
    prompt: Prompt
    answer: str
    user: int = -1
    item: int = -1
