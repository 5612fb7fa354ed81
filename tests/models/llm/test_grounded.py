"""Free generation: whatever is written, only real products are listed, nearest first; what is invented is counted."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models

from tastemaker.data import Queries, Ranking
from tastemaker.data.splits import Holdout, leave_one_out
from tastemaker.encoders.base import unit_rows
from tastemaker.encoders.tfidf import TfidfEncoder
from tastemaker.errors import ConfigError, DataError, LanguageModelError
from tastemaker.lm.local import LocalLM
from tastemaker.lm.scripted import GARBLED, ScriptedLM
from tastemaker.models.llm.grounded import GAMMAS, Grounded
from tastemaker.pipeline import Pipeline, Stage
from tastemaker.recommender import Aids
from tastemaker.testing import HashEncoder, tiny_shop
from tastemaker.text import parse

SHOP = tiny_shop()
QUERY = Queries.from_lists([[1, 2]])


def make(answers, **settings):
    return Grounded(encoder=HashEncoder(), lm=ScriptedLM(answers), **{"gamma": 0.0, **settings}).fit(SHOP)


def test_a_real_title_is_found_and_an_invented_one_is_grounded_and_counted():
    model = make(["shampoo number 9", '- "Shampoo number 9"', "shampoo number 9 moon"])
    for _ in range(3):
        ranking = model.rank(QUERY, 3)
        assert ranking.items[0, 0] == 9
    assert model.report()["counts"] == {"answered": 3, "no real product": 1}
    assert model.report()["share_without_real_product"] == pytest.approx(1 / 3)


def test_a_title_that_the_encoder_cannot_read_is_no_answer():
    model = Grounded(encoder=TfidfEncoder(), lm=ScriptedLM(["qqqq zzzz", "Shampoo number 9"]), gamma=0.0).fit(SHOP)
    assert (model.rank(QUERY, 3).items == -1).all()
    assert (model.rank(QUERY, 3).items >= 0).all()
    counts = model.report()["counts"]
    assert (counts["answered"], counts["failed: no word that the encoder knows"]) == (1, 1)


def test_what_the_encoder_cannot_read_is_no_answer_without_a_real_product_either():
    answers = ["qqqq zzzz", "shampoo number 99", "Shampoo number 9"]
    model = Grounded(encoder=TfidfEncoder(), lm=ScriptedLM(answers), gamma=0.0).fit(SHOP)
    model.rank(Queries.from_lists([[1, 2]] * 3), 3)
    assert model.report()["share_without_real_product"] == 0.5


def test_a_history_beyond_the_context_loses_its_older_part_and_is_counted():
    lm = LocalLM(tiny_models.causal(context=160))
    model = Grounded(encoder=HashEncoder(), lm=lm, gamma=0.0, answer_tokens=8).fit(SHOP)
    model.score(Queries.from_lists([list(range(20)), [3]]))
    counts = model.report()["counts"]
    assert counts["shortened to the context"] == 1
    assert not any("Error" in name for name in counts)


@pytest.mark.parametrize("weighting", ["none", "popularity", "collaborative"])
def test_scores_are_those_of_the_papers_formula(weighting):
    """Oracle: BIGRec's equations, product by product."""
    model = make(["brush of soap"], weighting=weighting, gamma=0.7)
    scores = model.score(QUERY)[0]
    written = unit_rows(HashEncoder().encode(["brush of soap"], kind="document"))[0]
    known = [item for item in range(SHOP.n_items) if model._vectors[item].any()]
    distances = {item: float(np.linalg.norm(model._vectors[item] - written)) for item in known}
    weights = dict.fromkeys(range(SHOP.n_items), 0.0)
    if weighting == "popularity":
        weights = dict(enumerate(SHOP.popularity.tolist()))
    elif weighting == "collaborative":
        table = model._table.toarray()
        weights = {item: 0.6 * table[1, item] + table[2, item] for item in range(SHOP.n_items)}
    low, high = min(distances.values()), max(distances.values())
    least, most = min(weights.values()), max(weights.values()) if weighting != "none" else 1.0
    for item in range(SHOP.n_items):
        if item not in distances:
            assert np.isneginf(scores[item])
            continue
        scaled = (distances[item] - low) / (high - low)
        weight = (weights[item] - least) / (most - least)
        assert scores[item] == pytest.approx(-scaled / (1 + weight) ** 0.7, abs=1e-5)


@pytest.mark.parametrize("answer", GARBLED)
def test_garbled_answers_invent_nothing(answer):
    model = make([answer])
    ranking = model.rank(QUERY, 5)
    counts = model.report()["counts"]
    listed = ranking.items[0]
    assert ((listed >= -1) & (listed < SHOP.n_items)).all()
    assert (listed == -1).all() == ("failed: unreadable" in counts)
    assert counts.get("answered", 0) + counts.get("failed: unreadable", 0) == 1


