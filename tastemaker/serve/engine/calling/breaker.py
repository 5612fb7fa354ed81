"""A circuit breaker: what fails again and again is left alone for a while, then tried with one call."""

from __future__ import annotations

import random
import time
from collections import deque
from threading import Lock
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

State = Literal["closed", "open", "half-open"]


class Breaker:
    """Counts failures of something outside, and says whether the next call may go out.

    Closed, it lets every call through. Once `failures` of the last `window` calls failed it opens, and refuses for
    `pause` seconds, up to half more at random so that many services do not come back at once. Then one call goes out
    as a probe: if it succeeds the breaker closes, if not it opens again for twice as long, at most `longest` seconds.

    Args:
        failures: that open it.
        window: calls that are looked back at.
        pause: seconds that it stays open first.
        longest: seconds that it stays open at most.
        clock: seconds, never going back.
        chance: gives a number from 0 to 1.
    """

    def __init__(
        self,
        *,
        failures: int = 5,
        window: int = 10,
        pause: float = 5.0,
        longest: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._failures, self._first_pause, self._longest = failures, pause, longest
        self._clock, self._chance = clock, chance
        self._outcomes: deque[bool] = deque(maxlen=window)
        self._lock = Lock()
        self._until: float | None = None  # when a probe may go out; None while closed
        self._probing = False
        self._pause = pause

    @property
    def state(self) -> State:
        """Whether calls go through, none does, or a probe may."""
        with self._lock:
            if self._until is None:
                return "closed"
            return "half-open" if self._probing or self._clock() >= self._until else "open"

    @property
    def retry_after(self) -> float:
        """Seconds until a call may go out."""
        with self._lock:
            return 0.0 if self._until is None else max(0.0, self._until - self._clock())

    def admit(self) -> Call | None:
        """Return the call that may go out now, None where none may."""
        with self._lock:
            if self._until is None:
                return Call(self, probe=False)
            if self._probing or self._clock() < self._until:
                return None
            self._probing = True
            return Call(self, probe=True)

    def _settle(self, succeeded: bool | None, *, probe: bool) -> None:
        with self._lock:
            if probe:
                self._probing = False
                if succeeded:
                    self._until, self._pause = None, self._first_pause
                    self._outcomes.clear()
                elif succeeded is False:
                    self._pause = min(2 * self._pause, self._longest)
                    self._open()
            elif succeeded is not None and self._until is None:
                self._outcomes.append(succeeded)
                if self._outcomes.count(False) >= self._failures:
                    self._open()

    def _open(self) -> None:
        self._until = self._clock() + self._pause * (1 + 0.5 * self._chance())
        self._outcomes.clear()


class Call:
    """A call that was let through; it is settled once, whatever comes later."""

    def __init__(self, breaker: Breaker, *, probe: bool) -> None:
        self._breaker: Breaker | None = breaker
        self._probe = probe

    def settle(self, succeeded: bool | None) -> None:
        """Say how the call went; None for a call that was never made."""
        breaker, self._breaker = self._breaker, None
        if breaker is not None:
            breaker._settle(succeeded, probe=self._probe)
