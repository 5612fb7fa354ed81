"""The training loop: early stop, the best weights, checkpoints that resume to the same bits, and what goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import nullcontext

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from tastemaker.errors import ConfigError, TrainingFailed
from tastemaker.neural import devices
from tastemaker.neural.training.loop import Schedule, TrainingConfig, train

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


def fit(
    layers,
    epochs,
    *,
    checkpoint=None,
    judge=None,
    identity="x",
    stop_after=None,
    threads=None,
    judges_start=False,
    **settings,
):
    seen = 0

    def loss_of(rows):
        nonlocal seen
        seen += 1
        if stop_after is not None and seen > stop_after:
            raise KeyboardInterrupt
        return (layers(X[rows]).squeeze(1) - Y[rows]).square().mean()

    schedule = Schedule(**{"epochs": epochs, "learning_rate": 0.01, "patience": 0, **settings})
    aids = {"checkpoint": checkpoint, "identity": identity, "threads": threads, "judges_start": judges_start}
    return train(layers, loss_of, batches, schedule, seed=3, judge=judge, **aids)


def losses(course):
    return [one["loss"] for one in course.curve]


def equal(one, other):
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_a_broken_off_training_ends_as_if_it_had_not_been(tmp_path):
    whole, broken = network(), network()
    course = fit(whole, 12, shape="cosine", warmup=6)
    file = tmp_path / "part.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        fit(broken, 12, checkpoint=file, stop_after=4 * 5 + 2, shape="cosine", warmup=6)
    resumed = network()
    again = fit(resumed, 12, checkpoint=file, shape="cosine", warmup=6)
    assert losses(again) == losses(course)
    assert equal(whole, resumed)


def test_a_finished_training_is_not_done_again(tmp_path):
    file = tmp_path / "part.checkpoint"
    values = iter([0.5, 0.4, 0.3])
    first, second = network(), network()
    course = fit(first, 12, checkpoint=file, judge=lambda: next(values), patience=2)
    again = fit(second, 12, checkpoint=file, judge=None.__bool__, patience=2, stop_after=0)  # no step, no judgement
    assert (again.best_epoch, losses(again)) == (1, losses(course))
    assert equal(first, second)


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


@pytest.mark.parametrize("start_is_best", [True, False])
def test_what_was_learnt_before_is_kept_where_training_is_no_better(start_is_best):
    layers, values = network(), iter([0.5 if start_is_best else 0.1, 0.2, 0.4, 0.3])
    course = fit(layers, 3, judge=lambda: next(values), judges_start=True, patience=3)
    assert course.start == (0.5 if start_is_best else 0.1)
    assert course.best_epoch == (0 if start_is_best else 2)
    assert [entry["epoch"] for entry in course.curve] == [1, 2, 3]
    assert course.report()["judged_at_start"] == course.start
    assert equal(layers, network()) == start_is_best


def test_a_broken_off_training_remembers_how_its_start_was_judged(tmp_path):
    values = iter([0.5, 0.2, 0.4, 0.3])
    settings = {"judge": lambda: next(values), "judges_start": True, "patience": 3, "checkpoint": tmp_path / "c"}
    with pytest.raises(KeyboardInterrupt):
        fit(network(), 5, stop_after=6, **settings)
    layers = network()
    course = fit(layers, 5, **settings)
    assert (course.start, course.best_epoch, len(course.curve)) == (0.5, 0, 3)
    assert equal(layers, network())


def test_no_global_randomness_is_used_or_changed():
    one, other = network(), network()
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first = fit(one, 3)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(12)
    assert [one["loss"] for one in fit(other, 3).curve] == [one["loss"] for one in first.curve]


def test_a_judgement_of_nothing_does_not_stop_training():
    layers = network()
    values = iter([0.0, 0.0, 0.0, 0.0, 0.2, 0.1, 0.1])
    course = fit(layers, 50, judge=lambda: next(values), patience=2)
    assert (course.best_epoch, len(course.curve)) == (5, 7)
    layers = network()
    course = fit(layers, 4, judge=lambda: 0.0, patience=2)
    assert (course.best_epoch, len(course.curve)) == (4, 4)


class Astray(nn.Module):
    """Its loss, or only its gradient, is no number from a certain batch on."""

    def __init__(self, batch, *, only_gradient=False):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.batch, self.only_gradient, self.count = batch, only_gradient, 0

    def loss(self, _):
        self.count += 1
        if self.count < self.batch:
            return self.weight.square().sum()
        return (0 * self.weight).sqrt().sum() if self.only_gradient else (self.weight * float("inf")).sum()


@pytest.mark.parametrize(("only_gradient", "said"), [(False, "loss is inf"), (True, "gradient is nan")])
def test_a_training_that_goes_astray_names_the_place_and_a_cure(tmp_path, only_gradient, said):
    file, layers = tmp_path / "part.checkpoint", Astray(4 + 3, only_gradient=only_gradient)
    with pytest.raises(TrainingFailed) as caught:
        train(layers, layers.loss, batches, Schedule(epochs=3, clip=2.0), seed=0, checkpoint=file)
    for words in (f"the {said} in epoch 2, batch 3; lower learning_rate (it is 0.001), or clip (it is 2)", str(file)):
        assert words in str(caught.value)
    assert torch.isfinite(layers.weight).all()
    with pytest.raises(TrainingFailed, match="epoch 2"):  # the checkpoint of epoch 1 is whole
        train(layers, layers.loss, batches, Schedule(epochs=3, clip=2.0), seed=0, checkpoint=file)


def broken_off(tmp_path, **settings):
    file = tmp_path / "part.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        fit(network(), 12, checkpoint=file, stop_after=10, **settings)
    return file


@pytest.mark.parametrize("other", [{"identity": "y"}, {"learning_rate": 0.02}, {"patience": 3}])
def test_a_checkpoint_of_another_training_is_refused(tmp_path, other):
    file = broken_off(tmp_path)
    with pytest.raises(TrainingFailed, match=r"part\.checkpoint: a checkpoint after 2 epochs of another training"):
        fit(network(), 12, checkpoint=file, **other)
    fit(network(), 12, checkpoint=file)


def altered(file, change):
    with safe_open(file, framework="pt") as opened:
        facts = json.loads(opened.metadata()["facts"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    change(facts, tensors)
    save_file(tensors, file, {"facts": json.dumps(facts)})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda facts, _: facts.pop("format"), "a checkpoint of layout 1, this version reads 2; remove it"),
        (lambda facts, _: facts.pop("course"), "damaged, or no checkpoint"),
        (lambda facts, _: facts["course"].update(colour=1), "does not fit this network"),
        (lambda _, tensors: tensors.pop("now.0.weight"), "does not fit this network"),
        (lambda _, tensors: tensors.pop("random.cpu"), "does not fit this network"),
    ],
)
def test_an_older_or_foreign_checkpoint_is_refused_and_changes_nothing(tmp_path, change, said):
    file, layers = broken_off(tmp_path), network()
    altered(file, change)
    with pytest.raises(TrainingFailed, match=said) as caught:
        fit(layers, 12, checkpoint=file)
    assert str(file) in str(caught.value)
    assert equal(layers, network())


def test_a_truncated_checkpoint_or_another_file_is_refused(tmp_path):
    file = broken_off(tmp_path)
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:5], b"", b"no checkpoint"):
        file.write_bytes(content)
        with pytest.raises(TrainingFailed, match=r"part\.checkpoint: damaged, or no checkpoint"):
            fit(network(), 12, checkpoint=file)
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(TrainingFailed, match="damaged, or no checkpoint"):
        fit(network(), 12, checkpoint=folder)


def test_a_checkpoint_that_cannot_be_written_says_where(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingFailed, match=r"file/part\.checkpoint: the checkpoint cannot be written"):
        fit(network(), 2, checkpoint=tmp_path / "file" / "part.checkpoint")


def test_the_learning_rate_rises_and_falls():
    cosine = Schedule(epochs=4, learning_rate=1.0, warmup=2, shape="cosine")
    assert [cosine.rate(1, step) for step in (1, 2, 3)] == [0.5, 1.0, 1.0]
    assert [round(cosine.rate(epoch, 99), 4) for epoch in (1, 2, 3, 4)] == [1.0, 0.8536, 0.5, 0.1464]
    linear = Schedule(epochs=2, learning_rate=1.0, shape="linear", horizon=4)
    assert [linear.rate(epoch, 99) for epoch in (1, 2)] == [1.0, 0.75]
    course = fit(network(), 3, shape="linear")
    assert [round(one["learning_rate"], 5) for one in course.curve] == [0.01, 0.00667, 0.00333]


def test_a_second_training_keeps_the_learning_rates_of_the_first():
    settings = TrainingConfig(epochs=20, schedule="cosine")
    first, second = settings.course(judged=True), settings.course(judged=False, epochs=7)
    assert (first.epochs, first.patience, second.epochs, second.patience) == (20, 8, 7, 0)
    assert [first.rate(epoch, 1) for epoch in range(1, 8)] == [second.rate(epoch, 1) for epoch in range(1, 8)]


def test_a_large_gradient_is_cut_and_a_small_one_left_alone():
    plain, loose, tight = network(), network(), network()
    fit(plain, 2)
    fit(loose, 2, clip=1e6)
    fit(tight, 2, clip=1e-9)
    assert equal(plain, loose)
    assert not equal(plain, tight)


def test_measuring_threads_changes_nothing_and_is_told(monkeypatch, tmp_path):
    before = torch.get_num_threads()
    asked = []

    def fake(step, *, most):
        asked.append(most)
        step()
        return before

    monkeypatch.setattr(devices, "fastest_threads", fake)
    plain, measured = network(), network()
    fit(plain, 3)
    course = fit(measured, 3, threads="measure", checkpoint=tmp_path / "part.checkpoint")
    assert (asked, course.threads, torch.get_num_threads()) == ([before], before, before)
    assert equal(plain, measured)
    fit(network(), 3, threads="measure", checkpoint=tmp_path / "part.checkpoint")
    assert len(asked) == 1  # the checkpoint knows


def test_an_absent_device_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"device 'tpu': not on this machine; there is cpu"):
        train(network(), lambda _: torch.zeros(()), batches, Schedule(), seed=0, device="tpu")


class Elsewhere(nn.Linear):
    """Notes where it is moved."""

    moves = ()

    def to(self, place):
        self.moves = (*self.moves, str(place))
        return self


def test_the_network_goes_to_the_device_and_comes_back(monkeypatch):
    monkeypatch.setattr(devices, "device_of", lambda name: torch.device("meta"))
    monkeypatch.setattr(devices, "seeded", lambda place, seed: nullcontext())
    layers = Elsewhere(3, 1)
    train(layers, lambda rows: layers(X[rows]).mean(), batches, Schedule(epochs=1), seed=0, device="elsewhere")
    assert layers.moves == ("meta", "cpu")
    with pytest.raises(ZeroDivisionError):
        train(layers, lambda rows: 1 / 0, batches, Schedule(epochs=1), seed=0, device="elsewhere")
    assert layers.moves[2:] == ("meta", "cpu")


def test_a_checkpoint_is_on_the_disk_before_it_takes_its_place(monkeypatch, tmp_path):
    done = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (done.append("sync"), sync(number)))
    monkeypatch.setattr(os, "replace", lambda *files: (done.append("replace"), replace(*files)))
    fit(network(), 2, checkpoint=tmp_path / "part.checkpoint")
    assert done == ["sync", "replace"] * 2
