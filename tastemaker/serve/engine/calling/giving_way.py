"""Python work beside requests that gives its lock away often."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

OFTEN = 0.0001
"""Seconds after which a thread that works in Python hands its lock over: an answer takes it several times."""

_lock = threading.Lock()
_before: list[float] = []  # one entry for each work under way; the first is the interval before all of them


@contextmanager
def giving_way() -> Iterator[None]:
    """Let threads change places more often than usual while the block runs, in whatever thread.

    Work in pure Python, such as reading all texts of a catalogue, otherwise holds an answer up for `SWITCH` seconds at
    each step, and at hundreds of requests a second a queue grows.
    """
    with _lock:
        _before.append(sys.getswitchinterval() if not _before else _before[0])
        sys.setswitchinterval(min(OFTEN, _before[0]))
    try:
        yield
    finally:
        with _lock:
            usual = _before.pop()
            if not _before:
                sys.setswitchinterval(usual)
