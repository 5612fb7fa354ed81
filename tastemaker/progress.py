"""Progress of long work: a function that wraps an iterable. Silent by default, a bar on stderr for the command line."""

from __future__ import annotations

from collections.abc import Sized
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")


class Progress(Protocol):
    """Wraps an iterable and shows how far it is."""

    def __call__(self, steps: Iterable[T], *, label: str, total: int | None = None) -> Iterator[T]:
        """Yield every element of `steps`."""
        ...


def silent(steps: Iterable[T], *, label: str, total: int | None = None) -> Iterator[T]:
    """Show nothing."""
    yield from steps


def bar(steps: Iterable[T], *, label: str, total: int | None = None) -> Iterator[T]:
    """Draw a bar with rate and remaining time on stderr; draws nothing where stderr is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    if total is None and isinstance(steps, Sized):
        total = len(steps)
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with RichProgress(*columns, console=console, disable=not console.is_terminal) as display:
        yield from display.track(steps, total=total, description=label)
