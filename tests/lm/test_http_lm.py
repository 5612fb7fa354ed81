"""A real server on a loopback port plays every kind of answer."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest
from model_server import chat, drip, hang, running, status

from tastemaker.errors import ConfigError, LanguageModelError
from tastemaker.lm.base import RENDERING, ChoiceModel, LanguageModel, Prompt
from tastemaker.lm.http import HttpChoiceLM, HttpLM

PROMPT = Prompt("SECRET-HISTORY choose", "Be fair.", "Answer:")


@pytest.fixture
def server():
    with running() as server:
        yield server


@pytest.fixture
def make(server, monkeypatch):
    monkeypatch.delenv("TASTEMAKER_LM_KEY", raising=False)
    opened = []

    def make(*script, kind=HttpLM, **settings):
        server.script = list(script)
        lm = kind(**{"url": server.url, "model": "qwen", **settings}, pause=pauses.append)
        opened.append(lm)
        return lm

    pauses = make.pauses = []
    yield make
    for lm in opened:
        lm.close()


def test_good_answer(make, server):
    lm = make(chat(" Answer: A, B\nand more"))
    [answer] = lm.generate([PROMPT], max_tokens=9, stop=["\n"], seed=5)
    assert (answer.text, answer.prompt_tokens, answer.answer_tokens, answer.finished) == ("A, B", 11, 3, True)
    path, _, body = server.requests[0]
    assert path == "/v1/chat/completions"
    assert body == {
        "model": "qwen",
        "messages": [{"role": "system", "content": "Be fair."}, {"role": "user", "content": "SECRET-HISTORY choose"}],
        "temperature": 0,
        "max_tokens": 9,
        "seed": 5,
        "stop": ["\n"],
    }
    assert (lm.usage.calls, lm.usage.prompt_tokens, lm.usage.answer_tokens) == (1, 11, 3)
    assert isinstance(lm, LanguageModel)
    assert not isinstance(lm, ChoiceModel)
    assert (lm.name, lm.fingerprint) == ("qwen", f"{server.url}-rendering{RENDERING}")


def test_cut_answer_is_not_finished(make):
    assert not make(chat("A", finish="length")).generate([PROMPT], max_tokens=1)[0].finished


def test_servers_that_continue_get_the_start_of_the_answer(make, server):
    make(chat("A"), continue_answer=True).generate([PROMPT], max_tokens=1)
    body = server.requests[0][2]
    assert body["messages"][-1] == {"role": "assistant", "content": "Answer:"}
    assert body["continue_final_message"] is True


def test_many_prompts_keep_their_order(make):
    def echo(handler, body):
        number = int(body["messages"][-1]["content"])
        time.sleep(0.02 * (number % 3))
        handler.reply(200, chat(str(number)))

    answers = make(echo, parallel=5).generate([Prompt(str(number)) for number in range(20)], max_tokens=1)
    assert [answer.text for answer in answers] == [str(number) for number in range(20)]


def test_busy_then_good_waits_as_told(make):
    lm = make(status(429, ("Retry-After", "2")), status(503), chat("A"))
    assert lm.generate([PROMPT], max_tokens=1)[0].text == "A"
    assert make.pauses == [2, 1.0]
    assert lm.usage.calls == 1


def test_server_error_ends_after_all_attempts(make, server):
    with pytest.raises(LanguageModelError, match=r"no answer after 3 of 3 attempts: HTTP 500 "):
        make(status(500)).generate([PROMPT], max_tokens=1)
    assert len(server.requests) == 3


def test_long_retry_after_gives_up_within_the_deadline(make, server):
    with pytest.raises(LanguageModelError, match="HTTP 429"):
        make(status(429, ("Retry-After", "3600")), deadline=5).generate([PROMPT], max_tokens=1)
    assert len(server.requests) == 1
    assert make.pauses == []


def test_refusal_is_not_repeated(make, server):
    with pytest.raises(LanguageModelError, match="HTTP 401 Unauthorized"):
        make(status(401, said=b"no key")).generate([PROMPT], max_tokens=1)
    assert len(server.requests) == 1


def test_hanging_server_times_out(make):
    began = time.monotonic()
    with pytest.raises(LanguageModelError, match="ReadTimeout"):
        make(hang, timeout=0.2, attempts=1).generate([PROMPT], max_tokens=1)
    assert time.monotonic() - began < 5


def test_dripping_server_meets_the_deadline(make):
    began = time.monotonic()
    with pytest.raises(LanguageModelError, match="longer than deadline"):
        make(drip, timeout=5, deadline=0.3).generate([PROMPT], max_tokens=1)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (json.dumps(chat("A")).encode()[:-9], "not JSON"),
        (b'{"choices": [{"message": {"content": NaN}}]}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        ([chat("A")], "a JSON list"),
        ({"error": "what?"}, "no choices"),
        ({"choices": []}, "no choices"),
        ({"choices": ["A"]}, "no choices"),
        ({"choices": [{"text": "A"}]}, "no text"),
        ({"choices": [{"message": {"content": None}}]}, "no text"),
        (b'{"x": "' + b"A" * 2**20 + b'"}', "larger than max_megabytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_answers(make, answer, message):
    with pytest.raises(LanguageModelError, match=message) as caught:
        make(answer, max_megabytes=0.5).generate([PROMPT], max_tokens=1)
    assert "SECRET" not in str(caught.value)


def test_odd_token_counts_are_zero(make):
    lm = make({**chat("A"), "usage": {"prompt_tokens": "many", "completion_tokens": -4}})
    assert lm.generate([PROMPT], max_tokens=1)[0].prompt_tokens == 0
    assert (lm.usage.prompt_tokens, lm.usage.answer_tokens) == (0, 0)


def test_key_comes_from_the_environment(make, server, monkeypatch):
    monkeypatch.setenv("OTHER_KEY", "k-2")
    make(chat("A")).generate([PROMPT], max_tokens=1)
    make(chat("A"), key_variable="OTHER_KEY").generate([PROMPT], max_tokens=1)
    monkeypatch.setenv("TASTEMAKER_LM_KEY", "k-1")
    with pytest.raises(LanguageModelError, match=r"HTTP 401 Unauthorized; set or check the key in TASTEMAKER_LM_KEY$"):
        make(status(401, said=b"bad key k-1")).generate([PROMPT], max_tokens=1)
    sent = [request[1].get("Authorization") for request in server.requests]
    assert sent == [None, "Bearer k-2", "Bearer k-1"]


def test_other_machines_have_to_be_allowed(monkeypatch):
    monkeypatch.delenv("TASTEMAKER_LM_KEY", raising=False)
    with pytest.raises(ConfigError, match="allow_remote = true"):
        HttpLM(url="https://models.example/v1", model="m")
    HttpLM(url="https://models.example/v1", model="m", allow_remote=True).close()
    with pytest.raises(ConfigError, match=r"lm\.model: .*field required"):
        HttpLM(url="http://127.0.0.1:1/v1")


def test_likelihoods_of_choices(make, server):
    top = [("A", -1.0), (" A", -2.0), ("\u2581C", -3.0), ("The", -4.0)]
    lm = make(chat("A", top=top), kind=HttpChoiceLM)
    [row] = lm.next_token([PROMPT], ["A", "B", "C", "D"])
    assert row[0] == pytest.approx(math.log(math.exp(-1) + math.exp(-2)))
    assert row[2] == pytest.approx(-3)
    assert row[1] == row[3] == pytest.approx(-4)  # at most what the last one named has
    body = server.requests[0][2]
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (1, True, 20)
    assert isinstance(lm, ChoiceModel)


def test_unnamed_choices_get_no_more_than_is_left(make):
    [row] = make(chat("A", top=[("A", math.log(0.99))]), kind=HttpChoiceLM).next_token([PROMPT], ["A", "B"])
    assert row[1] == pytest.approx(math.log(0.01), rel=1e-5)


def test_no_choice_named_is_no_opinion(make):
    [row] = make(chat("<", top=[("<think>", -0.1)]), kind=HttpChoiceLM).next_token([PROMPT], ["A", "B"])
    np.testing.assert_array_equal(row, [-np.inf, -np.inf])


@pytest.mark.parametrize(
    "top",
    [None, [], [("A", "high")], [("A", 3.0)], [("A", None)], [("A", -1.0), ("B", "nan")], [("A", 10**400)]],
    ids=range(7),
)
def test_server_without_likelihoods(make, top):
    with pytest.raises(LanguageModelError, match=r"likelihoods|log-probabilities"):
        make(chat("A", top=top), kind=HttpChoiceLM).next_token([PROMPT], ["A", "B"])


@pytest.mark.parametrize("parallel", [1, 3])
def test_no_prompt_is_sent_after_a_failure(make, server, parallel):
    """The first to come fails at once; the others under way are slow, and nothing follows them."""

    def step(handler, body):
        first = int(body["messages"][-1]["content"]) == 0
        if not first:
            time.sleep(0.2)
        handler.reply(*((400, b"") if first else (200, chat("A"))))

    with pytest.raises(LanguageModelError, match="HTTP 400"):
        make(step, parallel=parallel).generate([Prompt(str(number)) for number in range(20)], max_tokens=1)
    assert len(server.requests) <= parallel


OTHER = {
    "url": "http://127.0.0.1:9/other",
    "allow_remote": True,
    "key_variable": "OTHER_KEY",
    "timeout": 3.0,
    "deadline": 9.0,
    "attempts": 1,
    "max_megabytes": 1.0,
    "model": "other",
    "logprobs": True,
    "continue_answer": True,
    "parallel": 1,
}


@pytest.mark.parametrize("key", HttpLM.Config.model_fields)
def test_settings_that_change_answers_change_the_identity(make, monkeypatch, key):
    monkeypatch.setenv("OTHER_KEY", "k")
    one, other = make(chat("A")), make(chat("A"), **{key: OTHER[key]})
    same = (one.name, one.fingerprint) == (other.name, other.fingerprint)
    assert same != (key in {"url", "model", "continue_answer"})


def test_half_characters_are_replaced(make, server):
    make(chat("A")).generate([Prompt("a \ud800 b", "\udfff", "c")], max_tokens=1, stop=["\udcff"])
    assert [message["content"] for message in server.requests[0][2]["messages"]] == ["\ufffd", "a \ufffd b"]


@pytest.mark.parametrize(
    "wrong", [{"max_tokens": 0}, {"max_tokens": 5, "stop": ["x", ""]}, {"max_tokens": 5, "stop": "x"}]
)
def test_limits_that_leave_no_answer_are_refused(make, server, wrong):
    with pytest.raises(ConfigError, match=r"max_tokens: 0|stop: "):
        make(chat("A")).generate([PROMPT], **wrong)
    assert not server.requests
