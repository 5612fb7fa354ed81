"""Rankers whose language model is tuned on the training data, with a tiny random model."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from tastemaker import evaluate, guards, registry, saved
from tastemaker.data import Queries, Ranking
from tastemaker.data.splits import leave_one_out
from tastemaker.errors import ArtifactError, ConfigError, LeakError
from tastemaker.lm.build import innermost
from tastemaker.lm.cache import CachedLM
from tastemaker.lm.local import LocalLM
from tastemaker.models.llm.listwise import Listwise
from tastemaker.models.llm.pointwise import Pointwise
from tastemaker.recommender import Aids
from tastemaker.testing import checkerboard, tiny_shop
from tastemaker.text.instructions.catalogue import Catalogue

TUNING = {"share": 1.0, "epochs": 1, "batch_size": 8, "round_steps": 2, "rank": 2, "swap": 0.0, "warmup": 0}
SMALL = {"history": 3, "candidates": 4, "profile": "none", "weight": 1.0}


@pytest.fixture(scope="module")
def long_folder(make_model):
    """A tiny Llama with room for questions."""
    return make_model(chat=None, rope_theta=1e4)


@pytest.fixture
def lm(long_folder, monkeypatch):
    local = LocalLM(str(long_folder))
    local.context = 4096
    return local


def candidates_of(numbers, size=1):
    items = np.tile(np.array(numbers, np.int32), (size, 1))
    return Ranking(items, -np.tile(np.arange(len(numbers), dtype=np.float32), (size, 1)))


def settings_of(folder, model, **settings):
    return {
        "lm": {"model": str(folder), "cache": False},
        "stage": [{"model": "transitions", "keep": 4}, {"model": model, **SMALL, **settings}],
    }


@pytest.mark.parametrize("name", ["listwise", "pointwise", "pairwise"])
def test_a_tuned_ranker_is_another_one_and_comes_back_bit_by_bit(lm, name, tmp_path):
    data = tiny_shop(users=20)
    kind = registry.model_class(name)
    plain = kind(lm=lm, **SMALL).fit(data)
    model = kind(lm=lm, tuning=TUNING, **SMALL).fit(data)
    assert model.lm is not lm
    assert lm.adapter is None
    assert model.lm.adapter is not None
    offered = candidates_of([9, 10, 11, 12])
    own, before = (one.own_order(Queries.from_lists([[1, 2]]), offered) for one in (model, plain))
    assert not np.array_equal(own.scores, before.scores)
    report = model.report()["tuning"]
    assert set(report["pairs"]) == set(model.tasks)
    assert report["learning_curve"][0]["loss"] > 0
    again = kind(lm=lm, tuning=TUNING, **SMALL).attach(data.items, copy.deepcopy(model.arrays()))
    after = again.own_order(Queries.from_lists([[1, 2]]), offered)
    assert after.scores.tobytes() == own.scores.tobytes()
    assert again.lm.fingerprint == model.lm.fingerprint
    assert again.report()["tuning"]["pairs"] == report["pairs"]


def test_fitting_again_begins_with_the_model_as_it_was_loaded(long_folder):
    data = tiny_shop(users=20)
    model = Pointwise(lm=_roomy(long_folder), tuning=TUNING, **SMALL)
    digests = [model.fit(data, seed=seed).lm.adapter.digest for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]
    model.fit(data)
    model.tune(data)
    assert model.lm.adapter.digest not in digests


def test_it_learns_the_taste(lm):
    """The checkerboard's taste is in the words: tuned, the model prefers products like those of the history."""
    data = checkerboard(24)
    tuning = {**TUNING, "method": "full", "epochs": 2, "cuts": 6, "negatives": "random", "learning_rate": 3e-3}
    model = Pointwise(lm=lm, tuning={**tuning, "patience": 0}, **SMALL).fit(data)
    rng = np.random.default_rng(1)
    right = 0
    for user in range(data.n_users):
        taste, other = (rng.permutation(np.arange(start, 24, 2))[:2] for start in (user % 2, 1 - user % 2))
        history = np.setdiff1d(np.arange(user % 2, 24, 2), taste)[-3:]
        own = model.own_order(Queries.from_lists([history]), candidates_of([*other, *taste]))
        right += set(own.items[0, :2].tolist()) == set(taste.tolist())
    assert right >= 20


def test_wrappers_stand_around_the_tuned_model_too(long_folder, tmp_path):
    settings = settings_of(long_folder, "pointwise", tuning=TUNING)
    settings["lm"] |= {"cache": str(tmp_path / "answers"), "max_calls": 10_000}
    pipeline = registry.build(settings)
    stage = pipeline.stages[1].recommender
    _widen(stage.lm)
    before = stage.lm.fingerprint
    pipeline.fit(tiny_shop(users=20))
    assert isinstance(stage.lm, CachedLM)
    assert stage.lm.fingerprint != before
    assert innermost(stage.lm).adapter is not None
    assert registry.settings_of(pipeline)["lm"]["max_calls"] == 10_000


