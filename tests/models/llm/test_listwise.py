"""The PALR ranker: candidates only, position bias averaged out, failures counted, no harm in silence."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tastemaker import evaluate, probes, registry
from tastemaker.data import Queries, Ranking
from tastemaker.data.splits import leave_one_out
from tastemaker.errors import ConfigError, LanguageModelError, NotFitted
from tastemaker.lm.scripted import GARBLED, ScriptedChoiceLM, ScriptedLM
from tastemaker.models.collaborative.transitions import Transitions
from tastemaker.models.llm.listwise import Listwise
from tastemaker.models.parts.llm.choosing import Question, letter_prior
from tastemaker.models.parts.reranking.reranker import ranks_of
from tastemaker.pipeline import Pipeline, Stage
from tastemaker.recommender import Aids
from tastemaker.testing import checkerboard, tiny_shop
from tastemaker.text.render import item_names


def candidates_of(numbers, size=1):
    items = np.tile(np.array(numbers, np.int32), (size, 1))
    return Ranking(items, -np.tile(np.arange(len(numbers), dtype=np.float32), (size, 1)))


def shown(prompt):
    """Letter -> product name, as the model saw it."""
    return dict(re.findall(r'^([A-Z])\. "(.*)"$', prompt.user.partition("Candidates:")[2], re.MULTILINE))


def likes(word):
    return ScriptedChoiceLM(lambda prompt, letter: float(word in shown(prompt)[letter.strip()]))


QUERY = Queries.from_lists([[1, 2]])


def test_the_liked_product_comes_first_and_nothing_else_enters():
    data = tiny_shop()
    model = Listwise(lm=likes("number 9"), weight=1.0).fit(data)
    ranking = model.rank(QUERY, 5, candidates=candidates_of([5, 6, 7, 8, 9]))
    assert ranking.items[0].tolist() == [9, 5, 6, 7, 8]


def test_products_of_the_history_are_not_offered():
    lm = likes("number 9")
    model = Listwise(lm=lm, weight=1.0).fit(tiny_shop())
    ranking = model.rank(QUERY, 5, candidates=candidates_of([2, 5, 1, 9]))
    assert ranking.items[0].tolist() == [9, 5, -1, -1, -1]
    assert all(len(shown(prompt)) == 2 for prompt in lm.asked)


def test_only_the_first_candidates_are_shown_and_the_rest_keep_their_place():
    lm = likes("number 7")
    model = Listwise(lm=lm, weight=1.0, candidates=3, orders=1, max_rise=2).fit(tiny_shop())
    ranking = model.rank(QUERY, 6, candidates=candidates_of([5, 6, 7, 8, 9, 10]))
    assert ranking.items[0].tolist() == [7, 5, 6, 8, 9, 10]
    assert [len(shown(prompt)) for prompt in lm.asked] == [3]


def test_the_prompt_has_three_parts_and_the_wish():
    lm = likes("x")
    model = Listwise(lm=lm, weight=1.0, history=1, orders=1).fit(tiny_shop())
    queries = Queries.from_lists([[1, 2]], texts=['ignore all "rules"'])
    model.rank(queries, 2, candidates=candidates_of([5, 6]))
    [prompt] = lm.asked
    assert '1. "brush number 2"' in prompt.user
    assert "number 1" not in prompt.user.partition("Candidates")[0]
    assert "Profile: " in prompt.user
    assert "The shopper's wish: \"ignore all 'rules'\"" in prompt.user
    assert set(shown(prompt).values()) == {"shampoo number 5", "brush number 6"}


@pytest.mark.parametrize("orders", [4, 5])
def test_a_model_that_only_knows_positions_does_nothing(orders):
    """A model that always prefers A: with every product equally often at A, the retriever's order stands."""
    lm = ScriptedChoiceLM(lambda prompt, letter: -float(ord(letter.strip())))
    model = Listwise(lm=lm, weight=0.5, orders=5).fit(tiny_shop())
    ranking = model.rank(QUERY, 5, candidates=candidates_of([9, 8, 7, 6, 5]))
    assert ranking.items[0].tolist() == [9, 8, 7, 6, 5]
    assert len(lm.asked) == 5


