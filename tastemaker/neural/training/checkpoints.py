"""Checkpoints of a training: weights, optimiser, random states and learning curve in one file, whole or not at all.

Safetensors hold the arrays, and JSON beside them the rest, so a checkpoint is data and never code.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from tastemaker.errors import TrainingFailed
from tastemaker.neural import devices

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import torch
    from torch import Tensor, nn

    from tastemaker.neural.training.row_adam import RowAdamW

FORMAT = 2
"""Number of this layout of a checkpoint; another one is refused."""


@dataclass(slots=True)
class Course:
    """How a training went.

    Attributes:
        curve: one entry an epoch: epoch, loss, learning rate, seconds, and the judged value where there was one.
        best_epoch: the epoch whose weights were kept; 0 where they are those that training began with.
        best: its judged value, or None without judgements.
        idle: judgements since then.
        steps: of the optimiser.
        threads: of the processor.
        start: judged value before the first epoch, or None where it was not judged.
    """

    curve: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best: float | None = None
    idle: int = 0
    steps: int = 0
    threads: int = 0
    start: float | None = None

    def report(self, *, not_judged: str = "") -> dict[str, Any]:
        """Return what a model tells of its training; with `not_judged`, why no validation question could end it."""
        said = {"best_epoch": self.best_epoch, "learning_curve": self.curve, "threads": self.threads}
        said |= {} if self.start is None else {"judged_at_start": self.start}
        return {**said, "not_judged": not_judged} if not_judged else said


@dataclass(slots=True)
class State:
    """All that decides how a training goes on.

    Attributes:
        network: with its present weights.
        optimiser: of its parameters, settled.
        rng: gives the order of batches.
        kept: weights of the best epoch; empty without judgements.
        course: so far.
        device: where it runs.
    """

    network: nn.Module
    optimiser: RowAdamW
    rng: np.random.Generator
    device: torch.device
    kept: dict[str, Tensor] = field(default_factory=dict)
    course: Course = field(default_factory=Course)

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the present weights."""
        return {name: value.detach().clone() for name, value in self.network.state_dict().items()}


def write(file: Path, state: State, *, identity: str) -> None:
    """Write `state` beside the file, then put it in its place.

    Raises:
        TrainingFailed: the file cannot be written.
    """
    tensors = {f"now.{name}": value for name, value in state.network.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in state.kept.items()}
    for number, values in state.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{name}": value for name, value in values.items()}
    tensors |= {f"random.{name}": value for name, value in devices.random_states(state.device).items()}
    facts = {
        "format": FORMAT,
        "identity": identity,
        "course": asdict(state.course),
        "generator": state.rng.bit_generator.state,
    }
    draft = file.with_name(f".{file.name}.draft")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        on_cpu = {name: value.detach().contiguous().cpu() for name, value in tensors.items()}
        save_file(on_cpu, draft, {"facts": json.dumps(facts)})
        with draft.open("rb+") as written:
            os.fsync(written.fileno())  # else a power cut may leave the name of the file without its content
        os.replace(draft, file)
    except (OSError, SafetensorError) as error:
        raise TrainingFailed(f"{file}: the checkpoint cannot be written ({error}); choose another folder") from error


def read(file: Path, state: State, *, identity: str) -> None:
    """Put `state` where it was when the file was written.

    Raises:
        TrainingFailed: the file is damaged, of another layout, or belongs to another training; `state` is as it was.
    """
    cure = "remove it to begin anew, or choose another folder"
    try:
        with safe_open(file, framework="pt") as opened:
            facts = json.loads((opened.metadata() or {})["facts"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # no mapping
        version, found, steps = facts.get("format", 1), facts["identity"], len(facts["course"]["curve"])
    except (OSError, SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise TrainingFailed(f"{file}: damaged, or no checkpoint ({error}); {cure}") from error
    if version != FORMAT:
        raise TrainingFailed(f"{file}: a checkpoint of layout {version}, this version reads {FORMAT}; {cure}")
    if found != identity:
        raise TrainingFailed(
            f"{file}: a checkpoint after {steps} epochs of another training (settings, data, seed or version); {cure}"
        )
    before = state.weights()
    try:
        state.network.load_state_dict(_under(tensors, "now."))
        _load_optimiser(state.optimiser, _under(tensors, "optimiser."))
        state.kept = {name: value.to(state.device) for name, value in _under(tensors, "best.").items()}
        state.course = Course(**facts["course"])
        state.rng.bit_generator.state = facts["generator"]
        devices.set_random_states(_under(tensors, "random."), state.device)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        state.network.load_state_dict(before)
        raise TrainingFailed(f"{file}: does not fit this network ({error}); {cure}") from error


def _load_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[str, Any] = optimiser.state_dict()
    for name, value in tensors.items():
        number, key = name.split(".", 1)
        state["state"].setdefault(int(number), {})[key] = value
    optimiser.load_state_dict(state)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
