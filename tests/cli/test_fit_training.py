"""`tastemaker fit` of networks: checkpoints, learning curves, threads and device."""

from __future__ import annotations

import json

import pytest

from tastemaker.errors import TrainingFailed
from tastemaker.neural import training

SMALL = ("--set", "stage.0.dim=8", "--set", "stage.0.layers=1", "--set", "stage.0.epochs=3")


def test_a_stopped_fit_goes_on_where_it_was(tastemaker, shop, tmp_path, monkeypatch):
    words = ["fit", "sasrec", "--data", shop, *SMALL, "--out", tmp_path / "model", "--split", "none"]
    words += ["--checkpoints", tmp_path / "kept", "--curves", f"jsonl:{tmp_path / 'curves.jsonl'}"]
    epoch, count = training._epoch, 0

    def stopping(*args, **settings):
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return epoch(*args, **settings)

    monkeypatch.setattr(training, "_epoch", stopping)
    stopped = tastemaker(*words)
    assert stopped.code
    assert f"stopped; the same command goes on from {tmp_path / 'kept'}" in stopped.err
    assert not (tmp_path / "model").exists()
    assert tastemaker(*words, "--json").json()["reports"][0]["best_epoch"]
    lines = [json.loads(line) for line in (tmp_path / "curves.jsonl").read_text().splitlines()]
    assert [one["epoch"] for one in lines if "ndcg@10" in one] == [1, 2, 3]  # none was trained twice
    assert {one["part"] for one in lines} == {"0/sasrec"}
    assert list((tmp_path / "kept").iterdir()) == []


def test_threads_are_told(tastemaker, shop, tmp_path):
    words = ["fit", "sasrec", "--data", shop, *SMALL, "--out", tmp_path / "model", "--json"]
    assert tastemaker(*words, "--threads", "1").json()["reports"][0]["threads"] == 1


@pytest.mark.parametrize(
    ("option", "word", "said"),
    [
        ("--threads", "many", "--threads many: must be a number of at least 1, or measure"),
        ("--threads", "0", "--threads 0: must be a number of at least 1, or measure"),
        ("--device", "cuda:9", "device 'cuda:9': not on this machine"),
        ("--curves", "csv:here", "--curves csv:here: unknown kind of learning curve"),
    ],
)
def test_mistakes_are_refused_before_anything_is_trained(refused, shop, tmp_path, option, word, said):
    assert said in refused("fit", "sasrec", "--data", shop, "--out", tmp_path / "model", option, word)


def test_a_training_that_fails_saves_nothing(refused, shop, tmp_path, monkeypatch):
    def fails(*args, **settings):
        raise TrainingFailed("the loss is nan in epoch 1, batch 1")

    monkeypatch.setattr(training, "_epoch", fails)
    assert "the loss is nan" in refused("fit", "sasrec", "--data", shop, *SMALL, "--out", tmp_path / "model")
    assert not (tmp_path / "model").exists()
