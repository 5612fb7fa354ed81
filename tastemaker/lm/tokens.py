"""From a `Prompt` to token ids: chat template, the start of the answer, and what may follow it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from tastemaker.characters import replace_surrogates
from tastemaker.errors import LanguageModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.lm.base import Prompt

TAIL = 32  # characters of the prompt that decide how what follows is split into tokens
OPENING = "([{<\"'`“‘«"  # after these, white space and control tokens, a word begins without a space


class PromptTokenizer:
    """Turns prompts, and what may follow them, into token ids.

    Control tokens ("<|im_end|>") that stand inside a prompt's own text are broken by a space, so that a product text
    cannot end the shopper's turn and speak for someone else.

    Args:
        tokenizer: of the transformers library; its chat template is used where it has one, plain text otherwise.
    """

    def __init__(self, tokenizer: Any) -> None:  # noqa: ANN401  # transformers is untyped
        self._tokenizer = tokenizer
        self._chat = bool(getattr(tokenizer, "chat_template", None))
        control = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        self._control_tokens = tuple(sorted((token for token in control if len(token) > 1), key=len, reverse=True))
        self._control = re.compile("|".join(map(re.escape, self._control_tokens)) or "(?!)")
        self._known_choices: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        self._takes_system = self._chat and self._accepts_system()

    @property
    def end(self) -> int | None:
        """The token that ends an answer, None where the tokenizer names none."""
        end = self._tokenizer.eos_token_id
        return None if end is None else int(end)

    def render(self, prompt: Prompt) -> str:
        """Return the exact text that the model reads."""
        system, user = self._harmless(prompt.system), self._harmless(prompt.user)
        answer = self._harmless(prompt.answer).rstrip(" ")  # the space belongs to the token that follows
        if not self._chat:
            return "\n".join(part for part in (system and f"{system}\n", user, answer) if part).rstrip(" ")
        if system and not self._takes_system:
            system, user = "", f"{system}\n\n{user}"
        return self._template(system, user) + answer

    def encode(self, prompt: Prompt) -> list[int]:
        """Return the token ids of `prompt`, the start of the answer included."""
        return self._ids(self.render(prompt), special=not self._chat)

    def encode_all(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Return the token ids of every prompt; the tokenizer takes them together, on all cores."""
        return self._ids_of_all([self.render(prompt) for prompt in prompts], special=not self._chat)

    def plain(self, text: str) -> list[int]:
        """Return the token ids of a text that is no prompt, with what the tokenizer puts around it."""
        return self._ids(self._harmless(text), special=True)

    def choices(self, prompt: Prompt, choices: Sequence[str]) -> list[int]:
        """Return the one token that each choice is after `prompt`; a space goes before it where one belongs.

        Raises:
            LanguageModelError: a choice is not exactly one token there, or two choices are the same one.
        """
        tail = self.render(prompt)[-TAIL:]
        key = (tail, tuple(choices))
        if key not in self._known_choices:
            found = []
            for choice in choices:
                ids = self._following(tail, choice)
                if ids is None or len(ids) != 1:
                    count = "no token of its own" if ids is None else f"{len(ids)} tokens"
                    raise LanguageModelError(
                        f"choice {choice!r} is {count} after {tail[-12:]!r}; use single letters, or loglikelihood"
                    )
                found.append(ids[0])
            if len(set(found)) != len(found):
                raise LanguageModelError(f"choices {list(choices)!r}: two of them are the same token")
            self._known_choices[key] = found
        return self._known_choices[key]

    def continuation(self, prompt: Prompt, text: str) -> list[int]:
        """Return the tokens of `text` as they follow `prompt`.

        Raises:
            LanguageModelError: `text` is empty.
        """
        text, tail = self._harmless(text).strip(), self.render(prompt)[-TAIL:]
        if not text:
            raise LanguageModelError("a continuation is empty; leave products without a title out of the candidates")
        ids = self._following(tail, text)
        # Where the tokenizer joins prompt and continuation into one token, they are split apart between the two.
        return self._ids(self._space(tail) + text) if ids is None else ids

    def count(self, text: str | Prompt) -> int:
        """Return how many tokens a text or a prompt is."""
        return len(self._ids(text) if isinstance(text, str) else self.encode(text))

    def ids(self, text: str) -> list[int]:
        """Return the token ids of a text alone."""
        return self._ids(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids` without control tokens."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def _following(self, tail: str, text: str) -> list[int] | None:
        """Return the tokens of `text` after `tail`; None where the two share a token."""
        before = self._ids(tail)
        both = self._ids(tail + self._space(tail) + text.strip())
        return both[len(before) :] if both[: len(before)] == before and len(both) > len(before) else None

    def _space(self, tail: str) -> str:
        """Return the space that goes before a word after `tail`, or none."""
        apart = not tail or tail[-1].isspace() or tail[-1] in OPENING or tail.endswith(self._control_tokens)
        return "" if apart else " "

    def _ids(self, text: str, *, special: bool = False) -> list[int]:
        return list(self._tokenizer(replace_surrogates(text), add_special_tokens=special, verbose=False)["input_ids"])

    def _ids_of_all(self, texts: Sequence[str], *, special: bool) -> list[list[int]]:
        if not texts:
            return []
        given = [replace_surrogates(text) for text in texts]
        return [list(ids) for ids in self._tokenizer(given, add_special_tokens=special, verbose=False)["input_ids"]]

    def _harmless(self, text: str) -> str:
        return self._control.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)

    def _template(self, system: str, user: str) -> str:
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": user})
        # Models that can think aloud are told not to: the answer has to begin at once. Other templates ignore it.
        return str(
            self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
        )

    def _accepts_system(self) -> bool:
        """Return whether the chat template knows a system role; some refuse it or leave it out."""
        try:
            return "SYSTEM-ROLE" in self._template("SYSTEM-ROLE", "user")
        except TemplateError:
            return False
