"""The way to what may be slow or down: limited in number and in time, and shut while it fails."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from tastemaker import deadlines
from tastemaker.errors import LanguageModelError
from tastemaker.serve.engine.workers import Busy

if TYPE_CHECKING:
    from collections.abc import Callable

    from tastemaker.serve.engine.calling.breaker import Breaker
    from tastemaker.serve.engine.workers import Runs

T = TypeVar("T")
log = logging.getLogger("tastemaker.serve")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What came of a call.

    Attributes:
        value: what it returned; None where it failed.
        fault: why it failed, in a few words that name nothing of the request; "" where it did not.
    """

    value: T | None = None
    fault: str = ""


class Gate:
    """Lets calls through to one thing that may fail; a call that fails never raises.

    Args:
        what: is called, for messages.
        breaker: counts failures; None where nothing outside can be down.
        workers: threads that calls run in.
    """

    def __init__(self, what: str, breaker: Breaker | None, workers: Runs) -> None:
        self.what, self.breaker, self.workers = what, breaker, workers
        self.counts: dict[str, int] = {}

    async def call(self, work: Callable[[], tuple[T, bool]], *, within: float) -> Outcome[T]:
        """Make a call.

        Args:
            work: returns a value, and whether it can be used; it runs in a thread, under a deadline.
            within: seconds after which the call is given up and its answer, if it comes, ignored.
        """
        if within <= 0:
            return self._fault("no time left")
        call = None
        if self.breaker is not None:
            call = self.breaker.admit()
            if call is None:
                return self._fault("circuit open")

        def in_time() -> tuple[T, bool]:
            with deadlines.within(within):
                return work()

        succeeded: bool | None = False
        try:
            value, usable = await self.workers.run(in_time, within=within)
        except Busy:
            succeeded = None
            return self._fault("busy")
        except TimeoutError:
            return self._fault("no answer in time")
        except LanguageModelError as error:
            return self._fault(type(error).__name__)
        except Exception as error:  # a fault of a stage must not become one of the answer
            log.error("%s failed: %s", self.what, type(error).__name__)
            return self._fault("failed")
        else:
            succeeded = usable
            if not usable:
                return self._fault("no usable answer")
            self.counts["answered"] = self.counts.get("answered", 0) + 1
            return Outcome(value)
        finally:
            if call is not None:
                call.settle(succeeded)

    def _fault(self, fault: str) -> Outcome[T]:
        self.counts[fault] = self.counts.get(fault, 0) + 1
        return Outcome(fault=f"{self.what}: {fault}")
