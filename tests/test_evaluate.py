"""Evaluation: the protocol keeps test data out, and the lists of `rank` give the printed numbers."""

from __future__ import annotations

import numpy as np
import pytest

from tastemaker import evaluate, metrics, registry
from tastemaker.data import Dataset
from tastemaker.data.splits import leave_one_out
from tastemaker.models.collaborative.popular import Popular
from tastemaker.pipeline import Pipeline, Stage
from tastemaker.recommender import Recommender
from tastemaker.testing import tiny_shop


class Spy(Recommender):
    """Remembers what it is fitted on, calibrated on and asked."""

    name = "spy"
    calibration_size = 1000

    def __init__(self):
        super().__init__()
        self.fitted, self.calibrated, self.asked = [], [], []

    def learn(self, train, *, seed, progress):
        self.fitted.append(train)

    def calibrate(self, validation, *, candidates, seed=0, progress=None):
        self.calibrated.append(validation)

    def score(self, queries):
        self.asked.append(queries)
        return np.tile(-np.arange(len(self.items), dtype=np.float32), (len(queries), 1))


@pytest.mark.parametrize("refit", [False, True])
def test_no_test_item_reaches_fit_calibration_or_history(refit):
    data = tiny_shop()
    split = leave_one_out(data)
    spy = Spy()
    evaluate.evaluate(Pipeline([Stage(Popular()), Stage(spy)]), split, refit=refit)
    lengths = np.bincount(data.log["user"].to_numpy(), minlength=data.n_users)
    held_out = {(int(user), int(lengths[user]) - 1) for user in split.test.queries.users}
    validation = {(user, place - 1) for user, place in held_out}
    for fitted in spy.fitted:
        known = np.bincount(fitted.log["user"].to_numpy(), minlength=data.n_users)
        for user, place in held_out:
            assert known[user] <= place, "a test interaction was fitted on"
    assert len(spy.fitted[0]) == len(data) - len(held_out) - len(validation)
    assert len(spy.fitted) == (2 if refit else 1)
    [calibrated] = spy.calibrated
    for row, user in enumerate(calibrated.queries.users):
        whole = data.queries().history(int(user))
        np.testing.assert_array_equal(calibrated.queries.history(row), whole[:-2])
        np.testing.assert_array_equal(calibrated.targets.history(row), whole[-2:-1])
    for queries in spy.asked:
        for row, user in enumerate(queries.users):
            np.testing.assert_array_equal(queries.history(row), data.queries().history(int(user))[:-1])


def test_the_printed_numbers_are_those_of_the_lists():
    split = leave_one_out(tiny_shop(users=200))
    pipeline = registry.build({"stage": [{"model": "transitions"}]})
    result = evaluate.evaluate(pipeline, split, ks=(3, 10))
    ranking = pipeline.rank(split.test.queries, 10)
    for name, values in metrics.per_query(ranking, split.test.targets, (3, 10)).items():
        assert result.metrics[name]["value"] == pytest.approx(float(values.mean()))
        assert result.metrics[name]["low"] <= result.metrics[name]["value"] <= result.metrics[name]["high"]
    assert result.protocol["test_queries"] == len(split.test)
    assert result.protocol["history_masked"] is True
    assert result.protocol["fitted_on"] == "train"


def test_sample_and_seed():
    split = leave_one_out(tiny_shop(users=200))
    pipeline = registry.build({"stage": [{"model": "popular"}]})
    first, again, other = (evaluate.evaluate(pipeline, split, sample=30, seed=seed) for seed in (1, 1, 2))
    assert first.metrics == again.metrics
    assert first.protocol["test_queries"] == 30
    assert first.metrics["ndcg@10"] != other.metrics["ndcg@10"]


def test_repeated_targets_are_counted():
    import polars as pl

    log = pl.DataFrame({"user_id": list("aaaabbb"), "item_id": list("xyzxxyz")})
    split = leave_one_out(Dataset.from_frames(log))
    pipeline = registry.build({"stage": [{"model": "popular"}]})
    assert evaluate.evaluate(pipeline, split).protocol["targets_in_history"] == 1


def test_stage_reports_say_what_a_stage_changed():
    split = leave_one_out(tiny_shop(users=200))
    pipeline = Pipeline([Stage(Popular()), Stage(Spy())])
    result = evaluate.evaluate(pipeline, split, ks=(5,))
    before, after = (stage["metrics"]["ndcg@5"]["value"] for stage in result.stages)
    assert result.stages[1]["change"]["ndcg@5"]["value"] == pytest.approx(after - before, abs=1e-6)


def test_beauty_floor(real_data):
    """Training-free counts on Amazon Beauty, leave-one-out, masked, train-only fit: NDCG@10 at least .0530."""
    from tastemaker.data import readers

    data, _ = readers.read(real_data / "amazon-beauty-2014")
    assert (data.n_users, data.n_items, len(data)) == (22_363, 12_101, 198_502)
    split = leave_one_out(data)
    found = {
        model: evaluate.evaluate(registry.build({"stage": [{"model": model}]}), split).metrics["ndcg@10"]["value"]
        for model in ("transitions", "item_knn", "popular")
    }
    assert found["transitions"] >= 0.0530
    assert found["item_knn"] >= 0.034
    assert found["popular"] == pytest.approx(0.0055, abs=0.0005)
