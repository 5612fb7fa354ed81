"""The one training loop: epochs, early stop on validation, checkpoints that resume to the same numbers.

A checkpoint is written whole or not at all after each epoch; a run that is killed goes on from it and ends as if it had
not been (on the same machine and number of threads). It stays when the training is over, so that a fit of several
trainings, killed in the last one, does not begin with the first; whoever named the file removes it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.utils import get_total_norm

from tastemaker import __version__
from tastemaker.errors import TrainingFailed
from tastemaker.neural import devices
from tastemaker.neural.devices import Threads
from tastemaker.neural.training import checkpoints
from tastemaker.neural.training.checkpoints import Course, State
from tastemaker.neural.training.row_adam import RowAdamW, RowTable
from tastemaker.neural.training.schedules import Schedule, TrainingConfig
from tastemaker.progress import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Course", "Loss", "Schedule", "Threads", "TrainingConfig", "groups", "take_step", "timeless", "train"]

Loss = Callable[[Any], "Tensor"]
"""From a batch to the scalar that is made smaller."""

Batches = Callable[[np.random.Generator], Iterator[Any]]
"""From a source of randomness to the batches of one epoch in random order."""

LARGEST_WEIGHT = 1e15
"""The squares of larger weights are beyond float32, once some are added up."""
TRIED = 3
"""Batches that are trained on, again and again, to measure which number of threads is quickest."""


def train(
    network: nn.Module,
    loss_of: Loss,
    batches: Batches,
    schedule: Schedule,
    *,
    seed: int,
    judge: Callable[[], float] | None = None,
    judges_start: bool = False,
    measure: str = "ndcg@10",
    checkpoint: Path | None = None,
    identity: str = "",
    device: str = "cpu",
    threads: Threads = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    progress: Progress = silent,
) -> Course:
    """Train `network` in place; it ends on the CPU with the weights of the best judged epoch, or of the last one.

    Args:
        network: whose parameters are trained; it is on `device` whenever `loss_of` or `judge` is called.
        loss_of: batch -> mean loss.
        batches: yields the batches of one epoch in random order.
        schedule: how long and how fast.
        seed: of the order of batches and of all that is drawn by torch's global generator, such as dropout.
        judge: value of the present weights on validation, the higher the better.
        judges_start: whether the weights are judged before the first epoch too, and kept if none is better: where they
            were learnt before. The best epoch is 0 then.
        measure: what `judge` returns, for the curve.
        checkpoint: file to go on from and to write after each epoch.
        identity: what decides the course beside schedule and seed; a checkpoint of another identity is refused.
        device: where to train, "cpu", "cuda" or "cuda:1".
        threads: of the CPU; "measure" tries a few steps and takes the quickest number, None leaves it as it is.
        on_epoch: called with the curve's new entry after each epoch, when the checkpoint is written.
        progress: shown over epochs.

    Raises:
        TrainingFailed: the loss is no number any more, or the checkpoint is damaged or belongs to another training.
        ConfigError: there is no such device.
    """
    place = devices.device_of(device)
    identity = f"{identity} | {schedule} | seed {seed} | tastemaker {__version__}"
    with devices.threads_restored(), devices.seeded(place, seed):
        try:
            network.to(place)
            tables = [module for module in network.modules() if isinstance(module, RowTable)]
            optimiser = RowAdamW(groups(network, schedule.weight_decay), tables=tables, lr=schedule.learning_rate)
            state = State(network, optimiser, np.random.default_rng(seed), place)
            if checkpoint is not None and checkpoint.exists():
                checkpoints.read(checkpoint, state, identity=identity)
            _set_threads(state, threads, loss_of, batches, seed=seed)
            if judges_start and judge is not None and not state.course.curve:
                network.eval()
                state.course.start = round(_judge(state, judge, epoch=0), 6)
            for epoch in progress(range(len(state.course.curve) + 1, schedule.epochs + 1), label="training"):
                if schedule.patience and state.course.idle >= schedule.patience:
                    break
                started = time.perf_counter()
                entry = _epoch(state, loss_of, batches, schedule, epoch=epoch, kept_in=checkpoint)
                optimiser.settle()
                if judge is not None and (epoch % schedule.judge_every == 0 or epoch == schedule.epochs):
                    network.eval()
                    entry[measure] = round(_judge(state, judge, epoch=epoch), 6)
                entry["seconds"] = round(time.perf_counter() - started, 2)
                state.course.curve.append(entry)
                if checkpoint is not None:
                    checkpoints.write(checkpoint, state, identity=identity)
                if on_epoch is not None:
                    on_epoch(dict(entry))
            if judge is None:
                state.course.best_epoch = len(state.course.curve)
            elif state.kept:
                network.load_state_dict(state.kept)
        finally:
            for module in network.modules():
                if isinstance(module, RowTable):
                    module.before = None
            network.to("cpu").eval()
    return state.course


def timeless(curve: list[dict[str, float]]) -> list[dict[str, float]]:
    """Return a learning curve as models save it: without seconds, so that equal trainings give equal bytes."""
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in curve]


def _epoch(
    state: State, loss_of: Loss, batches: Batches, schedule: Schedule, *, epoch: int, kept_in: Path | None
) -> dict[str, float]:
    """Train on every batch once and return the epoch's entry in the learning curve.

    Raises:
        TrainingFailed: the loss or its gradient is no number; the weights are still those of the step before. Or the
            weights are no numbers that can be reckoned with, which a loss of cosines does not tell.
    """
    state.network.train()
    total, count, rate = 0.0, 0, 0.0
    for count, batch in enumerate(batches(state.rng), start=1):
        rate = schedule.rate(epoch, state.course.steps + 1)

        def backward(batch: Any = batch) -> float:  # noqa: ANN401  # whatever `batches` yields
            loss = loss_of(batch)
            loss.backward()  # type: ignore[no-untyped-call]
            return float(loss.detach())

        total += take_step(state, backward, schedule, rate=rate, place=f"epoch {epoch}, batch {count}", kept_in=kept_in)
    largest = max((float(one.detach().abs().max()) for one in state.network.parameters() if one.numel()), default=0.0)
    if not largest < LARGEST_WEIGHT:
        raise TrainingFailed(_astray("largest weight", largest, f"epoch {epoch}", rate, schedule, kept_in))
    return {"epoch": epoch, "loss": round(total / max(1, count), 5), "learning_rate": rate}


def take_step(
    state: State,
    backward: Callable[[], float],
    schedule: Schedule,
    *,
    rate: float,
    place: str,
    kept_in: Path | None,
) -> float:
    """Take one step down the gradient and return the loss.

    Args:
        state: its weights, optimiser and number of steps move on.
        backward: adds the gradients up and returns the loss.
        schedule: clips the gradient.
        rate: learning rate of this step.
        place: where in the course this is, for messages.
        kept_in: the checkpoint, for messages.

    Raises:
        TrainingFailed: the loss or its gradient is no number; the weights are still those of the step before.
    """
    state.course.steps += 1
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    state.optimiser.zero_grad(set_to_none=True)
    loss = backward()
    gradients = _gradients(state.network.parameters())
    norm = get_total_norm(gradients)
    for what, value in (("loss", loss), ("gradient", float(norm))):
        if not math.isfinite(value):
            raise TrainingFailed(_astray(what, value, place, rate, schedule, kept_in))
    if schedule.clip and float(norm) > schedule.clip:
        for gradient in gradients:
            gradient.mul_(schedule.clip / (norm + 1e-6))
    state.optimiser.step()
    return loss


def _gradients(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """Return the gradients, in place: of a sparse one what it holds, each row once."""
    found = []
    for one in parameters:
        if one.grad is not None and one.grad.is_sparse:
            one.grad = one.grad.coalesce()
            found.append(one.grad.values())
        elif one.grad is not None:
            found.append(one.grad)
    return found


def _astray(what: str, value: float, place: str, rate: float, schedule: Schedule, kept_in: Path | None) -> str:
    text = f"the {what} is {value} in {place}; lower learning_rate (it is {rate:g})"
    text += f", or clip (it is {schedule.clip:g})" if schedule.clip else ", or set clip, which is off"
    if kept_in is not None and kept_in.exists():
        text += f"; {kept_in} holds the epoch before: remove it when you change a setting"
    return text


def _judge(state: State, judge: Callable[[], float], *, epoch: int) -> float:
    """Judge the present weights and keep them if they are the best so far."""
    value, course = judge(), state.course
    silent_so_far = value == 0 and not course.best  # no question has been answered right yet, so none tells anything
    if course.best is None or value > course.best or silent_so_far:
        course.best, course.best_epoch, course.idle = value, epoch, 0
        state.kept = state.weights()
    else:
        course.idle += 1
    return value


def _set_threads(state: State, threads: Threads, loss_of: Loss, batches: Batches, *, seed: int) -> None:
    """Set the number of threads and note it; weights and random states stay as they are."""
    if threads == "measure" and state.course.threads:
        threads = state.course.threads  # measured before the training was broken off
    elif threads == "measure" and state.device.type == "cpu":
        tried = list(islice(batches(np.random.default_rng(seed)), TRIED))
        before = state.weights()

        def step() -> None:
            for batch in tried:
                loss_of(batch).backward()  # type: ignore[no-untyped-call]
                state.network.zero_grad(set_to_none=True)

        state.network.train()
        with devices.seeded(state.device, seed):
            threads = devices.fastest_threads(step, most=torch.get_num_threads())
        state.network.load_state_dict(before)  # what a forward pass may change, such as running means
    if isinstance(threads, int):
        torch.set_num_threads(threads)
    state.course.threads = torch.get_num_threads()


def groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return what AdamW trains: matrices decay, offsets and norms are left alone."""
    parameters = [one for one in network.parameters() if one.requires_grad]
    return [
        {"params": [one for one in parameters if one.ndim > 1], "weight_decay": weight_decay},
        {"params": [one for one in parameters if one.ndim <= 1], "weight_decay": 0.0},
    ]
