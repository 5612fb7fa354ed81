"""Threads for work that must not hold up the event loop, and that may be given up when time is up."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tastemaker.errors import TastemakerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


class Busy(TastemakerError):
    """All threads are at work and all waiting places are taken."""


class OutOfTime(TastemakerError):
    """What a request insists on cannot be done within its budget now."""


class Runs(Protocol):
    """Runs work in threads: `Workers`, or a share of them."""

    async def run(self, work: Callable[[], T], *, within: float | None = None) -> T:
        """Return what `work` returns; see `Workers.run`."""
        ...


class _Job:
    """A piece of work, and the future of whoever waits for it; a future that is done is not waited for any more."""

    def __init__(
        self, work: Callable[[], Any], loop: asyncio.AbstractEventLoop, rooms: Sequence[threading.BoundedSemaphore]
    ) -> None:
        self.work, self.loop, self._rooms = work, loop, rooms
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

    def leave(self) -> None:
        for room in self._rooms:
            room.release()

    def _tell(self, say: Callable[[], None]) -> None:
        def unless_given_up() -> None:
            if not self.future.done():
                say()

        try:
            self.loop.call_soon_threadsafe(unless_given_up)
        except RuntimeError:  # the loop is closed: nobody waits
            return


class Workers:
    """A few daemon threads with a bounded queue; each starts when there is work for it.

    Work that is given up goes on in its thread, as no thread can be stopped, and keeps it from other work; what it
    returns is ignored. The threads do not keep the process alive.

    Args:
        threads: at work at most.
        waiting: pieces of work that may wait beside those under way.
        name: of the threads.
    """

    def __init__(self, threads: int, *, waiting: int, name: str) -> None:
        self._most, self._name = threads, name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._room = threading.BoundedSemaphore(threads + waiting)
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._under_way = 0  # jobs that were taken in and are not done
        self._closed = False

    async def run(self, work: Callable[[], T], *, within: float | None = None) -> T:
        """Return what `work` returns, run in a thread.

        Args:
            work: what to do.
            within: seconds after which it is given up; None waits as long as it takes.

        Raises:
            Busy: there is no place for it, or the threads have ended.
            TimeoutError: it was given up.
        """
        return await self._run(work, within, (self._room,))

    async def _run(self, work: Callable[[], T], within: float | None, rooms: Sequence[threading.BoundedSemaphore]) -> T:
        for place, room in enumerate(rooms):
            if not room.acquire(blocking=False):
                for taken in rooms[:place]:
                    taken.release()
                raise Busy("all threads are busy")
        job = _Job(work, asyncio.get_running_loop(), rooms)
        self._put(job)
        if within is None:
            return await job.future  # type: ignore[no-any-return]
        async with asyncio.timeout(within):
            return await job.future  # type: ignore[no-any-return]

    def share(self, most: int) -> Share:
        """Return a part of the threads for one of many users, who takes at most `most` places and leaves the others."""
        return Share(self, most)

    def close(self, *, within: float = 0.0) -> bool:
        """End the threads after what they are at, and wait for that; what waits is still done, what comes is refused.

        Args:
            within: seconds to wait.

        Returns:
            Whether all have ended; one that hangs in foreign code does not.
        """
        with self._lock:
            if not self._closed:
                self._closed = True
                for _ in self._threads:
                    self._jobs.put(None)
        end = time.monotonic() + within
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _put(self, job: _Job) -> None:
        with self._lock:
            if self._closed:
                job.leave()
                raise Busy("the service is about to end")
            self._under_way += 1
            if self._under_way > len(self._threads) < self._most:
                name = f"{self._name}-{len(self._threads)}"
                thread = threading.Thread(target=self._serve, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
            self._jobs.put(job)

    def _serve(self) -> None:
        while self._served(self._jobs.get()):
            pass  # nothing of a job is held while none is there: it may hold a model

    def _served(self, job: _Job | None) -> bool:
        if job is None:
            return False
        try:
            job.run()
        finally:
            with self._lock:
                self._under_way -= 1
            job.leave()
        return True


class Share:
    """A part of the threads that several users have together: whoever hangs takes no more than this part.

    Args:
        workers: the threads.
        most: places of them, at work and waiting.
    """

    def __init__(self, workers: Workers, most: int) -> None:
        self._workers, self._room = workers, threading.BoundedSemaphore(most)

    async def run(self, work: Callable[[], T], *, within: float | None = None) -> T:
        """Return what `work` returns; see `Workers.run`."""
        return await self._workers._run(work, within, (self._room, self._workers._room))
