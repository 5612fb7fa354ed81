"""What members say put together: against a slow version, what weights and trees learn, the road through files."""

from __future__ import annotations

import sys

import numpy as np
import polars as pl
import pytest

from tastemaker import evaluate, registry, saved
from tastemaker.data import Dataset, Queries
from tastemaker.data.splits import SPLITS, leave_one_out
from tastemaker.errors import ConfigError, DataError, MissingExtra
from tastemaker.explain import Explainer
from tastemaker.metrics import per_query
from tastemaker.models.ensemble.blend import Blend
from tastemaker.models.parts.ensemble import blending, boosting
from tastemaker.models.parts.ensemble.blending import FORMS, Opinions, _comparable
from tastemaker.pipeline import Pipeline, Stage
from tastemaker.recommender import Aids
from tastemaker.saved import SavedModel
from tastemaker.testing import tiny_shop

SETTINGS = {
    "stage": [
        {
            "model": "blend",
            "pool": 15,
            "member": [{"model": "transitions", "recency": 0.5}, {"model": "random"}, {"model": "popular"}],
        }
    ]
}


def model(name, **settings):
    return registry.model_class(name)(**settings)


def fitted(split, *members):
    blend = Blend(members=[model(name) for name in members], pool=10, calibration=200)
    evaluate.fit(Pipeline([Stage(blend)]), split)
    return blend


def test_the_union_holds_what_every_member_says():
    data = tiny_shop(users=50)
    members = [model(name).fit(data) for name in ("transitions", "item_knn", "popular")]
    rankings = [member.rank(data.queries(), 8) for member in members]
    said = [_comparable(ranking) for ranking in rankings]
    opinions = Opinions.of(rankings)
    for form in FORMS:
        for row in range(data.n_users):
            expected = {}
            for number, (ranking, one) in enumerate(zip(rankings, said, strict=True)):
                for item, value in zip(ranking.items[row], one[form][row], strict=True):
                    if item >= 0:
                        expected.setdefault(int(item), np.zeros(3))[number] += value
            items = opinions.items[row]
            assert items[items >= 0].tolist() == sorted(expected)
            assert (np.diff((items < 0).astype(int)) >= 0).all()  # what is no item stands at the end
            for item, given in zip(items, opinions.forms[form][row], strict=True):
                np.testing.assert_allclose(given, expected.get(int(item), np.zeros(3)), atol=1e-7)


def test_every_form_sums_to_one_where_there_is_an_opinion():
    data = tiny_shop(users=50)
    ranking = model("transitions").fit(data).rank(data.queries(), 8)
    listed = (ranking.items >= 0).any(axis=1)
    assert listed.any() and not listed.all()
    for values in _comparable(ranking).values():
        np.testing.assert_allclose(values.sum(axis=1), listed, atol=1e-5)
        assert (np.diff(values, axis=1) <= 1e-7).all()


def test_what_does_not_help_gets_no_weight():
    split = leave_one_out(tiny_shop(users=400, seed=5))
    blend = fitted(split, "popular", "random")
    report = blend.report()
    assert report["members"][0]["weight"] == pytest.approx(1.0, abs=0.1)
    values = report["ndcg@10_on_validation"]
    assert values["weights"] >= max(values["0: popular"], values["1: random"])


@pytest.mark.parametrize("combine", ["weights", "trees"])
def test_saved_and_loaded_it_gives_the_same_lists(tmp_path, combine):
    data = fickle_shop() if combine == "trees" else tiny_shop(users=120)
    split = leave_one_out(data)
    pipeline = registry.build({"stage": [{**SETTINGS["stage"][0], "combine": combine}]})
    evaluate.fit(pipeline, split)
    assert ("trees" in pipeline.stages[0].recommender.report()["combined_by"]) == (combine == "trees")
    assert registry.settings_of(pipeline)["stage"][0]["member"][0]["recency"] == 0.5
    saved.save(tmp_path / "model", SavedModel(pipeline, data.users, split.refit.queries()))
    again = saved.load(tmp_path / "model").pipeline
    one, other = (part.rank(split.test.queries, 10) for part in (pipeline, again))
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_array_equal(one.scores, other.scores)
    assert again.stages[0].recommender.report() == pipeline.stages[0].recommender.report()


