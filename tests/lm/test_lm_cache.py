from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from tastemaker.errors import ArtifactError, ConfigError, LanguageModelError
from tastemaker.lm.base import ChoiceModel, LikelihoodModel, Prompt, Usage
from tastemaker.lm.cache import BATCH, cached
from tastemaker.lm.scripted import ScriptedChoiceLM, ScriptedLM

PROMPTS = [Prompt(f"question {number}", "rules", "Answer:") for number in range(5)]


def third(prompt: Prompt, text: str) -> float:
    """A value that float32 cannot hold exactly, different for each question."""
    return -(len(prompt.user) + sum(map(ord, prompt.user + text))) / 3


def echo() -> ScriptedLM:
    return ScriptedLM(lambda prompt: f"echo of {prompt.user}")


def test_wrapper_can_what_the_model_can(tmp_path):
    path = tmp_path / "answers.sqlite"
    writes, chooses = cached(echo(), path), cached(ScriptedChoiceLM(third), path)
    assert not isinstance(writes, ChoiceModel)
    assert isinstance(chooses, LikelihoodModel)
    assert (chooses.name, chooses.context, chooses.count_tokens("a b")) == ("scripted-choice", 8192, 2)


def test_answers_are_given_once_and_come_back(tmp_path):
    lm = echo()
    both = cached(lm, tmp_path / "a" / "answers.sqlite")
    first = both.generate([PROMPTS[0], PROMPTS[1], PROMPTS[0]], max_tokens=9)
    again = cached(echo(), tmp_path / "a" / "answers.sqlite")
    assert again.generate(PROMPTS[:2], max_tokens=9) == first[:2]
    assert first[0] == first[2]
    assert (lm.usage.calls, lm.usage.cached) == (2, 1)
    assert (again.usage.calls, again.usage.cached) == (0, 2)
    assert both.usage is lm.usage


def test_everything_that_matters_is_part_of_the_key(tmp_path):
    lm = ScriptedChoiceLM(third, lambda prompt: "text")
    cache = cached(lm, tmp_path / "answers.sqlite")
    asked = [
        lambda: cache.generate(PROMPTS[:1], max_tokens=5),
        lambda: cache.generate(PROMPTS[:1], max_tokens=6),
        lambda: cache.generate(PROMPTS[:1], max_tokens=5, stop=["x"]),
        lambda: cache.generate(PROMPTS[:1], max_tokens=5, seed=1),
        lambda: cache.generate([Prompt("question 0", "rules")], max_tokens=5),
        lambda: cache.generate([Prompt("question 0", "rulesAnswer:")], max_tokens=5),
        lambda: cache.next_token(PROMPTS[:1], ["A", "B"]),
        lambda: cache.next_token(PROMPTS[:1], ["AB"]),
        lambda: cache.loglikelihood(PROMPTS[:1], [["A"]]),
    ]
    for number, ask in enumerate(asked, start=1):
        ask()
        assert lm.usage.calls == number
    lm.name = "other"
    other = cached(lm, tmp_path / "answers.sqlite")
    other.generate(PROMPTS[:1], max_tokens=5)
    lm.fingerprint = "other weights"
    cached(lm, tmp_path / "answers.sqlite").generate(PROMPTS[:1], max_tokens=5)
    assert lm.usage.calls == len(asked) + 2


def test_values_come_back_bit_for_bit(tmp_path):
    fresh = ScriptedChoiceLM(lambda prompt, text: -np.inf if text == "C" else third(prompt, text))
    cache = cached(fresh, tmp_path / "answers.sqlite")
    wanted = fresh.next_token(PROMPTS, ["A", "B", "C"])
    for _ in range(2):
        found = cache.next_token(PROMPTS, ["A", "B", "C"])
        assert found.dtype == np.float32
        assert found.tobytes() == wanted.tobytes()
    assert cache.next_token([], ["A"]).shape == (0, 1)


def test_only_new_continuations_are_asked(tmp_path):
    asked = []

    def likelihood(prompt, text):
        asked.append(text)
        return third(prompt, text)

    cache = cached(ScriptedChoiceLM(likelihood), tmp_path / "answers.sqlite")
    cache.loglikelihood(PROMPTS[:1], [["a", "b"]])
    [row] = cache.loglikelihood(PROMPTS[:1], [["c", "b", "c", "a"]])
    assert asked == ["a", "b", "c"]
    np.testing.assert_array_equal(row, np.float32([third(PROMPTS[0], text) for text in "cbca"]))


def test_what_was_answered_before_a_failure_is_kept(tmp_path):
    count = BATCH + 3
    prompts = [Prompt(str(number)) for number in range(count)]
    failing = ScriptedLM([*["fine"] * BATCH, LanguageModelError("down")])
    with pytest.raises(LanguageModelError, match="down"):
        cached(failing, tmp_path / "answers.sqlite").generate(prompts, max_tokens=3)
    second = ScriptedLM(["fine"] * 3)
    assert len(cached(second, tmp_path / "answers.sqlite").generate(prompts, max_tokens=3)) == count
    assert second.usage.calls == 3


