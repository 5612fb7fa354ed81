"""Pointwise and pairwise rankers: right orders, position bias cancelled, caps kept, failures counted."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.optimize import minimize

from tastemaker import registry
from tastemaker.data import Queries, Ranking
from tastemaker.errors import ConfigError, LanguageModelError
from tastemaker.lm.scripted import ScriptedChoiceLM, ScriptedLM
from tastemaker.models.llm.pairwise import RIDGE, Pairwise, mean_wins, schedule, strengths
from tastemaker.models.llm.pointwise import Pointwise
from tastemaker.testing import tiny_shop

QUERY = Queries.from_lists([[1, 2]])


def candidates_of(numbers, size=1):
    items = np.tile(np.array(numbers, np.int32), (size, 1))
    return Ranking(items, -np.tile(np.arange(len(numbers), dtype=np.float32), (size, 1)))


def asked_about(prompt):
    return re.search(r'buy "(.*)" next\? Answer Yes or No', prompt.user)[1]


def shown(prompt):
    return dict(re.findall(r'^([A-Z])\. "(.*)"$', prompt.user.partition("Candidates:")[2], re.MULTILINE))


def number(name):
    return int(re.search(r"\d+", name)[0])


def says_yes_to(word):
    return ScriptedChoiceLM(lambda prompt, answer: -0.1 if (answer == "Yes") == (word in asked_about(prompt)) else -3.0)


def test_yes_comes_first_and_all_candidates_are_asked_about():
    lm = says_yes_to("number 9")
    model = Pointwise(lm=lm, weight=1.0).fit(tiny_shop())
    ranking = model.rank(QUERY, 5, candidates=candidates_of([5, 6, 7, 8, 9]))
    assert ranking.items[0].tolist() == [9, 5, 6, 7, 8]
    assert [number(asked_about(prompt)) for prompt in lm.asked] == [5, 6, 7, 8, 9]
    beginnings = {prompt.user.partition("Will the shopper")[0] for prompt in lm.asked}
    assert len(beginnings) == 1, "all before the product is the same, so it is read once"


def test_the_score_is_the_log_odds():
    lm = ScriptedChoiceLM(lambda prompt, answer: {"Yes": -0.1 * number(asked_about(prompt)), "No": -1.0}[answer])
    own = Pointwise(lm=lm).fit(tiny_shop()).own_order(QUERY, candidates_of([5, 6, 7]))
    assert own.items[0, :3].tolist() == [5, 6, 7]
    np.testing.assert_allclose(own.scores[0, :3], [0.5, 0.4, 0.3], atol=1e-6)


@pytest.mark.parametrize("aggregate", ["bradley_terry", "wins"])
@pytest.mark.parametrize("comparisons", [5, 10, 40])
def test_who_wins_its_comparisons_comes_first(aggregate, comparisons):
    """The larger number is preferred; even a ring of five comparisons finds the best one."""
    lm = ScriptedChoiceLM(lambda prompt, letter: 0.2 * number(shown(prompt)[letter]))
    model = Pairwise(lm=lm, weight=1.0, aggregate=aggregate, comparisons=comparisons).fit(tiny_shop())
    ranking = model.rank(QUERY, 5, candidates=candidates_of([7, 5, 9, 6, 8]))
    assert ranking.items[0, 0] == 9
    assert len(lm.asked) == 2 * min(comparisons, 10)
    if comparisons >= 10:
        assert ranking.items[0].tolist() == [9, 8, 7, 6, 5]


def test_a_model_that_only_knows_letters_does_nothing():
    lm = ScriptedChoiceLM(lambda prompt, letter: {"A": 0.0, "B": -4.0}[letter])
    model = Pairwise(lm=lm, weight=0.7).fit(tiny_shop())
    ranking = model.rank(QUERY, 5, candidates=candidates_of([9, 8, 7, 6, 5]))
    assert ranking.items[0].tolist() == [9, 8, 7, 6, 5]
    own = model.own_order(QUERY, candidates_of([9, 8, 7, 6, 5]))
    np.testing.assert_allclose(own.scores[0, :5], 0, atol=1e-9)


@pytest.mark.parametrize("candidates", [2, 3, 6, 7, 20])
def test_the_tournament_is_fair(candidates):
    every = schedule(candidates, 10_000)
    assert sorted(every) == [(i, j) for i in range(candidates) for j in range(i + 1, candidates)]
    ring = schedule(candidates, candidates)
    if candidates > 2:
        assert np.bincount(np.array(ring).ravel()).tolist() == [2] * candidates
    assert len(schedule(candidates, 5)) == min(5, len(every))


def test_strengths_equal_a_plain_maximisation():
    rng = np.random.default_rng(0)
    pairs, wins = np.array(schedule(6, 11)), rng.random(11)

    def loss(given):
        gap = given[pairs[:, 0]] - given[pairs[:, 1]]
        return (wins * np.logaddexp(0, -gap) + (1 - wins) * np.logaddexp(0, gap)).sum() + RIDGE / 2 * given @ given

    found = strengths(pairs, wins, 6)
    np.testing.assert_allclose(found, minimize(loss, np.zeros(6), tol=1e-12).x, atol=1e-4)
    assert abs(found.sum()) < 1e-8


def test_strengths_stay_finite_for_one_who_wins_all():
    pairs = np.array(schedule(4, 6))
    found = strengths(pairs, (pairs[:, 0] == 0).astype(float), 4)
    assert np.isfinite(found).all()
    assert found.argmax() == 0


def test_mean_wins_by_hand():
    assert mean_wins(np.array([[0, 1], [0, 2]]), np.array([1.0, 0.5]), 4).tolist() == [0.75, 0.0, 0.5, 0.5]


@pytest.mark.parametrize("kind", [Pointwise, Pairwise])
def test_errors_keep_the_order_and_are_counted(kind):
    """One shopper's prompts are too long for the model; the other's answer stands although both are asked together."""

    def likelihood(prompt, answer):
        if '"brush number 2"' in prompt.user.partition("Candidates")[0].partition("Will the")[0]:
            raise LanguageModelError("too long")
        names = shown(prompt) or {"Yes": asked_about(prompt), "No": "number 0"}
        return number(names[answer]) / 10

    model = kind(lm=ScriptedChoiceLM(likelihood), weight=1.0).fit(tiny_shop())
    ranking = model.rank(Queries.from_lists([[2], [3]]), 3, candidates=candidates_of([7, 8, 9], 2))
    assert ranking.items.tolist() == [[7, 8, 9], [9, 8, 7]]
    assert model.report()["counts"] == {"failed: LanguageModelError": 1, "answered": 1}


@pytest.mark.parametrize("name", ["pointwise", "pairwise"])
def test_mistakes_are_named(name):
    kind = registry.model_class(name)
    with pytest.raises(ConfigError, match=r"no \[lm\] is set"):
        kind(weight=1.0).fit(tiny_shop()).rank(QUERY, 2, candidates=candidates_of([5, 6]))
    with pytest.raises(ConfigError, match="gives no likelihoods"):
        kind(lm=ScriptedLM(), weight=1.0).fit(tiny_shop()).rank(QUERY, 2, candidates=candidates_of([5, 6]))
    with pytest.raises(ConfigError, match="does not run here"):
        kind(lm=says_yes_to("x"), tuning={}).fit(tiny_shop())
    with pytest.raises(ConfigError, match="name a model that runs here"):
        kind(tuning={}).fit(tiny_shop())


def test_a_blocks_questions_are_asked_together(monkeypatch):
    calls = []
    lm = says_yes_to("number 9")
    next_token = lm.next_token
    monkeypatch.setattr(
        lm, "next_token", lambda prompts, choices: calls.append(len(prompts)) or next_token(prompts, choices)
    )
    monkeypatch.setattr("tastemaker.models.parts.llm.llm_ranking.BLOCK", 4)
    model = Pointwise(lm=lm, weight=1.0).fit(tiny_shop())
    model.rank(Queries.from_lists([[1]] * 6), 3, candidates=candidates_of([7, 8, 9], 6))
    assert calls == [12, 6]