def test_the_adapter_travels_with_the_saved_model(long_folder, tmp_path):
    data = tiny_shop(users=20)
    pipeline = registry.build(settings_of(long_folder, "listwise", tuning={**TUNING, "tasks": ["recommend_retrieval"]}))
    _widen(pipeline.stages[1].recommender.lm)
    pipeline.fit(data)
    saved.save(tmp_path / "m", saved.SavedModel(pipeline, data.users, data.queries()))
    loaded = saved.load(tmp_path / "m")
    _widen(loaded.pipeline.stages[1].recommender.lm)
    one, other = (each.rank(data.queries(), 4) for each in (pipeline, loaded.pipeline))
    assert one.items.tobytes() == other.items.tobytes()
    assert one.scores.tobytes() == other.scores.tobytes()
    assert sum(file.stat().st_size for file in (tmp_path / "m").iterdir()) < 400_000, "the base model is not stored"


def test_an_adapter_of_another_model_is_refused(lm, make_model):
    data = tiny_shop(users=20)
    arrays = Pointwise(lm=lm, tuning=TUNING, **SMALL).fit(data).arrays()
    other = LocalLM(str(make_model("Qwen2")))
    with pytest.raises(ArtifactError, match="belongs to other weights"):
        Pointwise(lm=other, tuning=TUNING, **SMALL).attach(data.items, arrays)


def test_guards_know_what_it_learnt_from(long_folder):
    split = leave_one_out(tiny_shop(users=30))
    pipeline = registry.build(settings_of(long_folder, "listwise", tuning=TUNING))
    model = pipeline.stages[1].recommender
    _widen(model.lm)
    pipeline.fit(split.train)
    [(users, items)] = model.learnt_from().values()
    bought = {(user, item) for user, history in enumerate(split.train.queries()) for item in history.tolist()}
    assert set(zip(users.tolist(), items.tolist(), strict=True)) <= bought
    guards.check_fitted(pipeline, split)
    leaky = Listwise(lm=_roomy(long_folder), tuning=TUNING, **SMALL).fit(split.refit)
    pipeline.stages[1].recommender._tuner = leaky._tuner
    with pytest.raises(LeakError, match="tuning pairs of listwise"):
        guards.check_fitted(pipeline, split)


def test_a_killed_fit_goes_on(long_folder, tmp_path):
    data = tiny_shop(users=20)
    heard = []

    def stop(name, entry):
        heard.append(name)
        if len(heard) == 2:
            raise KeyboardInterrupt

    aids = Aids(folder=tmp_path, on_epoch=stop)
    with pytest.raises(KeyboardInterrupt):
        Pointwise(lm=_roomy(long_folder), tuning=TUNING, **SMALL).fit(data, aids=aids)
    resumed = Pointwise(lm=_roomy(long_folder), tuning=TUNING, **SMALL).fit(data, aids=Aids(folder=tmp_path))
    whole = Pointwise(lm=_roomy(long_folder), tuning=TUNING, **SMALL).fit(data)
    assert resumed.lm.adapter.digest == whole.lm.adapter.digest
    assert heard == ["pointwise", "pointwise"]


def test_continued_pretraining_on_the_shop(lm):
    """Perplexity of products that were held out falls; what is said of them is in no training text."""
    data = checkerboard(40)
    tuning = {**TUNING, "tasks": ["catalogue"], "method": "full", "learning_rate": 1e-3, "epochs": 6, "held_out": 0.2}
    report = Listwise(lm=lm, tuning=tuning, **SMALL).fit(data).report()["tuning"]
    found = report["perplexity_of_products_held_out"]
    assert found["after"] < 0.5 * found["before"]
    assert report["pairs"] == {}


def test_held_out_products_are_named_nowhere():
    data = checkerboard(40)
    shop = Catalogue.of(data, held_out=0.25, seed=1)
    titles = data.items.frame["title"].to_list()
    secret = [title for title in titles if any(text.startswith(f"{title};") or text == title for text in shop.held_out)]
    assert len(shop.held_out) == len(secret) == 10
    words = "\n".join(f"{text};" for text in shop.texts)
    assert not any(f"{title};" in words for title in secret)
    assert sum(text.startswith("Bought by one shopper") for text in shop.texts) == 40
    assert len(shop.texts) == 30 + 40


def test_evaluate_tells_of_the_tuning(long_folder):
    pipeline = registry.build(settings_of(long_folder, "pointwise", tuning=TUNING))
    _widen(pipeline.stages[1].recommender.lm)
    outcome = evaluate.evaluate(pipeline, leave_one_out(tiny_shop(users=30)), sample=5)
    assert outcome.stages[1]["report"]["tuning"]["pairs"]["yes_no"] > 0


def test_settings_that_do_not_go_together():
    with pytest.raises(ConfigError, match="demonstrations = 0"):
        Listwise(tuning={}, demonstrations=2)
    with pytest.raises(ConfigError, match='profile = "statistics"'):
        Listwise(tuning={}, profile="lm")
    with pytest.raises(ConfigError, match="unknown key"):
        Listwise(tuning={"rnak": 3})


def _widen(lm):
    innermost(lm).context = 4096


def _roomy(folder):
    lm = LocalLM(str(folder))
    lm.context = 4096
    return lm
