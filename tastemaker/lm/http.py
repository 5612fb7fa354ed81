"""Language models behind an OpenAI-compatible chat endpoint: vLLM, llama.cpp, Ollama, or a hosted service.

A server on another machine has to be allowed (`allow_remote = true`), because shoppers' histories go there. Prompts are
never logged and never part of a message.
"""

from __future__ import annotations

import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import Field

from tastemaker.configurable import parse_config
from tastemaker.errors import LanguageModelError
from tastemaker.http_client import Endpoint, HttpClient
from tastemaker.lm.base import RENDERING, Completion, Usage, check_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tastemaker.lm.base import Prompt
    from tastemaker.types import Float32

KEY_VARIABLE = "TASTEMAKER_LM_KEY"
TOP = 20  # the most alternatives that the public protocol lets one ask for
WORD_MARKS = "\u2581\u0120 "  # how tokenizers spell the space before a word, and the space itself


class HttpLM:
    """A chat model behind HTTP that writes; one that gives likelihoods too is an `HttpChoiceLM`.

    Chat servers do not all continue a started answer. Unless `continue_answer` is set, `Prompt.answer` is not sent, and
    is cut off where the model writes it by itself.

    Args:
        settings: see `Config`; "url" and "model" are needed.

    Raises:
        ConfigError: a setting is wrong, the address is remote without leave, or the key is missing.
    """

    class Config(Endpoint):
        """The endpoint (see `Endpoint`), and what is asked of it.

        Without `key_variable`, the key is read from TASTEMAKER_LM_KEY where that is set.

        Attributes:
            model: the name by which the server knows the model.
            logprobs: the server gives token likelihoods (`HttpChoiceLM` asks for them).
            continue_answer: the server continues a started answer (vLLM, llama.cpp).
            parallel: requests under way at a time.
        """

        model: str = Field(min_length=1)
        logprobs: bool = False
        continue_answer: bool = False
        parallel: int = Field(default=4, ge=1, le=64)

    config: Config

    def __init__(self, *, pause: Callable[[float], None] = time.sleep, **settings: Any) -> None:  # noqa: ANN401
        self.config = parse_config(self.Config, settings, place="lm")
        endpoint: Endpoint = self.config
        if not self.config.key_variable and os.environ.get(KEY_VARIABLE):
            endpoint = self.config.model_copy(update={"key_variable": KEY_VARIABLE})
        self._client = HttpClient(endpoint, pause=pause)
        self.name = self.config.model
        continued = "-continued" if self.config.continue_answer else ""
        self.fingerprint = f"{self.config.url}{continued}-rendering{RENDERING}"
        self.usage = Usage()
        self._booking = Lock()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, stop: Sequence[str] = (), seed: int = 0
    ) -> list[Completion]:
        """Answer each prompt at temperature 0; see `LanguageModel.generate`.

        Token counts are the server's, 0 where it does not say.
        """
        check_limits(max_tokens, stop)
        options: dict[str, Any] = {"max_tokens": max_tokens, "seed": seed}
        if stop:
            options["stop"] = list(stop)
        return [self._completion(prompt, answer, stop) for prompt, answer in self._ask_all(prompts, options)]

    def _completion(self, prompt: Prompt, answer: dict[str, Any], stop: Sequence[str]) -> Completion:
        choice = self._choice(answer)
        message = choice.get("message")
        text = message.get("content") if isinstance(message, dict) else None
        if not isinstance(text, str):
            raise LanguageModelError(f"{self.config.url}: the answer holds no text (choices[0].message.content)")
        text = text.strip().removeprefix(prompt.answer.strip())
        text = text[: min((text.index(word) for word in stop if word in text), default=len(text))].strip()
        read, written = _counts(answer)
        return Completion(text, read, written, choice.get("finish_reason") != "length")

    def _ask_all(self, prompts: Sequence[Prompt], options: dict[str, Any]) -> list[tuple[Prompt, dict[str, Any]]]:
        """Send the prompts, some at a time; after a failure, finish those under way and begin no other."""
        if not prompts:
            return []
        failed = Event()

        def ask(prompt: Prompt) -> dict[str, Any]:
            if failed.is_set():
                return {}  # nobody sees it: the failure is raised
            try:
                return self._ask(prompt, options)
            except BaseException:
                failed.set()
                raise

        with self._timed(), ThreadPoolExecutor(min(self.config.parallel, len(prompts))) as pool:
            under_way = [pool.submit(copy_context().run, ask, prompt) for prompt in prompts]  # a deadline goes along
            answers = [answer.result() for answer in under_way]
        return list(zip(prompts, answers, strict=True))

    def _ask(self, prompt: Prompt, options: dict[str, Any]) -> dict[str, Any]:
        messages = [{"role": "system", "content": prompt.system}] if prompt.system else []
        messages.append({"role": "user", "content": prompt.user})
        payload = {"model": self.config.model, "messages": messages, "temperature": 0, **options}
        if prompt.answer and self.config.continue_answer:
            messages.append({"role": "assistant", "content": prompt.answer.rstrip(" ")})
            payload |= {"continue_final_message": True, "add_generation_prompt": False}
        answer = self._client.post("chat/completions", payload)
        read, written = _counts(answer)
        with self._booking:
            self.usage.calls += 1
            self.usage.prompt_tokens += read
            self.usage.answer_tokens += written
        return answer

    def _choice(self, answer: dict[str, Any]) -> dict[str, Any]:
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise LanguageModelError(f"{self.config.url}: the answer has no choices; is this a chat endpoint?")
        return dict(choices[0])

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.usage.seconds += time.perf_counter() - began