def fickle_shop(users=600, seed=3):
    """A shop where a bought product leads to its successor if its number is even, and to the bestseller if not."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        item, bought = int(rng.integers(1, 60)), []
        while len(bought) < 6:
            bought.append(item)
            follower = (item + 2) % 60 if item % 2 == 0 else 0
            item = follower if follower not in bought and rng.random() < 0.8 else int(rng.integers(60))
            while item in bought:
                item = int(rng.integers(60))
        rows += [(f"u{user}", f"p{one:02}") for one in bought]
    return Dataset.from_frames(pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row"))


def test_trees_are_kept_only_where_they_beat_the_weights():
    split = leave_one_out(fickle_shop())
    found = {}
    for combine in ("weights", "trees"):
        members = [model(name) for name in ("transitions", "popular", "item_knn")]
        blend = Blend(members=members, pool=20, combine=combine)
        evaluate.fit(Pipeline([Stage(blend)]), split)
        found[combine] = blend
    values = found["trees"].report()["ndcg@10_on_validation"]
    assert values["trees, where a target is named"] > values["weights, where a target is named"]
    assert found["trees"].report()["trees_look_at"]
    measured = {
        combine: float(per_query(blend.rank(split.test.queries, 10), split.test.targets, (10,))["ndcg@10"].mean())
        for combine, blend in found.items()
    }
    assert measured["trees"] > measured["weights"]


def fitted_trees(split, *members):
    blend = Blend(members=[model(name) for name in members], pool=10, combine="trees")
    evaluate.fit(Pipeline([Stage(blend)]), split)
    return blend


def test_one_question_is_answered_as_many_at_once():
    split = leave_one_out(fickle_shop())
    blend = fitted_trees(split, "transitions", "popular", "item_knn")
    queries = split.test.queries.take(slice(0, 30))
    together = blend.rank(queries, 10)
    for row in range(30):
        alone = blend.rank(queries.take(slice(row, row + 1)), 10)
        np.testing.assert_array_equal(alone.items[0], together.items[row])
        np.testing.assert_array_equal(alone.scores[0], together.scores[row])


def test_facts_of_items_and_histories_by_hand():
    histories = Queries.from_lists([[0, 1], [1], [1, 0, 2]])
    facts = boosting.Facts.of(histories, 4)
    count, newest, place, age, length = facts.items[1]
    assert count == pytest.approx(np.log1p(3))
    assert newest == pytest.approx(2 / 3)  # of [0, 1] and of [1]
    assert place == pytest.approx((1 + 0 + 0) / 3)
    assert age == pytest.approx(np.log1p((0 + 0 + 2) / 3))
    assert length == pytest.approx(np.log1p((2 + 1 + 3) / 3))
    assert not facts.items[3].any()
    asked = facts.of_queries(Queries.from_lists([[], [2, 1]]))
    assert not asked[0].any()
    counts = np.log1p([2, 3, 1])
    expected = [counts[1], (counts[2] + counts[1]) / 2, 1 / 3]
    np.testing.assert_allclose(asked[1], expected, rtol=1e-6)


def test_what_trees_do_not_look_at_stands_below_in_the_old_order(monkeypatch):
    split = leave_one_out(fickle_shop())
    blend = fitted_trees(split, "transitions", "popular", "item_knn")
    monkeypatch.setattr(boosting, "DEPTH", 3)
    queries = split.test.queries.take(slice(0, 40))
    ranking = blend.rank(queries, 20)
    blend._trees = None
    plain = blend.rank(queries, 20)
    for row in range(40):
        assert set(ranking.items[row][:3]) == set(plain.items[row][:3])
        assert ranking.items[row][3:].tolist() == plain.items[row][3:].tolist()


def test_a_member_that_only_trees_hear_has_a_share_in_a_wish(monkeypatch):
    blend = fitted_trees(leave_one_out(fickle_shop()), "transitions", "popular", "item_knn")
    assert blend.wish_share() == 0
    monkeypatch.setattr(blend.members[2], "heeds_wish", lambda: True)
    blend._weights = np.array([0.6, 0.4, 0.0])
    gains = blend._trees.feature_importance("gain")
    shares = {"weighted sum": 0.0, "members that name it": 1 / 3, "best rank": 1 / 3}
    expected = sum(
        gain * shares.get(name, float("item_knn" in name))
        for name, gain in zip(boosting.names(blend._member_names(), facts=False), gains / gains.sum(), strict=True)
    )
    assert blend.heeds_wish() and blend.wish_share() == pytest.approx(expected) and expected > 0


def test_reasons_come_from_the_members_with_a_weight():
    split = leave_one_out(fickle_shop())
    blend = fitted_trees(split, "popular", "transitions", "item_knn")
    weights = {member.name: weight for member, weight in zip(blend.members, blend._weights, strict=True)}
    assert [voice.name for voice in blend.voices] == [
        name for name, weight in sorted(weights.items(), key=lambda one: -one[1]) if weight
    ]
    explainer = Explainer(blend)
    history = split.test.queries.take(slice(0, 1)).items
    item = int(blend.rank(split.test.queries.take(slice(0, 1)), 1).items[0, 0])
    evidence = explainer.evidence(history, item)
    assert evidence[0].kind == "history"
    assert evidence[0].source in {"transitions", "item_knn"}


def test_equal_scores_favour_nobody():
    items, scores = np.array([[0, 1, 2, -1]], dtype=np.int32), np.array([[0.5, 0.5, 0.5, -np.inf]], dtype=np.float32)
    found = [blending.ndcg(scores, items, np.array([target], dtype=np.int32)) for target in (0, 1, 2)]
    assert found == pytest.approx(1 / np.log2([2, 3, 4]))


@pytest.mark.parametrize("combine", ["weights", "trees"])
def test_the_length_of_the_list_does_not_change_its_head(combine):
    split = leave_one_out(fickle_shop())
    blend = Blend(members=[model(name) for name in ("transitions", "popular", "item_knn")], pool=15, combine=combine)
    evaluate.fit(Pipeline([Stage(blend)]), split)
    queries = split.test.queries.take(slice(0, 50))
    np.testing.assert_array_equal(blend.rank(queries, 5).items, blend.rank(queries, 30).items[:, :5])


def test_counts_give_held_out_products_away_so_trees_do_not_see_them_unasked():
    """In an item-cold split every target has a count of 0; what else trees learn here, such as short histories that
    many shoppers share, they learn with and without counts."""
    split = SPLITS["item-cold"](tiny_shop(users=500, seed=2), seed=0)
    gained = {}
    for facts in (False, True):
        blend = Blend(members=[model("text_knn"), model("random")], pool=40, combine="trees", item_facts=facts)
        evaluate.fit(Pipeline([Stage(blend)]), split)
        report = blend.report()
        values = report["ndcg@10_on_validation"]
        gained[facts] = values["trees, where a target is named"] - values["weights, where a target is named"]
        assert bool(set(report["trees_look_at"]) & set(boosting.ITEM_FACTS)) == facts
    assert gained[True] > gained[False] + 0.05, gained


def test_a_blend_can_what_its_members_can():
    plain = Blend(members=[model("transitions"), model("item_knn")])
    reading = Blend(members=[model("transitions"), model("text_knn")])
    assert not plain.heeds_wish() and reading.heeds_wish()
    assert (plain.wish_share(), reading.wish_share()) == (0.0, 0.5)
    reading._weights = np.array([0.9, 0.1])
    assert reading.heeds_wish()
    assert reading.wish_share() == pytest.approx(0.1)
    reading._weights = np.array([1.0, 0.0])
    assert not reading.heeds_wish(), "a member without a weight has no say"
    assert (reading.wish_share(), Pipeline([Stage(reading), Stage(model("text_knn"))]).wish_share()) == (0.0, 1.0)
    assert not plain.ranks_cold_items and reading.ranks_cold_items
    assert not plain.answers_empty_history
    assert Blend(members=[model("popular"), model("item_knn")]).answers_empty_history


def test_without_lightgbm_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(MissingExtra, match=r"tastemaker\[ranking\]"):
        Blend(members=[model("popular"), model("random")], combine="trees")


def test_a_new_fit_forgets_old_weights_and_a_refit_keeps_them():
    split = leave_one_out(tiny_shop(users=400, seed=5))
    blend = fitted(split, "popular", "random")
    chosen = [one["weight"] for one in blend.report()["members"]]
    assert chosen != [0.5, 0.5]
    blend.fit(split.refit, aids=Aids(keep_choices=True))
    assert [one["weight"] for one in blend.report()["members"]] == chosen
    blend.fit(split.train)
    assert [one["weight"] for one in blend.report()["members"]] == [0.5, 0.5]


def test_it_can_rank_given_candidates():
    data = tiny_shop(users=60)
    blend = fitted(leave_one_out(data), "popular", "item_knn")
    queries = data.queries().take(slice(0, 20))
    candidates = model("random").fit(data).rank(queries, 6)
    ranking = blend.rank(queries, 6, candidates=candidates)
    for row in range(20):
        assert set(ranking.items[row][ranking.items[row] >= 0]) <= set(candidates.items[row].tolist())


def test_mistakes_are_said():
    with pytest.raises(ConfigError, match="at least two members"):
        registry.build({"stage": [{"model": "blend", "member": [{"model": "popular"}]}]})
    with pytest.raises(ConfigError, match=r"needs \[\[stage.member\]\] tables"):
        registry.build({"stage": [{"model": "blend"}]})
    with pytest.raises(ConfigError, match=r"stage\[0\].member\[1\].*unknown model 'popularr'"):
        registry.build({"stage": [{"model": "blend", "member": [{"model": "popular"}, {"model": "popularr"}]}]})
    with pytest.raises(ConfigError, match="listwise only re-ranks candidates"):
        Blend(members=[model("popular"), model("listwise")])
    with pytest.raises(ConfigError, match="a blend is no member of another"):
        Blend(members=[model("popular"), Blend(members=[model("popular"), model("random")])])
    split = leave_one_out(tiny_shop(users=12))
    with pytest.raises(DataError, match="too few to choose weights"):
        fitted(split, "popular", "item_knn")


def test_trees_are_tried_on_questions_that_they_were_not_grown_on():
    """Numbers that say nothing of the target: trees know those that they were grown on, and nothing of the others."""
    rng = np.random.default_rng(0)
    sizes, width = np.full(200, 20), 40
    numbers = rng.normal(size=(sizes.sum(), width)).astype(np.float32)
    target = np.zeros((200, 20), dtype=bool)
    target[np.arange(200), rng.integers(20, size=200)] = True
    lists = boosting.Lists(numbers, target.ravel(), sizes)
    rounds, said = boosting.tried(lists, seed=0)
    grown = boosting.grow(lists, rounds=100, seed=0)
    by_chance = (1 / np.log2(np.arange(10) + 2)).sum() / 20
    assert boosting.ndcg(lists, grown.predict(numbers)) > 2 * by_chance
    assert boosting.ndcg(lists, said) == pytest.approx(by_chance, abs=0.05)
    assert 1 <= rounds <= boosting.ROUNDS


def test_folds_hold_each_question_once_and_whole():
    sizes = np.array([3, 1, 4, 2, 5, 3, 2, 6])
    lists = boosting.Lists(np.zeros((sizes.sum(), 1), dtype=np.float32), np.zeros(sizes.sum(), dtype=bool), sizes)
    question = np.repeat(np.arange(len(sizes)), sizes)
    folds = lists.folds(seed=3)
    assert sorted(np.concatenate([own for _, own in folds])) == list(range(sizes.sum()))
    for others, own in folds:
        assert not set(question[others]) & set(question[own])
        assert len(others) + len(own) == sizes.sum()
