"""Asking a language model to choose among lettered candidates, and what to make of its answer."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from tastemaker.errors import ConfigError, LanguageModelError
from tastemaker.lm.base import ChoiceModel, LanguageModel, LikelihoodModel
from tastemaker.lm.tries import GIVEN_UP
from tastemaker.text import parse
from tastemaker.text.clean import clean
from tastemaker.text.prompting.prompts import LETTERS, NAME_LENGTH, choose, next_title
from tastemaker.text.prompting.wordings import PALR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.lm.base import Prompt
    from tastemaker.text.prompting.prompts import Example
    from tastemaker.text.prompting.wordings import Wording
    from tastemaker.types import Float32, Int64

LETTER_TOKENS = 3
"""Tokens that one letter of a written list takes, with its comma and space."""


class Tally(Counter[str]):
    """Counts of the answers to validation questions, and what the last failure said.

    Attributes:
        asker: name of the model that asks.
        why: message of the last failure, empty where none had any.
    """

    asker: str
    why: str = ""

    @classmethod
    def of(cls, asker: str) -> Self:
        """Return the empty counts of a model of that name."""
        counts = cls()
        counts.asker = asker
        return counts

    @property
    def hopeless(self) -> bool:
        """Whether nothing was answered, and the model failed so often that asking on would be a waste of time."""
        return not self["answered"] and sum(n for name, n in self.items() if name.startswith("failed")) >= GIVEN_UP

    def unanswered(self) -> LanguageModelError:
        """Return the error that says how it failed, and why it failed last."""
        said = ", ".join(f"{name} ({count})" for name, count in self.items() if count)
        why = f"; the last failure: {self.why}" if self.why else ""
        return LanguageModelError(f"{self.asker}: no validation question was answered: {said}{why}")


def count_failure(counts: Counter[str], error: LanguageModelError) -> None:
    """Count a failure of the model by its kind; a `Tally` keeps its message.

    Raises:
        LanguageModelError: a `Tally` has nothing but failures. A server that hangs takes minutes a question, and a
            choice asks a hundred.
    """
    counts[f"failed: {type(error).__name__}"] += 1
    if isinstance(counts, Tally):
        counts.why = str(error)
        if counts.hopeless:
            raise counts.unanswered() from error


@dataclass(frozen=True, slots=True)
class Question:
    """One shopper and the candidates to choose from, in words.

    Attributes:
        history: product names, oldest first.
        candidates: product names, in the retriever's order.
        profile: keywords, or "".
        wish: the shopper's own words, or "".
        intent: what the shopper is after, as a first step found, or "".
        examples: demonstrations of other shoppers, the most similar last.
        wording: how it is asked.
    """

    history: Sequence[str]
    candidates: Sequence[str]
    profile: str = ""
    wish: str = ""
    intent: str = ""
    examples: Sequence[Example] = ()
    wording: Wording = PALR

    def prompt(self, order: Int64, *, count: int | None = None) -> Prompt:
        """Fill the prompt with the candidates in the given order."""
        return choose(
            self.history,
            [self.candidates[place] for place in order],
            profile=self.profile,
            wish=self.wish,
            count=count,
            intent=self.intent,
            examples=self.examples,
            template=self.wording.choose if count is None else self.wording.order,
        )

    def title_prompt(self) -> Prompt:
        """Fill the prompt that asks for a title."""
        return next_title(
            self.history,
            profile=self.profile,
            wish=self.wish,
            intent=self.intent,
            examples=self.examples,
            template=self.wording.title,
        )

    def part(self, places: Int64) -> Question:
        """Return the question about the candidates at `places` only."""
        return replace(self, candidates=[self.candidates[place] for place in places])

    def orders(self, count: int) -> Int64:
        """Return `count` arrangements of the candidates, [count, m]: one random order, shifted round evenly.

        The random order depends on the question alone, so an answer never depends on which other questions were asked.
        """
        text = "\x1f".join((*self.history, "\x1e", *self.candidates, self.wish))
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
        m = len(self.candidates)
        order = np.random.default_rng(seed).permutation(m)
        return np.stack([np.roll(order, -(shift * m // count)) for shift in range(count)])


@dataclass(frozen=True, slots=True)
class Answer:
    """Letter log-probabilities of one question under several arrangements.

    Attributes:
        orders: [o, m] candidate at each letter.
        letters: [o, m] log-probability of each letter among the m letters.
    """

    orders: Int64
    letters: Float32

    def scores(self, prior: Float32) -> Float32:
        """Return each candidate's mean log-probability over the arrangements, less the letters' prior, [m]."""
        scores = np.zeros(self.letters.shape[1], dtype=np.float64)
        for order, given in zip(self.orders, self.letters, strict=True):
            scores[order] += given - prior[: len(order)]
        return (scores / len(self.orders)).astype(np.float32)


def ask_likelihoods(
    lm: LanguageModel | None, questions: Sequence[Question], *, orders: int, counts: Counter[str]
) -> list[Answer | None]:
    """Read letter probabilities for each question; None where the model failed, with the failure counted.

    Raises:
        ConfigError: there is no model, or it cannot give likelihoods.
    """
    if not isinstance(lm, ChoiceModel):
        if lm is None:
            raise ConfigError("listwise: no [lm] is set; add an [lm] table")
        raise ConfigError(
            f'listwise: {lm.name} gives no likelihoods; set mode = "generate", or logprobs = true in the table [lm] '
            "where the server gives them"
        )
    answers: list[Answer | None] = [None] * len(questions)
    sizes = np.array([len(question.candidates) for question in questions])
    for size in np.unique(sizes).tolist():
        rows = np.flatnonzero(sizes == size).tolist()
        arranged = [questions[row].orders(orders) for row in rows]
        prompts = [[questions[row].prompt(order) for order in own] for row, own in zip(rows, arranged, strict=True)]
        given = ask_choices(lm, prompts, LETTERS[:size], counts=counts)
        for row, own, logs in zip(rows, arranged, given, strict=True):
            answers[row] = None if logs is None else Answer(own, _log_softmax(logs))
    return answers


def ask_choices(
    lm: LanguageModel | None, prompts: Sequence[Sequence[Prompt]], choices: Sequence[str], *, counts: Counter[str]
) -> list[Float32 | None]:
    """Read how likely each choice is after each prompt; all prompts are asked together.

    Args:
        lm: the model.
        prompts: of each question.
        choices: one-token answers.
        counts: takes in each question: answered, or why not.

    Returns:
        Log-probabilities [prompts of the question, choices], where a choice that the model does not consider has less
        than all others; None for a question that failed.

    Raises:
        ConfigError: there is no model, or it cannot give likelihoods.
    """
    if not isinstance(lm, ChoiceModel):
        what = "no [lm] is set" if lm is None else f"{lm.name} gives no likelihoods"
        raise ConfigError(f"{what}; name a model that gives likelihoods in the table [lm]")
    ends = np.cumsum([len(own) for own in prompts])[:-1]
    try:
        given = lm.next_token([prompt for own in prompts for prompt in own], list(choices))
    except LanguageModelError as error:
        if len(prompts) > 1:  # one that fails must not take the others along
            return [answer for own in prompts for answer in ask_choices(lm, [own], choices, counts=counts)]
        count_failure(counts, error)
        return [None]
    answers: list[Float32 | None] = []
    for logs in np.split(given, ends):
        finite = np.isfinite(logs)
        if not finite.any(axis=1).all():
            counts["failed: no letter has a likelihood"] += 1
            answers.append(None)
            continue
        counts["answered"] += 1
        answers.append(np.where(finite, logs, np.nanmin(np.where(finite, logs, np.nan)) - 1.0).astype(np.float32))
    return answers


class TitleLikelihoods:
    """How much likelier a candidate's title becomes by knowing the shopper: pointwise mutual information.

    log p(title | shopper) - log p(title | a shopper without history and demonstrations). The second part takes out what
    makes any title likely: its length, and how common its words are (Holtzman et al., arXiv 2104.08315). It is computed
    once a title.
    """

    def __init__(self) -> None:
        self._alone: dict[str, float] = {}

    def ask(
        self, lm: LanguageModel | None, questions: Sequence[Question], *, counts: Counter[str]
    ) -> list[Float32 | None]:
        """Return the scores of each question's candidates, [m]; None where the model failed, with the failure counted.

        Raises:
            ConfigError: there is no model, or it cannot score a title.
        """
        if not isinstance(lm, LikelihoodModel):
            what = "no [lm] is set" if lm is None else f"{lm.name} cannot score titles"
            raise ConfigError(f'listwise: {what}; mode = "titles" needs a model that runs here')
        results: list[Float32 | None] = []
        for question in questions:
            titles = [clean(name, max_length=NAME_LENGTH) or "-" for name in question.candidates]
            prompt = question.title_prompt()
            nobody = next_title((), template=question.wording.title)
            new = sorted(set(titles) - self._alone.keys())
            try:
                [given] = lm.loglikelihood([prompt], [titles])
                alone = lm.loglikelihood([nobody], [new])[0] if new else np.empty(0, dtype=np.float32)
            except LanguageModelError as error:
                count_failure(counts, error)
                results.append(None)
                continue
            if not (np.isfinite(given).all() and np.isfinite(alone).all()):
                counts["failed: a title has no likelihood"] += 1
                results.append(None)
                continue
            self._alone.update(zip(new, alone.tolist(), strict=True))
            counts["answered"] += 1
            results.append(np.asarray(given - [self._alone[title] for title in titles], dtype=np.float32))
        return results


def ask_lists(
    lm: LanguageModel | None, questions: Sequence[Question], *, listed: int, counts: Counter[str]
) -> list[Float32 | None]:
    """Let the model write a list of letters for each question.

    Returns:
        Scores [m] for each question: higher for a candidate named earlier, 0 for one that was not named; None where
        nothing could be read. Invalid and repeated letters are counted.

    Raises:
        ConfigError: there is no model.
    """
    if lm is None:
        raise ConfigError("listwise: no [lm] is set; add an [lm] table")
    results: list[Float32 | None] = []
    for question in questions:
        order = question.orders(1)[0]
        m = len(order)
        wanted = min(listed, m)
        try:
            [answer] = lm.generate([question.prompt(order, count=wanted)], max_tokens=LETTER_TOKENS * wanted)
        except LanguageModelError as error:
            count_failure(counts, error)
            results.append(None)
            continue
        read = parse.letters(answer.text, m)
        counts["invalid letters"] += read.invalid
        counts["repeated letters"] += read.repeated
        if not read.positions:
            counts["failed: unreadable"] += 1
            results.append(None)
            continue
        counts["answered"] += 1
        scores = np.zeros(m, dtype=np.float32)
        scores[order[list(read.positions)]] = m - np.arange(len(read.positions))
        results.append(scores)
    return results


def letter_prior(answers: Sequence[Answer | None], size: int) -> Float32:
    """Return the mean log-probability of each letter over all answers, less the overall mean, [size].

    With candidates in random order this is what the model says of a letter whatever stands there.
    """
    prior = np.zeros(size, dtype=np.float32)
    full = [answer.letters for answer in answers if answer is not None and answer.letters.shape[1] == size]
    if full:
        mean = np.concatenate(full).mean(axis=0)
        prior[:] = mean - mean.mean()
    return prior


def _log_softmax(values: Float32) -> Float32:
    shifted = values - values.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), dtype=np.float32)