SLOW = """
import sys
from pathlib import Path
from tastemaker.lm import cache
from tastemaker.lm.base import Prompt
from tastemaker.lm.scripted import ScriptedLM
cache.BATCH = 2
lm = cache.cached(ScriptedLM(lambda prompt: prompt.user, delay=float(sys.argv[2])), Path(sys.argv[1]))
answers = lm.generate([Prompt(str(number)) for number in range(40)], max_tokens=3)
assert [answer.text for answer in answers] == [str(number) for number in range(40)]
print(lm.usage.cached)
"""


def start(path, delay):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SLOW), str(path), str(delay)], stdout=subprocess.PIPE
    )


def rows(path) -> int:
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            return connection.execute("SELECT count(*) FROM answers").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.OperationalError:
        return 0


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_killed_run_goes_on_where_it_was(tmp_path):
    path = tmp_path / "answers.sqlite"
    process = start(path, 0.03)
    end = time.monotonic() + 30
    while rows(path) < 4 and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    kept = rows(path)
    assert 4 <= kept < 40
    with start(path, 0) as second:
        assert int(second.communicate()[0]) == kept


def test_processes_share_a_file(tmp_path):
    path = tmp_path / "answers.sqlite"
    processes = [start(path, 0.002) for _ in range(3)]
    for process in processes:
        with process:
            process.communicate()
        assert process.returncode == 0
    assert rows(path) == 40


@pytest.mark.parametrize("content", [b"this is not a database at all" * 100, None])
def test_a_file_that_is_no_cache_is_refused(tmp_path, content):
    path = tmp_path / "answers.sqlite"
    if content is None:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE orders (id)")
        connection.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises((ArtifactError, ConfigError), match=r"answers\.sqlite: .*(delete the file|name another)"):
        cached(echo(), path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("value", [b"", b"{", b"[1]"])
def test_a_damaged_entry_is_refused(tmp_path, value):
    path = tmp_path / "answers.sqlite"
    cache = cached(ScriptedChoiceLM(third, lambda prompt: "x"), path)
    cache.generate(PROMPTS[:1], max_tokens=1)
    cache.next_token(PROMPTS[:1], ["A"])
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE answers SET value = ?", [value])
    connection.close()
    for ask in (lambda: cache.generate(PROMPTS[:1], max_tokens=1), lambda: cache.next_token(PROMPTS[:1], ["A"])):
        with pytest.raises(ArtifactError, match=r"damaged.*delete the file"):
            ask()


def test_prompts_are_not_stored(tmp_path):
    lm = ScriptedLM(["yes"])
    cached(lm, tmp_path / "answers.sqlite").generate([Prompt("bought a SECRET-THING")], max_tokens=3)
    assert all(b"SECRET-THING" not in file.read_bytes() for file in tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be written: .*lm\.cache"):
        cached(echo(), tmp_path / "file" / "answers.sqlite")


class ServedChoices:
    """A `ChoiceModel` that cannot count tokens, as a server; each question takes as many as it has letters."""

    name, fingerprint = "served", "there"

    def __init__(self):
        self.usage = Usage()

    def generate(self, prompts, *, max_tokens, stop=(), seed=0):
        raise NotImplementedError

    def next_token(self, prompts, choices):
        self.usage.calls += len(prompts)
        self.usage.prompt_tokens += sum(len(prompt.user) for prompt in prompts)
        self.usage.answer_tokens += len(prompts)
        return np.zeros((len(prompts), len(choices)), dtype=np.float32)


def test_tokens_of_cached_answers_are_counted_apart(tmp_path):
    path = tmp_path / "answers.sqlite"
    questions = {
        "generate": lambda lm: lm.generate(PROMPTS, max_tokens=9),
        "next_token": lambda lm: lm.next_token(PROMPTS, ["A", "B"]),
        "loglikelihood": lambda lm: lm.loglikelihood(PROMPTS, [["a b", "c"]] * 5),
    }
    for name, ask in questions.items():
        first, again = (ScriptedChoiceLM(third, lambda prompt: "two words") for _ in range(2))
        ask(cached(first, path))
        ask(cached(again, path))
        assert (again.usage.calls, again.usage.cached, again.usage.prompt_tokens) == (0, 5, 0), name
        continuations = 5 * 3 if name == "loglikelihood" else 0
        assert again.usage.cached_prompt_tokens == first.usage.prompt_tokens + continuations, name
        assert again.usage.cached_answer_tokens == first.usage.answer_tokens, name
    served, again = ServedChoices(), ServedChoices()
    cached(served, path).next_token(PROMPTS, ["A", "B"])
    cached(again, path).next_token(PROMPTS, ["A", "B"])
    tokens = again.usage.cached_prompt_tokens, again.usage.cached_answer_tokens
    assert tokens == (served.usage.prompt_tokens, served.usage.answer_tokens) == (50, 5)


def test_a_bypassed_cache_neither_answers_nor_keeps(tmp_path):
    lm = ScriptedChoiceLM(third, lambda prompt: "text")
    cache = cached(lm, tmp_path / "answers.sqlite")
    questions = [
        lambda: cache.generate(PROMPTS[:1], max_tokens=5),
        lambda: cache.next_token(PROMPTS[:1], ["A"]),
        lambda: cache.loglikelihood(PROMPTS[:1], [["A"]]),
    ]
    for ask in questions:
        with cache.bypassed():
            ask()
        before = lm.usage.calls
        ask()
        with cache.bypassed():
            ask()
        assert lm.usage.calls == before + 2, "nothing was kept, then it was not looked up"
        ask()
        assert lm.usage.calls == before + 2
