"""A student that answers as its teachers would, without them."""

from __future__ import annotations

import numpy as np
import pytest

from tastemaker import registry, saved
from tastemaker.data import Queries, Ranking
from tastemaker.data.splits import leave_one_out
from tastemaker.errors import ConfigError, DataError
from tastemaker.lm.scripted import ScriptedChoiceLM
from tastemaker.models.collaborative.popular import Popular
from tastemaker.models.ensemble import distilled
from tastemaker.models.ensemble.distilled import Distilled
from tastemaker.models.llm.pointwise import Pointwise
from tastemaker.models.parts.ensemble.candidate_facts import NAMES, CandidateFacts
from tastemaker.progress import silent
from tastemaker.testing import HashEncoder, tiny_shop


def kind_of(text):
    return next(kind for kind in ("soap", "shampoo", "brush", "perfume", "") if kind in text)


def same_kind(prompt, answer):
    """A teacher that wants what the newest product is."""
    shown, _, asked = prompt.user.partition("Will the shopper buy")
    newest = [line for line in shown.splitlines() if line[:1].isdigit()][-1]
    return float(kind_of(newest) == kind_of(asked)) if answer == "Yes" else 0.0


def candidates_of(rng, size, m=12):
    items = np.stack([rng.permutation(np.arange(2, 37))[:m] for _ in range(size)]).astype(np.int32)
    return Ranking(items, -np.tile(np.arange(m, dtype=np.float32), (size, 1)))


@pytest.fixture(scope="module")
def shop():
    return tiny_shop(users=250)


@pytest.fixture(scope="module")
def model(shop):
    teacher = Pointwise(lm=ScriptedChoiceLM(same_kind), profile="none")
    return Distilled(members=[teacher], encoder=HashEncoder(), weight=1.0).fit(shop)


def test_the_student_agrees_with_its_teacher_on_new_shoppers(model, shop):
    rng = np.random.default_rng(5)
    queries = Queries.from_lists([rng.integers(2, 37, 4) for _ in range(60)])
    offered = candidates_of(rng, 60)
    own = model.own_order(queries, offered)
    titles = shop.items.frame["title"].to_list()
    hits, chance = [], []
    for row, history in enumerate(queries):
        liked = [kind_of(titles[item]) == kind_of(titles[history[-1]]) for item in own.items[row, :12]]
        hits.append(np.mean(liked[: max(1, sum(liked))]))
        chance.append(np.mean(liked))
    assert np.mean(hits) > np.mean(chance) + 0.4


def test_the_report_says_how_well_and_of_whom(model):
    told = model.report()["distilled"]
    assert told["kendall_tau"] > 0.5
    assert told["lists_checked"] > 10
    assert told["teachers"][0]["model"] == "pointwise"
    assert told["teachers"][0]["language_model"]["name"] == "scripted-choice"


def test_it_answers_without_its_teacher(model, shop, tmp_path):
    alone = Distilled(encoder=HashEncoder(), weight=1.0).attach(shop.items, model.arrays())
    rng = np.random.default_rng(1)
    queries, offered = shop.queries(), candidates_of(rng, shop.n_users)
    one, other = (each.rank(queries, 5, candidates=offered) for each in (model, alone))
    assert one.items.tobytes() == other.items.tobytes()
    assert one.scores.tobytes() == other.scores.tobytes()
    with pytest.raises(ConfigError, match="nobody to learn from"):
        alone.fit(shop)


def test_a_saved_pipeline_has_no_teacher(shop, tmp_path):
    stages = [
        {"model": "transitions", "keep": 10},
        {"model": "distilled", "weight": 1.0, "member": [{"model": "item_knn"}]},
    ]
    pipeline = registry.build({"stage": stages, "encoder": {"model": "tfidf"}})
    assert registry.settings_of(pipeline)["stage"][1]["member"][0]["model"] == "item_knn"
    pipeline.fit(shop)
    saved.save(tmp_path / "m", saved.SavedModel(pipeline, shop.users, shop.queries()))
    loaded = saved.load(tmp_path / "m").pipeline
    assert "member" not in registry.settings_of(loaded)["stage"][1]
    assert loaded.rank(shop.queries(), 5).items.tobytes() == pipeline.rank(shop.queries(), 5).items.tobytes()


def test_the_weight_is_chosen_on_validation(shop):
    split = leave_one_out(shop)
    stages = [{"model": "popular", "keep": 20}, {"model": "distilled", "member": [{"model": "transitions"}]}]
    pipeline = registry.build({"stage": stages, "encoder": {"model": "tfidf"}}).fit(split.train)
    pipeline.calibrate(split.validation)
    assert len(pipeline.stages[1].recommender.report()["chosen_on_validation"]) == 11


def test_two_teachers_are_one_opinion(shop):
    members = [registry.model_class(name)() for name in ("transitions", "item_knn")]
    told = Distilled(members=members, encoder=HashEncoder()).fit(shop).report()["distilled"]
    assert [one["model"] for one in told["teachers"]] == ["transitions", "item_knn"]


class Mute(Popular):
    """Ranks nothing."""

    def rank(self, queries, k, *, candidates=None, seen=False):
        shape = (len(queries), k)
        return Ranking(np.full(shape, -1, dtype=np.int32), np.full(shape, -np.inf, dtype=np.float32))

    def report(self):
        return {"counts": {"unreadable": 7}}


def test_teachers_that_say_nothing_are_named(shop):
    message = r"distilled: no teacher had an opinion on any of the \d+ lists .*popular: 0 of \d+, {'unreadable': 7}"
    with pytest.raises(DataError, match=message):
        Distilled(members=[Mute()], encoder=HashEncoder()).fit(shop)


def test_a_draw_that_leaves_nothing_to_learn_from_is_told(shop, monkeypatch):
    monkeypatch.setattr(distilled, "CHECKED", 1.0)
    with pytest.raises(DataError, match="any of the 0 lists to learn from"):
        Distilled(members=[Popular()], encoder=HashEncoder()).fit(shop)


def test_facts_by_hand(shop):
    facts = CandidateFacts.of(shop, HashEncoder(), progress=silent)
    history, offered = [5, 9], Ranking(np.array([[9, 13, 6, -1]], np.int32), np.array([[3, 2, 1, -np.inf]], np.float32))
    [found] = facts.describe(Queries.from_lists([history]), offered)
    named = {name: found[:, column] for column, name in enumerate(NAMES)}
    assert named["rank discount"][:3].tolist() == pytest.approx([1, 1 / np.log2(3), 0.5])
    assert named["log popularity"][:3].tolist() == pytest.approx(np.log1p(shop.popularity[[9, 13, 6]]).tolist())
    after = sum(
        0.85 ** (two - one - 1)
        for items in shop.queries()
        for one in range(len(items))
        for two in range(one + 1, min(len(items), one + 11))
        if (items[one], items[two]) == (9, 13)
    )
    assert named["log bought after the newest"][1] == pytest.approx(np.log1p(after), rel=1e-5)
    assert named["text near the newest"][0] == pytest.approx(1, abs=1e-5)
    assert named["category shared"][:3].tolist() == pytest.approx([1, 1, 0])  # items 5, 9 and 13 are shampoos
    assert named["brand shared"][:3].tolist() == pytest.approx([1 / 1.6, 0, 1 / 1.6])  # of 9 alone
    assert (found[3] == 0).all()