class HttpChoiceLM(HttpLM):
    """An `HttpLM` whose server gives the likelihoods of the most likely next tokens."""

    def next_token(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Float32:
        """Return log-probabilities of the choices, float32 [B, len(choices)], with one written token a prompt.

        The server names only its 20 most likely tokens, with and without a space before the word; both count. A choice
        that is not among them gets the most it can have: what the last one named has, or what is left of the
        probability. So all unnamed choices are equal, and keep the order they came in. Where none of the choices is
        named, the row is -inf: no opinion.

        Raises:
            LanguageModelError: no answer, or the server sends no likelihoods.
        """
        if len({choice.strip() for choice in choices}) != len(choices):
            raise LanguageModelError(f"choices {list(choices)!r}: two of them are the same")
        values = np.empty((len(prompts), len(choices)), dtype=np.float32)
        options = {"max_tokens": 1, "logprobs": True, "top_logprobs": TOP}
        for row, (_, answer) in enumerate(self._ask_all(prompts, options)):
            values[row] = _choice_values(self._named(answer), choices)
        return values

    def _named(self, answer: dict[str, Any]) -> list[tuple[str, float]]:
        """Return the tokens that the server names for the first place, with their log-probabilities."""
        try:
            named = self._choice(answer)["logprobs"]["content"][0]["top_logprobs"]
            pairs = [(str(one["token"]), float(one["logprob"])) for one in named]
        except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
            raise LanguageModelError(
                f"{self.config.url}: the server sends no likelihoods (top_logprobs); set logprobs = false"
            ) from error
        if not pairs or not all(value <= 1e-3 for _, value in pairs):  # NaN is refused too
            raise LanguageModelError(f"{self.config.url}: top_logprobs holds no log-probabilities")
        return pairs


def _choice_values(named: Sequence[tuple[str, float]], choices: Sequence[str]) -> list[float]:
    """Return the log-probability of each choice; see `HttpChoiceLM.next_token`."""
    mass: dict[str, float] = {}
    for token, value in named:
        word = token.strip(WORD_MARKS)
        mass[word] = mass.get(word, 0.0) + math.exp(value)
    words = [choice.strip() for choice in choices]
    if not any(mass.get(word, 0.0) > 0 for word in words):
        return [-math.inf] * len(words)
    left = max(1.0 - sum(math.exp(value) for _, value in named), 1e-9)
    most = min(math.log(left), min(value for _, value in named))
    return [math.log(mass[word]) if mass.get(word, 0.0) > 0 else most for word in words]


def _counts(answer: dict[str, Any]) -> tuple[int, int]:
    """Return (tokens read, tokens written) as the server counts them."""
    usage = answer.get("usage")
    counts = [usage.get(key) if isinstance(usage, dict) else None for key in ("prompt_tokens", "completion_tokens")]
    read, written = (count if isinstance(count, int) and count > 0 else 0 for count in counts)
    return read, written
