from __future__ import annotations

import time

import numpy as np
import pytest

from tastemaker.errors import LanguageModelError
from tastemaker.lm.base import ChoiceModel, LanguageModel, LikelihoodModel, Prompt
from tastemaker.lm.scripted import GARBLED, ScriptedChoiceLM, ScriptedLM

PROMPT = Prompt("which one", "be fair", "Answer:")


def test_a_list_is_answered_in_order_and_prompts_are_kept():
    lm = ScriptedLM(["A, B", LanguageModelError("down"), " C\nD "])
    assert isinstance(lm, LanguageModel)
    assert not isinstance(lm, ChoiceModel)
    assert lm.generate([PROMPT], max_tokens=5)[0].text == "A, B"
    with pytest.raises(LanguageModelError, match="down"):
        lm.generate([PROMPT], max_tokens=5)
    assert lm.generate([PROMPT], max_tokens=5, stop=["\n"])[0].text == "C"
    with pytest.raises(LanguageModelError, match="no answer left for: 'which one'"):
        lm.generate([PROMPT], max_tokens=5)
    assert lm.asked == [PROMPT] * 4


def test_a_function_sees_the_prompt():
    lm = ScriptedLM(lambda prompt: prompt.user.upper())
    [answer] = lm.generate([PROMPT], max_tokens=1)
    assert (answer.text, answer.finished) == ("WHICH", False)
    assert (answer.prompt_tokens, answer.answer_tokens) == (5, 1)
    assert (lm.usage.calls, lm.usage.prompt_tokens, lm.usage.answer_tokens) == (1, 5, 1)


def test_garbled_answers_pass_through():
    lm = ScriptedLM(GARBLED)
    answers = lm.generate([PROMPT] * len(GARBLED), max_tokens=10**6)
    assert [answer.text for answer in answers] == [text.strip() for text in GARBLED]


def test_delay():
    began = time.perf_counter()
    lm = ScriptedLM(["a"], delay=0.05)
    lm.generate([PROMPT], max_tokens=1)
    assert time.perf_counter() - began >= 0.05
    assert lm.usage.seconds >= 0.05


def test_likelihoods():
    lm = ScriptedChoiceLM(lambda prompt, text: -float(len(text)))
    assert isinstance(lm, LikelihoodModel)
    np.testing.assert_array_equal(lm.next_token([PROMPT, PROMPT], ["A", "BB"]), [[-1, -2], [-1, -2]])
    np.testing.assert_array_equal(lm.loglikelihood([PROMPT], [["abc"]])[0], [-3])
    assert lm.next_token([], ["A"]).shape == (0, 1)
    assert lm.usage.calls == 3
