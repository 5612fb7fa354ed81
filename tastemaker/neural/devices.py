"""Where a network is trained: the device by name, its random state, and the number of threads.

The number of threads changes in which order floating-point numbers are summed, and with it the last bits of every
weight. So nothing is measured unless it is asked for: by default training runs with torch's present number, and the
same seed gives the same bits. Where the number is measured, it is told with the results and kept in the checkpoint, so
that a training that is resumed goes on alike and can be repeated with that number given.

All this holds on the processor. A graphics card sums some gradients in no fixed order, so there the same seed gives the
same course of training but for rounding.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import torch

from tastemaker.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

Threads = int | Literal["measure"] | None
"""A number of threads, "measure", or None for torch's present number."""

MEASURED_FOR = 2.0
"""Seconds that measuring may take; each number of threads is tried at least once."""
WORTH = 0.95
"""More threads are taken where a step needs at most this share of the time that fewer need."""


Precision = Literal["auto", "float32", "bfloat16"]
"""Of the arithmetic: "auto" is bfloat16 on graphics cards that have it, and float32 elsewhere."""


def half(precision: Precision, device: torch.device) -> bool:
    """Say whether arithmetic on `device` is to be in bfloat16."""
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return precision == "bfloat16"


def available() -> list[str]:
    """Return the names of the devices of this machine that can train."""
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ["cpu", *(f"cuda:{number}" for number in range(cards))]


def device_of(name: str) -> torch.device:
    """Return the device that `name` names: "cpu", "cuda" for the first graphics card, or "cuda:1".

    Raises:
        ConfigError: no such device on this machine.
    """
    known = available()
    full = "cuda:0" if name == "cuda" else name
    if full not in known:
        why = " (this torch was built without CUDA)" if name.startswith("cuda") and torch.version.cuda is None else ""
        raise ConfigError(f"device '{name}': not on this machine{why}; there is {', '.join(known)}")
    return torch.device(full)


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seed torch's global generators, of the processor and of `device`, and give back their states at the end."""
    with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device.index]):
        torch.manual_seed(seed)
        yield


def random_states(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's global generators, by device type."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_states(states: dict[str, Tensor], device: torch.device) -> None:
    """Take back what `random_states` returned; a state of another type of device is left alone."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


@contextmanager
def threads_restored() -> Iterator[None]:
    """Give back torch's number of threads at the end."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fastest_threads(step: Callable[[], object], *, most: int) -> int:
    """Return the number of threads, at most `most`, with which `step` is quickest.

    Tried are 1, 2, 4 ... and `most`, in turns, so that a moment in which the machine is busy hits all of them; the
    quickest run of each counts. A tie goes to fewer threads.

    Args:
        step: does the same work whenever it is called, and leaves no trace.
        most: not more than this; torch's present number, which OMP_NUM_THREADS sets.
    """
    tried: list[int] = sorted({most, *(2**power for power in range(most.bit_length()) if 2**power <= most)})
    if len(tried) == 1:
        return tried[0]
    quickest = dict.fromkeys(tried, float("inf"))
    with threads_restored():
        step()  # the first run also makes room in memory
        until = time.perf_counter() + MEASURED_FOR
        while True:
            for number in tried:
                torch.set_num_threads(number)
                started = time.perf_counter()
                step()
                quickest[number] = min(quickest[number], time.perf_counter() - started)
            if time.perf_counter() >= until:
                break
    best = tried[0]
    for number in tried[1:]:
        if quickest[number] <= WORTH * quickest[best]:
            best = number
    return best
