"""The language-model contract. Language models see strings only, never a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.types import Float32


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request to a chat model.

    Attributes:
        user: the message.
        system: the role and the rules; empty for none.
        answer: how the model's own answer must begin, e.g. "Answer:". Models that can be steered continue from here.
    """

    user: str
    system: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer.

    Attributes:
        text: what the model wrote, without the prompt and without `Prompt.answer`.
        prompt_tokens: tokens read.
        answer_tokens: tokens written.
        finished: False when the answer was cut at the token limit.
    """

    text: str
    prompt_tokens: int
    answer_tokens: int
    finished: bool = True


@dataclass(slots=True)
class Usage:
    """Running account of a language model; every part of the pipeline reads the same one.

    Attributes:
        calls: prompts answered by the model itself.
        cached: prompts answered from the cache.
        prompt_tokens: tokens read.
        answer_tokens: tokens written.
        seconds: wall time inside the model.
    """

    calls: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    seconds: float = 0.0


@runtime_checkable
class LanguageModel(Protocol):
    """A model that writes.

    Attributes:
        name: what is asked, e.g. "smollm2-135m-instruct"; part of every cache key and result.
        usage: what was spent so far.
    """

    name: str
    usage: Usage

    def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, stop: Sequence[str] = (), seed: int = 0
    ) -> list[Completion]:
        """Answer each prompt, greedily; the answer ends before any of `stop`.

        Raises:
            LanguageModelError: the model cannot be reached or a prompt is longer than its context.
            BudgetExceeded: the call or token budget is used up.
        """
        ...


@runtime_checkable
class ChoiceModel(LanguageModel, Protocol):
    """A model that also says how likely given continuations are."""

    def next_token(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Float32:
        """Return the log-probability of each choice as the very next token, float32 [B, len(choices)].

        One forward pass a prompt, however many choices. A choice that is more than one token, after the space that
        the tokenizer wants, is refused.
        """
        ...

    def loglikelihood(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[Float32]:
        """Return, for each prompt, the summed log-probability of each of its continuations.

        The prompt is read once and its key-value cache shared by all its continuations.
        """
        ...

    def count_tokens(self, text: str) -> int:
        """Return how many tokens `text` is."""
        ...


@dataclass(frozen=True, slots=True)
class Budget:
    """A ceiling on what one run may spend on a language model; None means no ceiling.

    Attributes:
        calls: prompts sent to the model (cached answers are free).
        tokens: tokens read and written together.
    """

    calls: int | None = None
    tokens: int | None = None
