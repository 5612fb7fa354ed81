"""Long work in pure Python that lets others have the interpreter in between.

A thread that reads all texts of a catalogue holds Python's lock, and a service whose answers want it at every step
falls behind. `at_ease` makes such work rest after every few milliseconds; elsewhere `eased` costs nothing.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")

WORK, REST = 0.001, 0.003
"""Seconds of work after which a thread rests, and how long."""

_at_ease: ContextVar[bool] = ContextVar("at_ease", default=False)


@contextmanager
def at_ease() -> Iterator[None]:
    """Let what this thread does in the block rest now and then: it takes several times as long."""
    token = _at_ease.set(True)
    try:
        yield
    finally:
        _at_ease.reset(token)


def eased(steps: Iterable[T]) -> Iterable[T]:
    """Return the steps of a long loop, with rests between them if the thread is to be at ease."""
    return _rested(steps) if _at_ease.get() else steps


def _rested(steps: Iterable[T]) -> Iterator[T]:
    began = time.perf_counter()
    for step in steps:
        yield step
        if time.perf_counter() - began > WORK:
            time.sleep(REST)
            began = time.perf_counter()
