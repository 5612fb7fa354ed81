"""The training loop: early stop, the best weights, checkpoints that resume to the same bits, and what goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch
from torch import nn

from tastemaker.errors import TrainingFailed
from tastemaker.neural.training import Schedule, train

X = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
Y = X @ torch.tensor([1.0, -2.0, 0.5])


def network():
    layers = nn.Sequential(nn.Linear(3, 16), nn.Dropout(0.3), nn.ReLU(), nn.Linear(16, 1))
    generator = torch.Generator().manual_seed(1)
    for parameter in layers.parameters():
        parameter.data.normal_(0, 0.3, generator=generator)
    return layers


def batches(rng):
    order = rng.permutation(64)
    yield from (torch.from_numpy(order[start : start + 16]) for start in range(0, 64, 16))


def fit(layers, epochs, *, checkpoint=None, judge=None, patience=0, identity="x", stop_after=None):
    seen = 0

    def loss_of(rows):
        nonlocal seen
        seen += 1
        if stop_after is not None and seen > stop_after:
            raise KeyboardInterrupt
        return (layers(X[rows]).squeeze(1) - Y[rows]).square().mean()

    schedule = Schedule(epochs=epochs, learning_rate=0.01, patience=patience)
    return train(layers, loss_of, batches, schedule, seed=3, judge=judge, checkpoint=checkpoint, identity=identity)


def test_a_broken_off_training_ends_as_if_it_had_not_been(tmp_path):
    whole, broken = network(), network()
    course = fit(whole, 12)
    file = tmp_path / "part.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        fit(broken, 12, checkpoint=file, stop_after=4 * 5 + 2)
    assert file.exists()
    resumed = network()
    again = fit(resumed, 12, checkpoint=file)
    assert [one["loss"] for one in again.curve] == [one["loss"] for one in course.curve]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert not file.exists()


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
import test_training
from pathlib import Path
slow = lambda: (time.sleep(0.05), 0.0)[1]
test_training.fit(test_training.network(), 200, checkpoint=Path({file!r}), judge=slow)
"""


def test_a_killed_training_leaves_a_whole_checkpoint(tmp_path):
    file = tmp_path / "part.checkpoint"
    code = textwrap.dedent(KILLED.format(tests=os.path.dirname(__file__), file=str(file)))
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert file.exists(), "no checkpoint was written"
    time.sleep(0.2)
    assert process.poll() is None, "the training was over before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    resumed, whole = network(), network()
    course = fit(resumed, 200, checkpoint=file, judge=lambda: 0.0)
    assert course.curve == sorted(course.curve, key=lambda one: one["epoch"])
    assert [one["loss"] for one in course.curve] == [one["loss"] for one in fit(whole, 200, judge=lambda: 0.0).curve]


def test_training_stops_when_validation_gets_no_better_and_keeps_the_best():
    layers = network()
    values = iter([0.1, 0.5, 0.4, 0.3, 0.2, 0.9])
    kept = []

    def judge():
        kept.append({name: value.clone() for name, value in layers.state_dict().items()})
        return next(values)

    course = fit(layers, 50, judge=judge, patience=3)
    assert (course.best_epoch, course.best, len(course.curve)) == (2, 0.5, 5)
    assert all(torch.equal(value, kept[1][name]) for name, value in layers.state_dict().items())


def test_no_global_randomness_is_used_or_changed():
    one, other = network(), network()
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first = fit(one, 3)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(12)
    assert [one["loss"] for one in fit(other, 3).curve] == [one["loss"] for one in first.curve]


def test_a_loss_that_is_no_number_is_said():
    layers = network()
    layers[0].weight.data.fill_(float("nan"))
    with pytest.raises(TrainingFailed, match="the loss is nan in epoch 1; try a lower learning_rate"):
        fit(layers, 3)


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    file = tmp_path / "part.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        fit(network(), 12, checkpoint=file, stop_after=10)
    with pytest.raises(TrainingFailed, match="another training"):
        fit(network(), 12, checkpoint=file, identity="y")
    file.write_bytes(b"no checkpoint")
    with pytest.raises(TrainingFailed, match="not a checkpoint"):
        fit(network(), 12, checkpoint=file)
