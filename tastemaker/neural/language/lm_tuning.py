"""Tuning a language model that runs here on instruction pairs, and on plain texts.

Only answers are learnt, each pair counts the same, and logits are computed where there is something to foretell. A
round of steps takes the place of an epoch in `tastemaker.neural.training.loop`: it ends with a judgement on held-out
pairs, an entry of the learning curve and a checkpoint, from which a killed run goes on to the same numbers.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from tastemaker import __version__
from tastemaker.errors import ConfigError
from tastemaker.lm.adapting import adapted, trained, trainee
from tastemaker.lm.packing import IGNORED, Batch, Row, packed, padded
from tastemaker.neural import devices
from tastemaker.neural.training import checkpoints
from tastemaker.neural.training.checkpoints import Course, State
from tastemaker.neural.training.loop import groups, take_step
from tastemaker.neural.training.row_adam import RowAdamW
from tastemaker.progress import Progress, silent
from tastemaker.recommender import Aids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from tastemaker.lm.local import LocalLM
    from tastemaker.neural.language.lm_settings import TuningConfig
    from tastemaker.text.instructions.tasks import InstructionPair

JUDGED = 1000
"""Held-out rows, the first ones, that are judged."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What is learnt from, in tokens.

    Attributes:
        train: rows that are trained on.
        held_out: rows that are judged.
        too_long: how many were left out.
    """

    train: tuple[Row, ...]
    held_out: tuple[Row, ...]
    too_long: int = 0


def rows_of_pairs(lm: LocalLM, pairs: Sequence[InstructionPair], *, max_tokens: int) -> tuple[list[Row], int]:
    """Return a row for each pair that is not too long, and how many are."""
    told = lm.answered([pair.prompt for pair in pairs], [pair.answer for pair in pairs])
    rows = [Row((*prompt, *answer), len(answer)) for prompt, answer in told]
    limit = min(max_tokens, lm.context)
    kept = [row for row in rows if len(row) <= limit]
    return kept, len(rows) - len(kept)


def rows_of_texts(lm: LocalLM, texts: Sequence[str], *, max_tokens: int) -> list[Row]:
    """Return a row for each text of two tokens and more, all of it to be foretold; a long one is cut into several."""
    before = len(lm.soft_prompt)
    width, rows = min(max_tokens, lm.context) - before, list[Row]()
    for text in texts:
        ids = lm.plain(text)
        parts = [(*lm.soft_prompt, *ids[start : start + width]) for start in range(0, len(ids), width)]
        rows += [Row(part, len(part) - max(1, before)) for part in parts if len(part) > max(1, before)]
    return rows


def tune(
    lm: LocalLM,
    texts_of: Callable[[LocalLM], Texts],
    config: TuningConfig,
    *,
    aids: Aids | None = None,
    name: str = "lm",
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[LocalLM, Course]:
    """Tune a copy of `lm`, which stays as it is.

    Args:
        lm: to begin with; where it was tuned before, by the same method, it goes on learning.
        texts_of: puts what is learnt into tokens of the model that is trained (a soft prompt adds some).
        config: what is trained, how long and how fast.
        aids: device, checkpoint and listener.
        name: of the part that is tuned, for checkpoint and listener.
        seed: of the first weights of adapters, the order of pairs, and dropout.
        progress: shown over steps.

    Returns:
        The tuned model, and how training went.

    Raises:
        ConfigError: the method does not fit the model, there is nothing to learn from, or no such device.
        TrainingFailed: the loss is no number any more, or the checkpoint is damaged or of another training.
    """
    aids = aids or Aids()
    student = trainee(lm, config, seed=seed)
    texts = texts_of(student)
    if not texts.train:
        raise ConfigError(
            f"tuning.max_tokens: {config.max_tokens}: nothing to learn from, {texts.too_long} pairs are longer; raise "
            "it as far as the context allows, or show fewer candidates and a shorter history"
        )
    place = devices.device_of(aids.device if aids.device != "cpu" else lm.config.device)
    with devices.threads_restored(), devices.seeded(place, seed):
        model = student._model.to(place)
        run = _Run(model, place, config, texts)
        parameters = _Trained(model)
        schedule = config.course()
        optimiser = RowAdamW(groups(parameters, schedule.weight_decay), tables=[], lr=schedule.learning_rate)
        state = State(parameters, optimiser, np.random.default_rng(seed), place)
        file = aids.checkpoint(name)
        identity = f"{lm.fingerprint} | {config!r} | {_digest(texts)} | seed {seed} | tastemaker {__version__}"
        if file is not None and file.exists():
            checkpoints.read(file, state, identity=identity)
        if isinstance(aids.threads, int):
            torch.set_num_threads(aids.threads)
        state.course.threads = torch.get_num_threads()
        _rounds(run, state, seed=seed, name=name, identity=identity, aids=aids, progress=progress)
        if state.kept:
            parameters.load_state_dict(state.kept)
    adapter, course = trained(student), state.course
    del student, model, run, parameters, optimiser, state  # before the model is there once more
    if place.type == "cuda":
        torch.cuda.empty_cache()
    return adapted(lm, adapter), course


def loss(model: nn.Module, batch: Batch) -> Tensor:
    """Return the sum over the batch's texts of their mean negative log-likelihood an answer token.

    Args:
        model: a causal language model of the transformers library.
        batch: on its device.
    """
    places = {} if batch.positions is None else {"position_ids": batch.positions}
    output = model(input_ids=batch.ids, use_cache=False, logits_to_keep=batch.columns, **places)
    wanted = batch.labels != IGNORED
    logs = output.logits[wanted].float()  # [answers, V]
    each = nn.functional.cross_entropy(logs, batch.labels[wanted], reduction="none")
    total: Tensor = (each * batch.weights[wanted]).sum()
    return total


def mean_loss(lm: LocalLM, rows: Sequence[Row], *, at_once: int = 8) -> float:
    """Return the mean over texts of their mean negative log-likelihood an answer token."""
    model = lm._model.eval()
    with torch.inference_mode():
        return sum(float(loss(model, batch.to(model.device))) for batch in padded(rows, at_once)) / max(1, len(rows))


def perplexity(lm: LocalLM, rows: Sequence[Row], *, at_once: int = 8) -> float:
    """Return exp of the mean negative log-likelihood an answer token, over all answers' tokens alike."""
    model, total = lm._model.eval(), 0.0
    with torch.inference_mode():
        for batch in padded(rows, at_once):
            alike = replace(batch, weights=torch.ones_like(batch.weights))
            total += float(loss(model, alike.to(model.device)))
    return float(np.exp(total / max(1, sum(row.answer for row in rows))))


