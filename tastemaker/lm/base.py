"""The language-model contract. Language models see strings only, never a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from tastemaker.characters import replace_surrogates
from tastemaker.errors import ConfigError
from tastemaker.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.types import Float32

RENDERING = 1
"""Version of how a `Prompt` becomes what a model reads, and its output an answer; part of every fingerprint.

To be raised with each change of `PromptTokenizer`, of the messages that `HttpLM` sends, or of what is cut off answers.
"""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request to a chat model. Lone surrogates, which no model can read, become U+FFFD.

    No prompt carries mail addresses, phone, card, account or order numbers, wherever they came from: they are redacted
    here (`tastemaker.redaction`), for models on this machine as for servers.

    Attributes:
        user: the message.
        system: the role and the rules; empty for none.
        answer: how the model's own answer must begin, e.g. "Answer:". Models that can be steered continue from here.
    """

    user: str
    system: str = ""
    answer: str = ""

    def __post_init__(self) -> None:
        """Make all texts writable, and take personal data out."""
        for part in ("user", "system", "answer"):
            object.__setattr__(self, part, redact(replace_surrogates(getattr(self, part))))


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer.

    Attributes:
        text: what the model wrote, without the prompt, without `Prompt.answer` and without white space around it.
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
        prompt_tokens: tokens read by the model itself.
        answer_tokens: tokens written by the model itself.
        cached_prompt_tokens: tokens that cached answers would have read, as far as the cache knows them.
        cached_answer_tokens: tokens that were written when cached answers were given, likewise.
        seconds: wall time inside the model.
    """

    calls: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    cached_prompt_tokens: int = 0
    cached_answer_tokens: int = 0
    seconds: float = 0.0


@runtime_checkable
class LanguageModel(Protocol):
    """A model that writes.

    Attributes:
        name: what is asked, e.g. "smollm2-135m-instruct"; part of every cache key and result.
        fingerprint: which weights or which server stand behind the name: a revision, a hash or an address.
        usage: what was spent so far.
    """

    name: str
    fingerprint: str
    usage: Usage

    def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, stop: Sequence[str] = (), seed: int = 0
    ) -> list[Completion]:
        """Answer each prompt, greedily; the answer ends before any of `stop`.

        Raises:
            ConfigError: `max_tokens` is below 1, or a stop string is empty.
            LanguageModelError: the model cannot be reached or a prompt is longer than its context.
            BudgetExceeded: the call or token budget is used up.
        """
        ...


@runtime_checkable
class ChoiceModel(LanguageModel, Protocol):
    """A model that also says how likely each of a few one-token answers is."""

    def next_token(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Float32:
        """Return the log-probability of each choice as the very next token, float32 [B, len(choices)].

        One forward pass a prompt, however many choices. -inf in a whole row means that the model considers none of
        them: no opinion.

        Raises:
            LanguageModelError: a choice is not a single token there, or two choices are the same one.
        """
        ...


@runtime_checkable
class LikelihoodModel(ChoiceModel, Protocol):
    """A model whose every probability is open: one that runs here, with its tokenizer.

    Attributes:
        context: tokens that a prompt and its answer may have together.
    """

    context: int

    def loglikelihood(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[Float32]:
        """Return, for each prompt, the summed log-probability of each of its continuations, float32 [its number].

        The prompt is read once and its key-value cache shared by all its continuations.
        """
        ...

    def count_tokens(self, text: str | Prompt) -> int:
        """Return how many tokens `text` is; a prompt counts with all that the chat template adds."""
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


def describe(lm: LanguageModel) -> dict[str, str]:
    """Return what identifies the model, for results and manifests."""
    return {"name": lm.name, "fingerprint": lm.fingerprint}


def check_limits(max_tokens: int, stop: Sequence[str]) -> None:
    """Refuse what would end every answer before it begins.

    Raises:
        ConfigError: `max_tokens` is below 1, or a stop string is empty.
    """
    if max_tokens < 1:
        raise ConfigError(f"max_tokens: {max_tokens}: an answer needs at least 1")
    if isinstance(stop, str) or not all(stop):
        raise ConfigError(f"stop: {stop!r}: must be a list of strings of at least one character")