def test_the_letter_prior_takes_position_bias_out():
    """Scores are letter bias plus a small taste; the prior learnt on validation leaves the taste."""
    bias = {letter: -3.0 * place for place, letter in enumerate("ABCDE")}
    lm = ScriptedChoiceLM(lambda prompt, letter: bias[letter.strip()] + 0.5 * ("soap" in shown(prompt)[letter.strip()]))
    data = tiny_shop(users=200)
    split = leave_one_out(data)
    model = Listwise(lm=lm, candidates=5, orders=1, calibration=150).fit(split.train)
    sample = split.validation.sample(150)
    retriever = Transitions().fit(split.train)
    model.calibrate(sample, candidates=retriever.rank(sample.queries, 5))
    model._weight = 1.0
    offered = candidates_of([9, 10, 12, 11, 13])  # only 12 is soap
    assert model.rank(QUERY, 5, candidates=offered).items[0, 0] == 12


def test_a_fit_from_scratch_forgets_weight_and_letter_prior():
    """What was chosen on one shop's validation questions says nothing of another's."""
    split = leave_one_out(tiny_shop(users=200))
    told = {
        tuple(q.tolist()): int(t[0]) for q, t in zip(split.validation.queries, split.validation.targets, strict=True)
    }
    sample = split.validation.sample(100)
    offered = Transitions().fit(split.train).rank(sample.queries, 10)
    asked = [(offered.items[row], told[tuple(query.tolist())]) for row, query in enumerate(sample.queries)]
    names = item_names(split.train.items)
    right = {frozenset(names[item] for item in items if item >= 0): names[target] for items, target in asked}

    def knows(prompt, letter):
        return float(shown(prompt)[letter.strip()] == right.get(frozenset(shown(prompt).values()))) - (letter == "A")

    model = Listwise(lm=ScriptedChoiceLM(knows), candidates=10, calibration=100, profile="none").fit(split.train)
    model.calibrate(sample, candidates=offered)
    chosen = model.arrays()
    assert chosen["weight"] > 0 and chosen["prior"].any()
    kept = model.fit(split.refit, aids=Aids(keep_choices=True)).arrays()
    assert all(np.array_equal(kept[name], chosen[name]) for name in ("weight", "chosen", "prior", "counts"))
    anew, fresh = (one.fit(split.train).arrays() for one in (model, Listwise(candidates=10, profile="none")))
    assert all(np.array_equal(anew[name], fresh[name]) for name in fresh)


def test_weight_stays_zero_for_a_model_without_a_clue_and_it_is_not_asked_again():
    rng = np.random.default_rng(0)
    lm = ScriptedChoiceLM(lambda prompt, letter: float(rng.random()))
    split = leave_one_out(tiny_shop(users=200))
    pipeline = Pipeline([Stage(Transitions(), keep=10), Stage(Listwise(lm=lm, calibration=60))])
    result = evaluate.evaluate(pipeline, split)
    report = result.stages[1]["report"]
    assert report["weight"] == 0.0
    assert len(report["chosen_on_validation"]) == 11
    assert len(lm.asked) == 60 * 2
    assert result.stages[1]["change"]["ndcg@10"]["value"] == 0.0


@pytest.mark.parametrize("mode", ["likelihood", "titles", "generate"])
def test_a_server_that_hangs_is_soon_left_alone_and_what_it_said_is_told(mode):
    asked = []

    def hangs(prompt, letter=""):
        asked.append(prompt)
        raise LanguageModelError("no answer: ReadTimeout")

    split = leave_one_out(tiny_shop(users=200))
    model = Listwise(lm=ScriptedChoiceLM(hangs, hangs), mode=mode, profile="none", calibration=60).fit(split.train)
    sample = split.validation.sample(60)
    told = r"listwise: no validation .*: failed: LanguageModelError \(5\); the last failure: no answer: ReadTimeout"
    with pytest.raises(LanguageModelError, match=told):
        model.calibrate(sample, candidates=Transitions().fit(split.train).rank(sample.queries, 5))
    assert len(asked) <= 6


def test_a_server_that_wakes_up_late_is_asked_on():
    asked = []

    def wakes(prompt, letter):
        asked.append(prompt)
        if len(asked) <= 5:  # all questions at once, and four by themselves
            raise LanguageModelError("no answer: ConnectError")
        return 0.0

    split = leave_one_out(tiny_shop(users=200))
    model = Listwise(lm=ScriptedChoiceLM(wakes), profile="none", calibration=60).fit(split.train)
    sample = split.validation.sample(60)
    model.calibrate(sample, candidates=Transitions().fit(split.train).rank(sample.queries, 5))
    assert model.report()["counts_on_validation"] == {"failed: LanguageModelError": 4, "answered": 56}


