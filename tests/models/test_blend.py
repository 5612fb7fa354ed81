"""The weighted sum of members: against a slow version, what the weights learn, and the road through files."""

from __future__ import annotations

import numpy as np
import pytest

from tastemaker import evaluate, registry, saved
from tastemaker.data.split import leave_one_out
from tastemaker.errors import ConfigError, DataError
from tastemaker.models.ensemble.blend import FORMS, Blend, _Said, _union
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


def test_the_union_adds_up_what_all_members_say():
    data = tiny_shop(users=50)
    members = [model(name).fit(data) for name in ("transitions", "item_knn", "popular")]
    said = [_Said.of(member.rank(data.queries(), 8)) for member in members]
    for forms in (["share", "softmax", "rank"], ["rank", "rank", "share"]):
        items, opinions = _union(said, forms)
        for row in range(data.n_users):
            expected = {}
            for number, (one, form) in enumerate(zip(said, forms, strict=True)):
                for item, value in zip(one.items[row], one.forms[form][row], strict=True):
                    if item >= 0:
                        expected.setdefault(int(item), np.zeros(3))[number] += value
            listed = items[row][items[row] >= 0].tolist()
            assert sorted(listed) == sorted(expected)
            for item, given in zip(items[row], opinions[row], strict=True):
                if item >= 0:
                    np.testing.assert_allclose(given, expected[int(item)], atol=1e-7)


def test_every_form_sums_to_one_where_there_is_an_opinion():
    data = tiny_shop(users=50)
    said = _Said.of(model("transitions").fit(data).rank(data.queries(), 8))
    listed = (said.items >= 0).any(axis=1)
    assert listed.any() and not listed.all()
    for form in FORMS:
        np.testing.assert_allclose(said.forms[form].sum(axis=1), listed, atol=1e-5)
        assert (np.diff(said.forms[form], axis=1) <= 1e-7).all()


def test_what_does_not_help_gets_no_weight():
    split = leave_one_out(tiny_shop(users=400, seed=5))
    blend = fitted(split, "popular", "random")
    report = blend.report()
    assert report["members"][0]["weight"] == pytest.approx(1.0, abs=0.1)
    values = report["ndcg@10_on_validation"]
    assert values["blend"] >= max(values["0: popular"], values["1: random"])


def test_saved_and_loaded_it_gives_the_same_lists(tmp_path):
    data = tiny_shop(users=120)
    split = leave_one_out(data)
    pipeline = registry.build(SETTINGS)
    evaluate.fit(pipeline, split)
    assert registry.settings_of(pipeline)["stage"][0]["member"][0]["recency"] == 0.5
    saved.save(tmp_path / "model", SavedModel(pipeline, data.users, split.refit.queries()))
    again = saved.load(tmp_path / "model").pipeline
    one, other = (part.rank(split.test.queries, 10) for part in (pipeline, again))
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_array_equal(one.scores, other.scores)
    assert again.stages[0].recommender.report() == pipeline.stages[0].recommender.report()


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