def test_failures_are_counted_one_by_one_and_the_fallback_answers():
    lm = ScriptedLM([LanguageModelError("down"), LanguageModelError("down"), "soap number 4"])
    model = Grounded(encoder=HashEncoder(), lm=lm, gamma=0.0).fit(SHOP)
    ranking = model.rank(Queries.from_lists([[1], [2]]), 2)
    assert ranking.lengths.tolist() == [0, 2]
    assert model.report()["counts"]["failed: LanguageModelError"] == 1
    down = ScriptedLM([LanguageModelError("down")] * 3)
    from tastemaker.models.collaborative.popular import Popular

    pipeline = Pipeline([Stage(Grounded(encoder=HashEncoder(), lm=down, gamma=0.0))], fallback=Popular()).fit(SHOP)
    assert pipeline.rank(QUERY, 4).lengths.tolist() == [4]


def test_candidates_are_ranked_by_the_same_distance():
    model = make(["soap number 4"])
    offered = Ranking(np.array([[9, 8, 4]], np.int32), np.array([[3, 2, 1]], np.float32))
    assert model.rank(QUERY, 3, candidates=offered).items[0, 0] == 4


def test_gamma_is_chosen_where_popularity_helps():
    """The model writes the kind only; the popular one of the kind is bought."""
    popular = int(np.argmax(SHOP.popularity[4::4])) * 4 + 4
    size = 40
    questions = Holdout(Queries.from_lists([[1]] * size), Queries.from_lists([[popular]] * size))
    model = make(lambda prompt: "soap number", gamma="auto", calibration=size)
    model.calibrate(questions, candidates=None)
    assert model.report()["gamma"] > 0
    assert len(model.report()["chosen_on_validation"]) == len(GAMMAS)
    assert len(model.lm.asked) == size, "each question is asked once"
    again = Grounded(encoder=HashEncoder(), lm=ScriptedLM(), gamma="auto", calibration=size)
    again.attach(SHOP.items, model.arrays())
    assert again.report()["gamma"] == model.report()["gamma"]


def test_a_fit_from_scratch_forgets_what_was_chosen():
    split = leave_one_out(tiny_shop(users=200))
    lm = ScriptedLM(lambda prompt: "soap")
    model = Grounded(encoder=HashEncoder(), lm=lm, weighting="popularity", calibration=50).fit(split.train)
    model.calibrate(split.validation.sample(50), candidates=None)
    chosen = model.report()["gamma"]
    assert chosen > 0
    model.fit(split.refit, aids=Aids(keep_choices=True))
    assert model.report()["gamma"] == chosen
    model.fit(split.train)
    assert (model.report()["gamma"], model.report()["chosen_on_validation"]) == (0.0, [])


def test_wrong_use_is_named():
    with pytest.raises(ConfigError, match=r"grounded: no \[lm\] is set"):
        Grounded(encoder=HashEncoder()).fit(SHOP).rank(QUERY, 2)
    with pytest.raises(ConfigError, match=r"grounded.gamma: -1.0: must be at least 0"):
        Grounded(gamma=-1.0)
    few = leave_one_out(SHOP).validation.sample(3)
    with pytest.raises(DataError, match="3 validation questions are too few"):
        make([], gamma="auto").calibrate(few, candidates=None)
    with pytest.raises(LanguageModelError, match=r"no validation question was answered: failed: unreadable \(30\)"):
        make(lambda prompt: "", gamma="auto").calibrate(leave_one_out(SHOP).validation.sample(30), candidates=None)


def test_a_server_that_is_down_is_soon_left_alone_and_what_it_said_is_told():
    asked = []

    def down(prompt):
        asked.append(prompt)
        raise LanguageModelError("http://127.0.0.1:1/v1: no answer: ConnectError")

    told = r"grounded: .*: failed: LanguageModelError \(5\); the last failure: http://127.0.0.1:1/v1: no answer: Con"
    with pytest.raises(LanguageModelError, match=told):
        make(down, gamma="auto").calibrate(leave_one_out(SHOP).validation.sample(30), candidates=None)
    assert len(asked) <= 6


def test_titles_are_read_from_anything():
    assert parse.title('\n 1. "Red Shoe"\nBlue', max_length=80) == "Red Shoe"
    assert parse.title("I'm sorry, but I cannot", max_length=80) == ""
    assert len(parse.title("word " * 4000, max_length=80)) <= 80
    assert parse.title("7 12", max_length=80) == ""
