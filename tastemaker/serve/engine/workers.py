"""Threads for work that must not hold up the event loop, and that may be given up when time is up."""

from __future__ import annotations

import asyncio
import queue
import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from tastemaker.errors import TastemakerError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Busy(TastemakerError):
    """All threads are at work and all waiting places are taken."""


class _Job:
    """A piece of work, and the future of whoever waits for it; a future that is done is not waited for any more."""

    def __init__(self, work: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.work, self.loop = work, loop
        self.context = copy_context()  # deadlines go along
        self.future: asyncio.Future[Any] = loop.create_future()

    def run(self) -> None:
        if self.future.done():
            return
        try:
            result = self.context.run(self.work)
        except BaseException as error:
            failure = error  # it belongs to whoever waits
            self._tell(lambda: self.future.set_exception(failure))
        else:
            self._tell(lambda: self.future.set_result(result))

    def _tell(self, say: Callable[[], None]) -> None:
        def unless_given_up() -> None:
            if not self.future.done():
                say()

        try:
            self.loop.call_soon_threadsafe(unless_given_up)
        except RuntimeError:  # the loop is closed: nobody waits
            return


class Workers:
    """A few daemon threads with a bounded queue.

    Work that is given up goes on in its thread, as no thread can be stopped, and keeps it from other work; what it
    returns is ignored. The threads do not keep the process alive.

    Args:
        threads: at work at most.
        waiting: pieces of work that may wait beside those under way.
        name: of the threads.
    """

    def __init__(self, threads: int, *, waiting: int, name: str) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._room = threading.BoundedSemaphore(threads + waiting)
        self._threads = [
            threading.Thread(target=self._serve, name=f"{name}-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, work: Callable[[], T], *, within: float | None = None) -> T:
        """Return what `work` returns, run in a thread.

        Args:
            work: what to do.
            within: seconds after which it is given up; None waits as long as it takes.

        Raises:
            Busy: there is no place for it.
            TimeoutError: it was given up.
        """
        if not self._room.acquire(blocking=False):
            raise Busy("all threads are busy")
        job = _Job(work, asyncio.get_running_loop())
        self._jobs.put(job)
        if within is None:
            return await job.future  # type: ignore[no-any-return]
        async with asyncio.timeout(within):
            return await job.future  # type: ignore[no-any-return]

    def close(self) -> None:
        """Let the threads end after what they are at."""
        for _ in self._threads:
            self._jobs.put(None)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job.run()
            finally:
                self._room.release()
