"""The benchmark of soft tokens: what it asks, what it keeps, and that no round is measured twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_models

from tastemaker.lm.local import LocalLM

FOLDER = Path(__file__).parent.parent / "benchmarks"
HISTORY, CANDIDATES = [f"hand cream number {n}" for n in range(6)], [f"drill number {n}" for n in range(4)]


@pytest.fixture
def speed(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(FOLDER))
    import hybrid_speed

    monkeypatch.setattr(hybrid_speed, "RESULTS", tmp_path / "hybrid_speed.json")
    return hybrid_speed


@pytest.fixture(scope="module")
def lm():
    return LocalLM(tiny_models.causal())


def test_rounds_are_kept_and_not_measured_again(speed, lm, monkeypatch):
    ways_of = speed.ways_of
    asked = []

    def counted(*arguments):
        ways, tokens = ways_of(*arguments)
        return {name: lambda name=name, ask=ask: (asked.append(name), ask()) for name, ask in ways.items()}, tokens

    monkeypatch.setattr(speed, "ways_of", counted)
    first = speed.run(lm, HISTORY, CANDIDATES, 2, threads=1, before={})
    assert asked == ["words", "soft tokens"] * 3, "once to warm up, then in turns"
    kept = json.loads(speed.RESULTS.read_text())
    assert kept == first
    asked.clear()
    again = speed.run(lm, HISTORY, CANDIDATES, 3, threads=1, before=kept)
    assert asked == ["words", "soft tokens"] * 2
    assert again["rounds"][:2] == first["rounds"]
    other = speed.run(lm, HISTORY[:5], CANDIDATES, 1, threads=1, before=kept)
    assert len(other["rounds"]) == 1, "under other conditions nothing is kept"


def test_tokens_are_counted_as_they_are_read(speed, lm):
    ways, tokens = speed.ways_of(lm, HISTORY, CANDIDATES)
    before = lm.usage.prompt_tokens
    assert ways["words"]().shape == (1, 4)
    assert lm.usage.prompt_tokens - before == tokens["words"]
    assert ways["soft tokens"]().shape == (1, 4)
    assert tokens["soft tokens"] < tokens["words"]


def test_the_ratio_is_that_of_the_medians(speed):
    rounds = [
        {"words": {"wall_s": words, "cpu_s": words}, "soft tokens": {"wall_s": soft, "cpu_s": 2 * soft}}
        for words, soft in ((1.0, 0.1), (2.0, 0.2), (9.0, 0.4))
    ]
    results = {"rounds": rounds, "tokens": {"words": 900, "soft tokens": 60}, "model": "m", "history": 20}
    results |= {"candidates": 20, "threads": 2}
    assert speed.ratio(results) == pytest.approx(10)
    text = speed.table(results)
    assert "| words | 900 | 2.000 | 2.000 |" in text
    assert "soft tokens are 10.0 times as fast (5.0 by CPU time)" in text
    assert speed.table({}) == "nothing is measured yet"
