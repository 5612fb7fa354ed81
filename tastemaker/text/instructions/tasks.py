"""Instruction pairs: what a language model is asked and what it should answer, made from training data alone.

Tasks that choose are answered by position, never by an id; the open tasks are answered by names. Product texts are
cleaned, cut and quoted as in every prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from tastemaker.text.clean import clean
from tastemaker.text.prompting.prompts import (
    LETTERS,
    NAME_LENGTH,
    YES_OR_NO,
    choose,
    next_title,
    prefer,
    quoted,
    recommend,
    yes_no,
)
from tastemaker.text.prompting.wordings import PALR
from tastemaker.text.render import item_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tastemaker.data.entities import Entities
    from tastemaker.lm.base import Prompt
    from tastemaker.text.instructions.examples import Example
    from tastemaker.text.prompting.wordings import Wording
    from tastemaker.types import Int32

    Profiles = Callable[[Sequence[Int32]], Sequence[str]]
    """From histories to a line of keywords for each, "" for none."""

Task = Literal["recommend", "recommend_retrieval", "next_item", "yes_no", "pairwise"]
"""Ranking tasks.

recommend: history to names (PALR); recommend_retrieval: history and candidates to the letters of those that were bought
(PALR); next_item: history to one name; yes_no: history and one product (TALLRec); pairwise: history and two products.
"""
TASKS: tuple[Task, ...] = get_args(Task)


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


def instruction_pairs(
    examples: Sequence[Example],
    items: Entities,
    tasks: Iterable[Task],
    *,
    profiles: Profiles | None = None,
    wording: Wording = PALR,
    seed: int = 0,
) -> list[InstructionPair]:
    """Put training examples into words, each for every task; the pairs of an example stand together.

    Args:
        examples: of `tastemaker.text.instructions.examples.draw_examples`.
        items: the catalogue.
        tasks: what is asked; for "yes_no" each example gives a pair of either answer.
        profiles: writes the profile part from the history alone; None leaves it out.
        wording: of the questions that have more than one.
        seed: of what is drawn among the candidates, and of the order of the two in "pairwise".

    Raises:
        ValueError: "recommend_retrieval", and an example has more candidates than there are letters.
    """
    names = item_names(items)
    lines = [""] * len(examples) if profiles is None else profiles([example.history for example in examples])
    rng = np.random.default_rng(seed)
    return [
        pair
        for example, profile in zip(examples, lines, strict=True)
        for task in tasks
        for pair in _MAKERS[task](_Told(example, names, profile, wording, rng))
    ]


@dataclass(frozen=True, slots=True)
class _Told:
    """An example with all that puts it into words."""

    example: Example
    names: Sequence[str]
    profile: str
    wording: Wording
    rng: np.random.Generator

    @property
    def history(self) -> list[str]:
        """Names of the history."""
        return [self.names[item] for item in self.example.history]

    def next_title(self) -> Prompt:
        """Return the question for the name of the next product."""
        return next_title(self.history, profile=self.profile, template=self.wording.title)

    def yes_no(self, item: int) -> Prompt:
        """Return the question whether one product is next."""
        return yes_no(self.history, self.names[item], profile=self.profile, template=self.wording.yes_no)

    def title(self, item: int) -> str:
        """Return a name as an open answer has it."""
        return clean(self.names[item], max_length=NAME_LENGTH) or "-"

    def pair(self, task: Task, prompt: Prompt, answer: str, item: int) -> InstructionPair:
        """Return a pair made from the example's shopper."""
        return InstructionPair(task, prompt, answer, self.example.user, item)

    def choice(self) -> tuple[int, int] | None:
        """Draw a target and a candidate that is none; None where all candidates are targets."""
        others = np.setdiff1d(self.example.candidates, self.example.targets)
        if not len(others):
            return None
        return int(self.rng.choice(self.example.targets)), int(self.rng.choice(others))


def _recommend(told: _Told) -> Iterator[InstructionPair]:
    targets = told.example.targets.tolist()
    if len(targets) == 1:
        prompt, answer = told.next_title(), told.title(targets[0])
    else:
        prompt = recommend(told.history, count=len(targets), profile=told.profile)
        answer = ", ".join(quoted(told.names[item]) for item in targets)
    yield told.pair("recommend", prompt, answer, targets[0])


def _recommend_retrieval(told: _Told) -> Iterator[InstructionPair]:
    candidates, targets = told.example.candidates.tolist(), told.example.targets.tolist()
    shown = [told.names[item] for item in candidates]
    count, template = (None, told.wording.choose) if len(targets) == 1 else (len(targets), told.wording.order)
    prompt = choose(told.history, shown, profile=told.profile, count=count, template=template)
    letters = [LETTERS[candidates.index(item)] for item in targets]
    yield told.pair("recommend_retrieval", prompt, ", ".join(letters), targets[0])


def _next_item(told: _Told) -> Iterator[InstructionPair]:
    target = int(told.example.targets[0])
    yield told.pair("next_item", told.next_title(), told.title(target), target)


def _yes_no(told: _Told) -> Iterator[InstructionPair]:
    for item, answer in zip(told.choice() or (), YES_OR_NO, strict=False):
        yield told.pair("yes_no", told.yes_no(item), answer, item)


def _pairwise(told: _Told) -> Iterator[InstructionPair]:
    choice = told.choice()
    if choice is not None:
        place = int(told.rng.integers(2))
        first, second = (told.names[item] for item in (choice if place == 0 else choice[::-1]))
        prompt = prefer(told.history, (first, second), profile=told.profile, template=told.wording.prefer)
        yield told.pair("pairwise", prompt, LETTERS[place], choice[0])


_MAKERS: dict[str, Callable[[_Told], Iterator[InstructionPair]]] = {
    "recommend": _recommend,
    "recommend_retrieval": _recommend_retrieval,
    "next_item": _next_item,
    "yes_no": _yes_no,
    "pairwise": _pairwise,
}