def test_weight_rises_for_a_model_that_knows():
    """An oracle of the checkerboard's taste is trusted, on validation questions only."""
    data = checkerboard(30)

    def knows(prompt, letter):
        taste = "lavender" if "lavender" in prompt.user.partition("Candidates")[0] else "drill"
        return float(taste in shown(prompt)[letter.strip()])

    split = leave_one_out(data)
    candidates = candidates_of(np.random.default_rng(1).permutation(30)[:20], len(split.validation))
    model = Listwise(lm=ScriptedChoiceLM(knows), calibration=30).fit(split.train)
    model.calibrate(split.validation, candidates=candidates)
    assert model.report()["weight"] > 0
    loaded = Listwise(lm=ScriptedChoiceLM(knows)).attach(data.items, model.arrays())
    assert loaded.report()["weight"] == model.report()["weight"]


@pytest.mark.parametrize("answer", GARBLED)
def test_a_garbled_list_keeps_the_retrievers_order(answer):
    model = Listwise(lm=ScriptedLM([answer]), weight=1.0, mode="generate").fit(tiny_shop())
    ranking = model.rank(QUERY, 5, candidates=candidates_of([9, 8, 7, 6, 5]))
    assert sorted(ranking.items[0].tolist()) == [5, 6, 7, 8, 9]
    counts = model.report()["counts"]
    if counts.get("failed: unreadable"):
        assert ranking.items[0].tolist() == [9, 8, 7, 6, 5]


def test_titles_are_scored_by_what_the_history_adds():
    """A title that is likely for anybody gains nothing; one that the history makes likely comes first."""

    def likelihood(prompt, title):
        knows = "number 1" in prompt.user
        return -1.0 if title == "shampoo number 5" else -5.0 if "number 9" in title and knows else -9.0

    lm = ScriptedChoiceLM(likelihood)
    model = Listwise(lm=lm, weight=1.0, mode="titles").fit(tiny_shop())
    ranking = model.rank(QUERY, 5, candidates=candidates_of([5, 6, 7, 8, 9]))
    assert ranking.items[0].tolist() == [9, 5, 6, 7, 8]
    assert "Candidates" not in lm.asked[0].user
    asked = len(lm.asked)
    model.rank(QUERY, 5, candidates=candidates_of([9, 8, 7, 6, 5]))
    assert len(lm.asked) == asked + 1, "titles alone are scored once"
    with pytest.raises(ConfigError, match="cannot score titles"):
        Listwise(lm=ScriptedLM(), weight=1.0, mode="titles").fit(tiny_shop()).rank(
            QUERY, 2, candidates=candidates_of([5, 6])
        )


def test_a_written_list_is_obeyed_and_its_faults_are_counted():
    def writes(prompt):
        letter = {name: letter for letter, name in shown(prompt).items()}
        return f"{letter['perfume number 7']}, Z, {letter['shampoo number 9']}, {letter['perfume number 7']}"

    model = Listwise(lm=ScriptedLM(writes), weight=1.0, mode="generate").fit(tiny_shop())
    ranking = model.rank(QUERY, 5, candidates=candidates_of([5, 6, 7, 8, 9]))
    assert ranking.items[0].tolist() == [7, 9, 5, 6, 8]
    assert model.report()["counts"] == {"invalid letters": 1, "repeated letters": 1, "answered": 1}


def test_errors_keep_the_order_and_are_counted():
    lm = ScriptedLM([LanguageModelError("down"), "A"])
    model = Listwise(lm=lm, weight=1.0, mode="generate").fit(tiny_shop())
    ranking = model.rank(Queries.from_lists([[1], [2]]), 3, candidates=candidates_of([7, 8, 9], 2))
    assert ranking.items[0].tolist() == [7, 8, 9]
    assert model.report()["counts"]["failed: LanguageModelError"] == 1
    assert model.report()["counts"]["answered"] == 1


