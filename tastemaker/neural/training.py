"""The one training loop: epochs, early stop on validation, checkpoints that resume to the same numbers.

A checkpoint holds weights, optimiser, random states and the learning curve, and is written whole or not at all after
each epoch; a run that is killed goes on from it and ends as if it had not been (on the same machine and thread count).
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from tastemaker.errors import TrainingFailed
from tastemaker.progress import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor, nn

Loss = Callable[[Any], "Tensor"]
"""From a batch to the scalar that is made smaller."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        epochs: at most so many passes over the data.
        learning_rate: of AdamW, after the warm-up.
        weight_decay: of AdamW, on matrices only.
        warmup: steps over which the learning rate rises from 0.
        clip: largest norm of the gradient; 0 clips nothing.
        patience: judgements without improvement before training stops; 0 never stops early.
        judge_every: epochs between two judgements.
    """

    epochs: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    warmup: int = 0
    clip: float = 0.0
    patience: int = 8
    judge_every: int = 1


@dataclass(slots=True)
class Course:
    """How a training went.

    Attributes:
        curve: one entry an epoch: epoch, loss, seconds, and the judged value where there was a judgement.
        best_epoch: the epoch whose weights were kept.
        best: its judged value, or None without judgements.
    """

    curve: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best: float | None = None
    idle: int = 0


def train(
    network: nn.Module,
    loss_of: Loss,
    batches: Callable[[np.random.Generator], Iterator[Any]],
    schedule: Schedule,
    *,
    seed: int,
    judge: Callable[[], float] | None = None,
    measure: str = "ndcg@10",
    checkpoint: Path | None = None,
    identity: str = "",
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    progress: Progress = silent,
) -> Course:
    """Train `network` in place; it ends with the weights of the best judged epoch, or of the last one.

    Args:
        network: whose parameters are trained.
        loss_of: batch -> mean loss.
        batches: yields the batches of one epoch in random order.
        schedule: how long and how fast.
        seed: of the order of batches and of dropout.
        judge: value of the present weights on validation, the higher the better.
        measure: what `judge` returns, for the curve.
        checkpoint: file to go on from and to write after each epoch; removed at the end.
        identity: what decides the course; a checkpoint of another identity is refused.
        on_epoch: called with the curve's new entry after each epoch, when the checkpoint is written.
        progress: shown over epochs.

    Raises:
        TrainingFailed: the loss is no number any more, or the checkpoint belongs to another training.
    """
    optimiser = torch.optim.AdamW(_groups(network, schedule.weight_decay), lr=schedule.learning_rate)
    course, kept = Course(), _weights(network)
    rng = np.random.default_rng(seed)
    steps = 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if checkpoint is not None and checkpoint.exists():
            course, kept, steps = _resume(checkpoint, network, optimiser, rng, identity)
        for epoch in progress(range(len(course.curve) + 1, schedule.epochs + 1), label="training"):
            if schedule.patience and course.idle >= schedule.patience:
                break
            started = time.perf_counter()
            network.train()
            total, count = 0.0, 0
            for batch in batches(rng):
                steps += 1
                for group in optimiser.param_groups:
                    group["lr"] = schedule.learning_rate * min(1.0, steps / max(1, schedule.warmup))
                loss = loss_of(batch)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                if schedule.clip:
                    torch.nn.utils.clip_grad_norm_(network.parameters(), schedule.clip)
                optimiser.step()
                total, count = total + float(loss.detach()), count + 1
            mean = total / max(1, count)
            if not math.isfinite(mean):
                raise TrainingFailed(f"the loss is {mean} in epoch {epoch}; try a lower learning_rate")
            entry: dict[str, float] = {"epoch": epoch, "loss": round(mean, 5)}
            if judge is not None and (epoch % schedule.judge_every == 0 or epoch == schedule.epochs):
                network.eval()
                value = judge()
                entry[measure] = round(value, 6)
                course.idle += 1
                if course.best is None or value > course.best:
                    course.best, course.best_epoch, course.idle, kept = value, epoch, 0, _weights(network)
            entry["seconds"] = round(time.perf_counter() - started, 2)
            course.curve.append(entry)
            if checkpoint is not None:
                _write(checkpoint, network, optimiser, rng, course, kept, steps, identity)
            if on_epoch is not None:
                on_epoch(entry)
    if judge is None:
        course.best_epoch = len(course.curve)
    else:
        network.load_state_dict(kept)
    network.eval()
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return course


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay matrices, and leave offsets and norms alone."""
    parameters = [one for one in network.parameters() if one.requires_grad]
    return [
        {"params": [one for one in parameters if one.ndim > 1], "weight_decay": weight_decay},
        {"params": [one for one in parameters if one.ndim <= 1], "weight_decay": 0.0},
    ]


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _write(
    file: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    rng: np.random.Generator,
    course: Course,
    kept: dict[str, Tensor],
    steps: int,
    identity: str,
) -> None:
    """Write the state after an epoch beside the checkpoint, then put it in its place."""
    tensors = {f"now.{name}": value for name, value in _weights(network).items()}
    tensors |= {f"best.{name}": value for name, value in kept.items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{name}": torch.as_tensor(value) for name, value in state.items()}
    tensors["random"] = torch.get_rng_state()
    facts = {
        "identity": identity,
        "steps": steps,
        "course": asdict(course),
        "generator": rng.bit_generator.state,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.draft")
    save_file({name: value.contiguous().cpu() for name, value in tensors.items()}, draft, {"facts": json.dumps(facts)})
    os.replace(draft, file)


def _resume(
    file: Path, network: nn.Module, optimiser: torch.optim.Optimizer, rng: np.random.Generator, identity: str
) -> tuple[Course, dict[str, Tensor], int]:
    """Take up the state of a checkpoint.

    Raises:
        TrainingFailed: it is damaged, or belongs to another training.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            facts = json.loads((opened.metadata() or {})["facts"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # no mapping
    except (SafetensorError, KeyError, ValueError) as error:
        raise TrainingFailed(f"{file}: not a checkpoint ({error}); remove it to begin anew") from error
    if facts["identity"] != identity:
        raise TrainingFailed(f"{file}: a checkpoint of another training (settings, data or version); remove it")
    network.load_state_dict(_under(tensors, "now."))
    state = optimiser.state_dict()
    for name, value in _under(tensors, "optimiser.").items():
        number, key = name.split(".", 1)
        state["state"].setdefault(int(number), {})[key] = value
    optimiser.load_state_dict(state)
    torch.set_rng_state(tensors["random"])
    rng.bit_generator.state = facts["generator"]
    return Course(**facts["course"]), _under(tensors, "best."), facts["steps"]


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
