from __future__ import annotations

import pytest

from tastemaker.errors import BudgetExceeded, LanguageModelError
from tastemaker.lm.base import Budget, ChoiceModel, LikelihoodModel, Prompt
from tastemaker.lm.budget import budgeted
from tastemaker.lm.cache import cached
from tastemaker.lm.scripted import ScriptedChoiceLM, ScriptedLM

PROMPTS = [Prompt(f"two words{number}") for number in range(4)]


def test_wrapper_can_what_the_model_can():
    assert not isinstance(budgeted(ScriptedLM(), Budget()), ChoiceModel)
    both = budgeted(ScriptedChoiceLM(lambda prompt, text: -1.0), Budget())
    assert isinstance(both, LikelihoodModel)
    assert both.count_tokens("a b") == 2


def test_calls_are_refused_before_they_are_made():
    lm = ScriptedLM(["one", "two", "three"])
    both = budgeted(lm, Budget(calls=3))
    assert [answer.text for answer in both.generate(PROMPTS[:2], max_tokens=1)] == ["one", "two"]
    with pytest.raises(BudgetExceeded, match=r"2 more calls after 2 would exceed max_calls = 3"):
        both.generate(PROMPTS[2:4], max_tokens=1)
    assert len(lm.asked) == 2
    assert both.generate(PROMPTS[:1], max_tokens=1)[0].text == "three"
    assert issubclass(BudgetExceeded, LanguageModelError)


def test_what_was_spent_before_does_not_count():
    lm = ScriptedLM(["one", "two"])
    lm.generate(PROMPTS[:1], max_tokens=1)
    budgeted(lm, Budget(calls=1, tokens=3)).generate(PROMPTS[:1], max_tokens=1)


def test_tokens_count_at_their_worst_where_they_can_be_counted():
    lm = ScriptedChoiceLM(lambda prompt, text: -1.0, ["one", "two"])
    both = budgeted(lm, Budget(tokens=10))
    both.generate(PROMPTS[:1], max_tokens=8)  # 2 + 8 = 10 at most, 2 + 1 in fact
    with pytest.raises(BudgetExceeded, match=r"up to 8 more tokens after 3 would exceed max_tokens_total = 10"):
        both.generate(PROMPTS[:1], max_tokens=6)
    both.loglikelihood(PROMPTS[:1], [["a", "b c"]])  # 3 + 2 + 3
    with pytest.raises(BudgetExceeded):
        both.loglikelihood(PROMPTS[:2], [["a"], ["b b b b"]])
    with pytest.raises(BudgetExceeded):
        both.next_token(PROMPTS[:3], ["A"])
    assert len(lm.asked) == 2


def test_tokens_of_a_model_that_cannot_count_are_refused_once_spent():
    lm = ScriptedLM(lambda prompt: "a b c")
    both = budgeted(lm, Budget(tokens=4))
    both.generate(PROMPTS[:1], max_tokens=9)
    with pytest.raises(BudgetExceeded):
        both.generate(PROMPTS[:1], max_tokens=9)


def test_known_answers_are_free(tmp_path):
    lm = ScriptedLM(lambda prompt: "a")
    both = cached(budgeted(lm, Budget(calls=2)), tmp_path / "answers.sqlite")
    for _ in range(3):
        both.generate(PROMPTS[:2], max_tokens=1)
    with pytest.raises(BudgetExceeded):
        both.generate(PROMPTS[:3], max_tokens=1)
    assert (lm.usage.calls, lm.usage.cached) == (2, 6)