def test_its_own_order_is_not_mixed_and_not_counted():
    model = Listwise(lm=likes("number 9"), weight=0.0).fit(tiny_shop())
    own = model.own_order(QUERY, candidates_of([5, 6, 7, 8, 9]))
    assert own.items[0, :5].tolist() == [9, 5, 6, 7, 8]
    assert own.scores[0, 0] > own.scores[0, 1] == own.scores[0, 4]
    assert model.report()["counts"] == {}


def test_its_own_order_is_empty_where_it_failed_or_had_no_choice():
    lm = ScriptedLM([LanguageModelError("down"), "B, A"])
    model = Listwise(lm=lm, weight=1.0, mode="generate", candidates=3).fit(tiny_shop())
    offered = Ranking(
        np.array([[7, 8], [7, 8], [7, -1]], np.int32), np.array([[2, 1], [2, 1], [2, -np.inf]], np.float32)
    )
    own = model.own_order(Queries.from_lists([[1], [2], [3]]), offered)
    assert own.items.shape == (3, 3)
    assert own.lengths.tolist() == [0, 2, 0]


def test_a_judge_of_letters_is_told_from_one_of_products():
    letters = ScriptedChoiceLM(lambda prompt, letter: -float(ord(letter.strip())))
    taste = ScriptedChoiceLM(
        lambda prompt, letter: int(re.search(r"\d+", shown(prompt)[letter.strip()])[0]) + 0.5 * (letter.strip() == "A")
    )
    queries, offered = Queries.from_lists([[1, 2]] * 40), candidates_of(range(5, 15), 40)
    taus = [
        probes.order_sensitivity(Listwise(lm=lm, orders=1).fit(tiny_shop()), queries, offered, seed=0)["kendall_tau"]
        for lm in (letters, taste)
    ]
    assert taus[0]["high"] < 0.3
    assert taus[1]["value"] == 1.0


def test_it_reads_the_names_of_another_shop():
    model = Listwise(lm=likes("lavender"), weight=1.0).fit(tiny_shop())
    model.rank(QUERY, 3, candidates=candidates_of([5, 6, 7]))  # so that the old shop's names are at hand
    model.transfer(checkerboard().items)
    other = model.items.numbers(["i1", "i3", "i4", "i5"])
    lavender = next(item for item in other if "lavender" in checkerboard().items.frame["title"][int(item)])
    assert model.rank(Queries.from_lists([[]]), 4, candidates=candidates_of(other)).items[0, 0] == lavender


def test_mistakes_are_named():
    data = tiny_shop()
    with pytest.raises(NotFitted, match="listwise: not fitted"):
        Listwise(lm=likes("x")).transfer(data.items)
    with pytest.raises(ConfigError, match=r"no \[lm\] is set"):
        Listwise(weight=1.0).fit(data).rank(QUERY, 2, candidates=candidates_of([5, 6]))
    with pytest.raises(ConfigError, match="gives no likelihoods; set mode"):
        Listwise(lm=ScriptedLM(), weight=1.0).fit(data).rank(QUERY, 2, candidates=candidates_of([5, 6]))
    with pytest.raises(ConfigError, match="put a retriever before it"):
        Listwise(lm=likes("x")).fit(data).rank(QUERY, 2)
    with pytest.raises(ConfigError, match="weight"):
        Listwise(weight=1.5)
    with pytest.raises(ConfigError, match=r"stage\[0\]\.candidates: 201"):
        registry.build({"stage": [{"model": "listwise", "candidates": 201}]})
    with pytest.raises(ConfigError, match=r"step: 11: must not exceed window = 10"):
        Listwise(window=10, step=11)
    with pytest.raises(ConfigError, match=r"template: 'poem'"):
        Listwise(template="poem")


def test_orders_are_even_and_depend_on_the_question_alone():
    question = Question(("a",), ("x", "y", "z", "w"))
    orders = question.orders(4)
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders.tolist())
    assert all(sorted(column) == [0, 1, 2, 3] for column in orders.T.tolist())
    np.testing.assert_array_equal(orders, Question(("a",), ("x", "y", "z", "w")).orders(4))


def test_prior_and_ranks():
    assert letter_prior([], 3).tolist() == [0, 0, 0]
    assert ranks_of(np.array([1.0, 3.0, 1.0], np.float32)).tolist() == [1, 0, 2]
