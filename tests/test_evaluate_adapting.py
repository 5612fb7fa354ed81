"""A saved model measured in another shop, and what it may not have seen."""

from __future__ import annotations

import pytest

from tastemaker import evaluate, registry
from tastemaker.data.split import leave_one_out
from tastemaker.data.variants import of_shoppers
from tastemaker.errors import ConfigError, DataError, LeakError
from tastemaker.evaluate import Adaptation, Options, Variant
from tastemaker.testing import tiny_shop


def fitted(model="text_knn", seed=1):
    elsewhere = leave_one_out(tiny_shop(seed=seed))
    pipeline = registry.build({"stage": [{"model": model}]})
    evaluate.fit(pipeline, elsewhere)
    return pipeline, {"data_fingerprint": "elsewhere", "protocol": elsewhere.protocol}


def test_a_share_of_the_shoppers_is_all_that_is_learnt_from():
    split = leave_one_out(tiny_shop(users=100))
    part = of_shoppers(split, 0.1, seed=3)
    known = set(part.train.log["user"].to_list())
    assert len(known) == 10
    assert set(part.validation.who().tolist()) <= known
    assert len(part.test) == len(split.test)
    assert part.protocol["learnt_from_shoppers"] == 10
    assert set(of_shoppers(split, 0.1, seed=4).train.log["user"].to_list()) != known


@pytest.mark.parametrize(("share", "cure"), [(0.0, "above 0"), (1.5, "at most 1"), (0.0001, "larger share")])
def test_a_share_that_leaves_nobody_is_refused(share, cure):
    with pytest.raises(DataError, match=cure):
        of_shoppers(leave_one_out(tiny_shop(users=50)), share)


def test_zero_shot_measures_what_was_learnt_elsewhere():
    pipeline, facts = fitted()
    split = leave_one_out(tiny_shop(seed=2))
    (found,) = evaluate.evaluate_variants(
        pipeline, split, [Variant()], options=Options(ks=(5,)), adapt=Adaptation(facts)
    )
    assert found.protocol["tuned_on_share"] == 0
    assert found.protocol["fitted_on"] == "other data, and saved"
    assert pipeline.items.digest == split.train.items.digest
    assert list(found.cost["fit_steps"]) == ["transfer and tuning"]


def test_what_cannot_be_tuned_is_fitted_anew_and_named():
    pipeline, facts = fitted()
    split = leave_one_out(tiny_shop(seed=2))
    said = Adaptation(facts, 0.5).apply(pipeline, split)
    assert set(said["fitted_anew"]) == {"text_knn", "popular"}
    assert pipeline.fallback is not None  # it rested for the transfer
    assert said["tuned_on_interactions"] < len(split.train)


def test_the_same_data_under_another_split_are_a_leak():
    pipeline, facts = fitted()
    split = leave_one_out(tiny_shop(seed=1)).with_facts(data_fingerprint="elsewhere")
    with pytest.raises(LeakError, match="fitted on these very data"):
        Adaptation({**facts, "protocol": {"split": "none"}}).apply(pipeline, split)
    assert Adaptation(facts).apply(pipeline, split)["fitted_on"] == "train, and saved"


def test_a_saved_model_is_not_refitted():
    pipeline, facts = fitted()
    split = leave_one_out(tiny_shop(seed=2))
    with pytest.raises(ConfigError, match="a saved model is measured as it is"):
        next(evaluate.evaluate_variants(pipeline, split, [Variant(refit=True)], adapt=Adaptation(facts)))
