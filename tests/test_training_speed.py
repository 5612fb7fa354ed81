"""The benchmark of time to equal accuracy: what counts as ours, and where two courses meet."""

from __future__ import annotations

from pathlib import Path

import pytest

from tastemaker import registry
from tastemaker.data.splits import leave_one_out
from tastemaker.testing import tiny_shop

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def speed(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import training_speed

    return training_speed


def test_courses_meet_at_the_lower_best_value_and_the_start_counts(speed):
    ours = {"start_seconds": 5.0, "epoch_seconds": [1.0, 1.0, 1.0], "ndcg@10": [0.1, 0.3, 0.4]}
    peer = {"epoch_seconds": [10.0, 10.0], "ndcg@10": [0.2, 0.25]}
    assert speed.meeting(ours, peer) == {"ndcg@10": 0.25, "ours": 7.0, "peer": 20.0, "times_faster": 20.0 / 7.0}


def test_what_comes_before_the_first_epoch_is_counted_and_judging_is_not(speed, monkeypatch):
    clock = {"now": 0.0}
    monkeypatch.setattr(speed.time, "perf_counter", lambda: clock["now"])

    def judging(items, targets):
        clock["now"] += 100.0
        return 0.5

    monkeypatch.setattr(speed, "ndcg", judging)
    split = leave_one_out(tiny_shop())
    stage = {"model": "sasrec", "dim": 8, "layers": 1, "heads": 1, "epochs": 2, "patience": 0}
    model = registry.build({"stage": [stage], "fallback": "none"})
    sequence = model.stages[0].recommender

    def fit(train, *, aids):
        clock["now"] += 3.0
        for _ in range(2):
            clock["now"] += 2.0
            aids.on_epoch("training", {"seconds": 2.0})

    monkeypatch.setattr(sequence, "fit", fit)
    monkeypatch.setattr(sequence, "_freeze", lambda: None)
    monkeypatch.setattr(sequence, "rank", lambda queries, k: type("Lists", (), {"items": None}))
    found = speed.our_course(model, split)
    assert found == {"start_seconds": 3.0, "epoch_seconds": [2.0, 2.0], "ndcg@10": [0.5, 0.5]}
