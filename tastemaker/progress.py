"""Progress of long work: a function that wraps an iterable. Silent by default, a bar on stderr for the command line."""

from __future__ import annotations

import sys
import time
from collections.abc import Sized
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")

LINE_SECONDS = 20.0
"""Seconds between two lines of progress in a log."""


class Progress(Protocol):
    """Wraps an iterable and shows how far it is."""

    def __call__(self, steps: Iterable[T], *, label: str, total: int | None = None) -> Iterator[T]:
        """Yield every element of `steps`."""
        ...


def silent(steps: Iterable[T], *, label: str, total: int | None = None) -> Iterator[T]:
    """Show nothing."""
    yield from steps


def bar(steps: Iterable[T], *, label: str, total: int | None = None) -> Iterator[T]:
    """Draw a bar with rate and remaining time on stderr; where that is no terminal, write a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    if total is None and isinstance(steps, Sized):
        total = len(steps)
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    if not console.is_terminal:
        yield from _lines(steps, label=label, total=total)
        return
    with RichProgress(*columns, console=console) as display:
        yield from display.track(steps, total=total, description=label)


def _lines(steps: Iterable[T], *, label: str, total: int | None) -> Iterator[T]:
    """Write how far it is on stderr every LINE_SECONDS, for logs; short work writes nothing."""
    written = time.monotonic()
    for done, step in enumerate(steps):
        if time.monotonic() - written >= LINE_SECONDS:
            written = time.monotonic()
            sys.stderr.write(f"{label}: {done:,}{'' if total is None else f' of {total:,}'}\n")
            sys.stderr.flush()
        yield step