class _Trained(nn.Module):
    """The parameters of a model that are trained, and no others: what checkpoints hold."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        for name, value in model.named_parameters():
            if value.requires_grad:
                self.register_parameter(name.replace(".", "|"), value)


@dataclass(frozen=True, slots=True)
class _Run:
    """What stays the same in a training."""

    model: Any
    device: torch.device
    config: TuningConfig
    texts: Texts

    @property
    def steps_an_epoch(self) -> int:
        """Steps that one pass over the rows takes; the last one may be smaller."""
        return -(-len(self.texts.train) // self.config.batch_size)

    def batches(self, rows: Sequence[Row]) -> Iterator[Batch]:
        """Yield the parts of a step."""
        cut = packed if self.config.packing else padded
        return (batch.to(self.device) for batch in cut(rows, self.config.at_once))

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss in the wanted precision."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=devices.half(self.config.precision, self.device)):
            return loss(self.model, batch)

    def backward(self, rows: Sequence[Row]) -> float:
        """Add the gradients of a step's parts up, and return its mean loss a text."""
        total = 0.0
        for batch in self.batches(rows):
            part = self.loss(batch) / len(rows)
            part.backward()  # type: ignore[no-untyped-call]
            total += float(part.detach())
        return total

    def judged(self) -> float:
        """Return the mean loss of the held-out rows."""
        rows = self.texts.held_out[:JUDGED]
        self.model.eval()
        with torch.inference_mode():
            total = sum(float(self.loss(batch)) for batch in self.batches(rows))
        self.model.train()
        return total / len(rows)


def _rounds(run: _Run, state: State, *, seed: int, name: str, identity: str, aids: Aids, progress: Progress) -> None:
    """Train round by round from where `state` stands."""
    config, course, listener, file = run.config, state.course, aids.listener(name), aids.checkpoint(name)
    schedule, done = config.course(), 0
    total = config.epochs * run.steps_an_epoch
    run.model.train()
    summed, started = 0.0, time.perf_counter()
    first = course.steps
    for step, rows in progress(_steps(run, seed, first), label=f"tuning {name}", total=total - first):
        if config.patience and course.idle >= config.patience:
            break
        epoch = 1 + (step - 1) / run.steps_an_epoch
        rate = schedule.rate(epoch, step)
        summed += take_step(state, partial(run.backward, rows), schedule, rate=rate, place=f"step {step}", kept_in=file)
        done += 1
        if step % config.round_steps and step < total:
            continue
        number = len(course.curve) + 1
        entry = {"epoch": number, "step": step, "loss": round(summed / done, 5), "learning_rate": rate}
        if run.texts.held_out:
            entry["held_out_loss"] = round(_judge(run, state, number), 6)
        entry["seconds"] = round(time.perf_counter() - started, 2)
        course.curve.append(entry)
        if not run.texts.held_out:
            course.best_epoch = number
        if file is not None:
            checkpoints.write(file, state, identity=identity)
        if listener is not None:
            listener(dict(entry))
        summed, done, started = 0.0, 0, time.perf_counter()
    run.model.eval()


def _steps(run: _Run, seed: int, first: int) -> Iterator[tuple[int, list[Row]]]:
    """Yield the number of each step after `first`, and its rows; the order of an epoch depends on seed and epoch."""
    size, rows = run.config.batch_size, run.texts.train
    for epoch in range(first // run.steps_an_epoch, run.config.epochs):
        order = np.random.default_rng([seed, epoch]).permutation(len(rows))
        for place in range(run.steps_an_epoch):
            step = epoch * run.steps_an_epoch + place + 1
            if step > first:
                yield step, [rows[number] for number in order[place * size : (place + 1) * size]]


def _judge(run: _Run, state: State, number: int) -> float:
    """Judge the present weights and keep them if they are the best so far."""
    value, course = run.judged(), state.course
    if course.best is None or -value > course.best:
        course.best, course.best_epoch, course.idle = -value, number, 0
        state.kept = state.weights()
    else:
        course.idle += 1
    return value


def _digest(texts: Texts) -> str:
    total = hashlib.sha256()
    for part in (texts.train, texts.held_out):
        for row in part:
            total.update(np.array([row.answer, *row.ids], dtype=np.int64).tobytes())
        total.update(b"|")
    return total.hexdigest()
