"""What is asked of a process that ranks ahead, and what it answers: plain values, a JSON text a line."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Task:
    """One shopper, by numbers of the model; who it is stays with who asks.

    Attributes:
        history: products, oldest first.
        user: number of the shopper among those of the model, -1 for none of them.
        items: what the first stage offers, best first.
        scores: its scores.
        kept: product -> the reason phrased for it before, which may still hold.
    """

    history: list[int]
    user: int
    items: list[int]
    scores: list[float]
    kept: dict[int, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """What the later stages make of a task.

    Attributes:
        items: products, best first.
        scores: theirs.
        source: name of the last stage.
        reasons: product -> its phrased reason, `Reason.to_dict()`.
        fault: why there is no ranking, in a few words; empty where there is one.
    """

    items: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    source: str = ""
    reasons: dict[int, dict[str, Any]] = field(default_factory=dict)
    fault: str = ""


class Worker(Protocol):
    """Ranks; called from one thread at a time."""

    def ask(self, tasks: Sequence[Task]) -> list[Result]:
        """Return a result for each task, in their order.

        Raises:
            WorkerError: it cannot work.
        """
        ...

    def close(self) -> None:
        """End it; may be called twice."""
        ...


def to_line(values: Sequence[Task] | Sequence[Result]) -> str:
    """Return tasks or results as a line."""
    return json.dumps([dataclasses.asdict(value) for value in values], separators=(",", ":")) + "\n"


def tasks_of(line: str) -> list[Task]:
    """Return the tasks of a line."""
    return [Task(**{**value, "kept": _by_number(value["kept"])}) for value in json.loads(line)]


def results_of(line: str) -> list[Result]:
    """Return the results of a line."""
    return [Result(**{**value, "reasons": _by_number(value["reasons"])}) for value in json.loads(line)]


def _by_number(found: dict[str, Any]) -> dict[int, Any]:
    return {int(number): value for number, value in found.items()}
