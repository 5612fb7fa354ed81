"""A ceiling on what a run may spend on a language model.

It stands between cache and model, as in `cached(budgeted(lm, budget))`, so that known answers are free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from tastemaker.errors import BudgetExceeded
from tastemaker.lm.base import Budget, ChoiceModel, LanguageModel, LikelihoodModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.lm.base import Completion, Prompt
    from tastemaker.types import Float32


@overload
def budgeted(lm: LikelihoodModel, budget: Budget) -> BudgetedLikelihoodLM: ...
@overload
def budgeted(lm: ChoiceModel, budget: Budget) -> BudgetedChoiceLM: ...
@overload
def budgeted(lm: LanguageModel, budget: Budget) -> BudgetedLM: ...
def budgeted(lm: LanguageModel, budget: Budget) -> BudgetedLM:
    """Wrap `lm` so that it refuses what would exceed `budget`; the wrapper can exactly what the model can."""
    if isinstance(lm, LikelihoodModel):
        return BudgetedLikelihoodLM(lm, budget)
    return BudgetedChoiceLM(lm, budget) if isinstance(lm, ChoiceModel) else BudgetedLM(lm, budget)


class BudgetedLM:
    """A language model with a ceiling; made by `budgeted`.

    The count starts at zero with the wrapper. A call is refused as a whole, before it is made, if its prompts would
    exceed the ceiling. For tokens the worst case counts, an answer of `max_tokens`, where the model can count tokens;
    where it cannot (a server), a call is refused once the ceiling is reached, and the last one may go beyond.
    """

    def __init__(self, lm: LanguageModel, budget: Budget) -> None:
        self.lm = lm
        self.budget = budget
        self.name = lm.name
        self.fingerprint = lm.fingerprint
        self.usage = lm.usage
        self._calls_before = lm.usage.calls
        self._tokens_before = lm.usage.prompt_tokens + lm.usage.answer_tokens

    def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, stop: Sequence[str] = (), seed: int = 0
    ) -> list[Completion]:
        """Answer each prompt.

        Raises:
            BudgetExceeded: before the model is asked.
        """
        self._admit(prompts, max_tokens * len(prompts))
        return self.lm.generate(prompts, max_tokens=max_tokens, stop=stop, seed=seed)

    def _admit(self, prompts: Sequence[Prompt], further_tokens: int = 0) -> None:
        calls, tokens = self.budget.calls, self.budget.tokens
        spent = self.usage.calls - self._calls_before
        if calls is not None and spent + len(prompts) > calls:
            raise BudgetExceeded(
                f"{self.name}: {len(prompts)} more calls after {spent} would exceed max_calls = {calls}; raise it, "
                "ask fewer shoppers, or keep a cache"
            )
        if tokens is None or not prompts:
            return
        used = self.usage.prompt_tokens + self.usage.answer_tokens - self._tokens_before
        wanted = 1
        if isinstance(self.lm, LikelihoodModel):
            wanted = sum(self.lm.count_tokens(prompt) for prompt in prompts) + further_tokens
        if used + wanted > tokens:
            raise BudgetExceeded(
                f"{self.name}: up to {wanted} more tokens after {used} would exceed max_tokens_total = {tokens}; "
                "raise it, ask fewer shoppers, or keep a cache"
            )


class BudgetedChoiceLM(BudgetedLM):
    """A `BudgetedLM` around a model that gives likelihoods of choices."""

    lm: ChoiceModel

    def next_token(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Float32:
        """Return log-probabilities; a prompt is a call.

        Raises:
            BudgetExceeded: before the model is asked.
        """
        self._admit(prompts)
        return self.lm.next_token(prompts, choices)


class BudgetedLikelihoodLM(BudgetedChoiceLM):
    """A `BudgetedChoiceLM` around a model whose every probability is open."""

    lm: LikelihoodModel

    def __init__(self, lm: LikelihoodModel, budget: Budget) -> None:
        super().__init__(lm, budget)
        self.context = lm.context

    def loglikelihood(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[Float32]:
        """Return log-probabilities; a prompt with all its continuations is a call.

        Raises:
            BudgetExceeded: before the model is asked.
        """
        further = 0
        if self.budget.tokens is not None:
            further = sum(self.lm.count_tokens(f" {text}") for own in continuations for text in own)
        self._admit(prompts, further)
        return self.lm.loglikelihood(prompts, continuations)

    def count_tokens(self, text: str | Prompt) -> int:
        """Ask the model's tokenizer."""
        return self.lm.count_tokens(text)
