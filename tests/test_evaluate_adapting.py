"""A saved model measured in another shop, and what it may not have seen."""

from __future__ import annotations

import pytest

from tastemaker import evaluate, registry
from tastemaker.data.splits import leave_one_out
from tastemaker.data.splits.variants import of_shoppers
from tastemaker.errors import ConfigError, DataError, LeakError
from tastemaker.evaluate import Adaptation, Options, Variant
from tastemaker.recommender import Aids
from tastemaker.testing import tiny_shop


def fitted(model="text_knn", seed=1):
    elsewhere = leave_one_out(tiny_shop(seed=seed))
    pipeline = registry.build({"stage": [{"model": model}]})
    evaluate.fit(pipeline, elsewhere)
    return pipeline, facts_of(elsewhere)


def facts_of(split, **more):
    """What an artifact says of a model that learnt the train part of `split`."""
    fingerprints = {
        "data_fingerprint": split.protocol["data_fingerprint"],
        "train_fingerprint": split.train.fingerprint,
    }
    return {**fingerprints, "protocol": {**split.protocol, "choices": "none"}, **more}


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
    split = leave_one_out(tiny_shop(seed=1))
    with pytest.raises(LeakError, match="fitted on these very data"):
        Adaptation({**facts, "protocol": {"split": "none"}}).apply(pipeline, split)
    said = Adaptation(facts).apply(pipeline, split)
    assert (said["fitted_on"], said["fitted_on_other_data"]) == ("train, and saved", None)
    assert said["choices"] == "as saved: none"


@pytest.mark.parametrize(
    ("learnt", "asked"),
    [
        ({"split": "user-cold"}, {"split": "user-cold", "seed": 3}),
        ({}, {"repeats": "exclude"}),
        ({}, {"ties": "shuffled"}),
    ],
)
def test_another_train_part_of_the_same_data_is_a_leak(learnt, asked):
    """The names of the splits are the same; what the model learnt from holds what is asked now."""
    shop = tiny_shop(seed=1)
    pipeline, _ = fitted()
    facts = facts_of(evaluate.prepare(shop, **learnt))
    with pytest.raises(LeakError, match="another train part of them"):
        Adaptation(facts).apply(pipeline, evaluate.prepare(shop, **asked))
    with pytest.raises(LeakError, match="does not say which part"):
        Adaptation({**facts, "train_fingerprint": None}).apply(pipeline, evaluate.prepare(shop, **learnt))
    assert Adaptation(facts).apply(pipeline, evaluate.prepare(shop, **learnt))["fitted_on"] == "train, and saved"


def test_what_a_model_learnt_before_it_moved_or_was_tuned_is_not_forgotten():
    pipeline, there = fitted()
    here = leave_one_out(tiny_shop(seed=2))
    whole = {"data_fingerprint": here.protocol["data_fingerprint"], "protocol": {"split": "none"}}
    for facts in (facts_of(here, tuned_from=whole), {**there, "tuned_from": {**there, "transferred_from": whole}}):
        with pytest.raises(LeakError, match="learnt under the split 'none'"):
            Adaptation(facts).apply(pipeline, here)
    moved = {**whole, "transferred_from": there}  # has seen the catalogue only
    said = Adaptation(moved).apply(pipeline, here)
    assert said["fitted_on"] == "other data, and saved"
    assert said["fitted_on_other_data"] == there["data_fingerprint"]
    said = Adaptation(facts_of(here, tuned_from=moved)).apply(pipeline, here)
    assert said["fitted_on"] == "other data and train, and saved"
    assert said["fitted_on_other_data"] == there["data_fingerprint"]
    assert Adaptation({}).apply(pipeline, here)["fitted_on"] == "unknown data, and saved"


BLEND = {"model": "blend", "calibration": 25, "member": [{"model": "transitions"}, {"model": "popular"}]}


@pytest.mark.parametrize(
    ("stage", "count"), [({"model": "popular"}, 0), (BLEND, 25), ({**BLEND, "calibration": 9_999}, 999)]
)
def test_a_record_says_how_many_validation_targets_were_learnt_from(stage, count):
    split = leave_one_out(tiny_shop(users=80))
    found = evaluate.evaluate(registry.build({"stage": [stage]}), split, ks=(5,))
    count = min(count, len(split.validation))
    assert found.protocol["choices"] == (f"validation: {count} questions" if count else "none")


def test_the_end_of_training_is_a_choice_on_all_validation_questions():
    split = leave_one_out(tiny_shop(users=80))
    network = registry.build({"stage": [{"model": "lightgcn", "epochs": 1}]})
    assert network.stops_early
    assert evaluate.choices_of(network, split.validation) == f"validation: {len(split.validation)} questions"


def test_a_saved_model_is_not_refitted():
    pipeline, facts = fitted()
    split = leave_one_out(tiny_shop(seed=2))
    with pytest.raises(ConfigError, match="a saved model is measured as it is"):
        next(evaluate.evaluate_variants(pipeline, split, [Variant(refit=True)], adapt=Adaptation(facts)))


def network(**settings):
    text = {"inputs": "text", "dim": 8, "layers": 1, "learning_rate": 0.01, "epochs": 6, "patience": 2}
    stage = {"model": "sasrec", **text, **settings}
    return registry.build({"stage": [stage], "fallback": "popular"})


def test_tuning_for_production_learns_as_long_as_a_tuning_on_validation_found_best():
    elsewhere, shop = leave_one_out(tiny_shop(seed=1)), tiny_shop(seed=2)
    arrays, epochs = [], None
    for _ in range(2):
        pipeline = network()
        evaluate.fit(pipeline, elsewhere)
        pipeline.transfer(shop.items)
        if epochs is None:
            anew, epochs = evaluate.tune_on_all(pipeline, shop, seed=3)
            assert anew == ["popular"] and list(epochs) == ["0/"]
        else:  # by hand: find the number, go back to the beginning, and learn from all
            split, begun = leave_one_out(shop), pipeline.stages[0].recommender.arrays()
            pipeline.tune(split.refit, aids=Aids(validation=split.test), seed=3)
            model = pipeline.stages[0].recommender
            assert model.report()["best_epoch"] == epochs["0/"]
            model.attach(shop.items, begun)
            model.tune(shop, aids=Aids(epochs={"": epochs["0/"]}), seed=3)
        model = pipeline.stages[0].recommender
        assert len(model.report()["learning_curve"]) == epochs["0/"]
        arrays.append(model.score(shop.queries().take(slice(0, 9))))
    assert arrays[0].tobytes() == arrays[1].tobytes()


def test_without_anybody_to_ask_tuning_takes_the_number_that_was_chosen_before():
    pipeline, shop = network(), tiny_shop(seed=2)
    evaluate.fit(pipeline, leave_one_out(tiny_shop(seed=1)))
    chosen = pipeline.stages[0].recommender.report()["best_epoch"]
    short = shop.with_log(shop.log.group_by("user", maintain_order=True).head(2))
    pipeline.transfer(shop.items)
    evaluate.tune_on_all(pipeline, short)
    assert len(pipeline.stages[0].recommender.report()["learning_curve"]) == chosen
