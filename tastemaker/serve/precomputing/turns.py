"""Whose turn it is, where rankings are made for many shops by one process that holds one model at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

TURN = 30.0
"""Seconds of work after which it is another shop's turn, so that a model is not loaded for each block of shoppers."""
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0
"""Seconds without work for a shop after a block that came to nothing; each further one doubles them."""


@dataclass(slots=True)
class _Place:
    """Where a shop stands.

    Attributes:
        turn: number of its last turn.
        failures: blocks in a row that came to nothing.
        not_before: when it may have another one, on the clock.
    """

    turn: int = 0
    failures: int = 0
    not_before: float = 0.0


class Turns:
    """Shops take turns; one whose language model fails pauses by itself, longer each time, and holds up no other.

    Args:
        clock: seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places: dict[str, _Place] = {}
        self._now: str | None = None  # whose turn it is
        self._worked = 0.0  # seconds of this turn
        self._turns = 0

    def next(self, tenants: Collection[str]) -> str | None:
        """Return which of some shops is to be worked for now; None where there is none, or all pause."""
        now = self._clock()
        ready = [tenant for tenant in tenants if self._place(tenant).not_before <= now]
        if not ready:
            return None
        if self._now not in ready or self._worked >= TURN:
            self._now, self._worked = min(ready, key=lambda tenant: self._place(tenant).turn), 0.0
            self._turns += 1
            self._places[self._now].turn = self._turns
        return self._now

    def worked(self, tenant: str, seconds: float, *, in_vain: bool) -> None:
        """Take note of a block.

        Args:
            tenant: for whom.
            seconds: that it took.
            in_vain: whether it came to nothing. The pause is no shorter than that took, so that a language model that
                hangs leaves at least half of the time to others.
        """
        self._worked += seconds
        place = self._place(tenant)
        place.failures = place.failures + 1 if in_vain else 0
        if in_vain:
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(place.failures - 1, 30))
            place.not_before = self._clock() + max(pause, seconds)

    def _place(self, tenant: str) -> _Place:
        return self._places.setdefault(tenant, _Place())
