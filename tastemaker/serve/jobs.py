"""Work that goes on behind a request: who asked can look how it goes."""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tastemaker.errors import TastemakerError
from tastemaker.store.errors import StoreError
from tastemaker.store.parts.settings import UNDER_WAY
from tastemaker.store.records import Job, now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tastemaker.serve.engine.workers import Workers
    from tastemaker.store.store import Store

log = logging.getLogger("tastemaker.serve")
KEPT = 1000
BEAT = 15.0
"""Seconds between two signs of life of jobs in a store that other processes write to as well."""
LEASE = 120.0
"""Seconds without one after which a job counts as lost; clocks of machines may differ by the rest."""
LOST = "the process that was at it ended before it was done; begin it again"
STOPPED = "the service was stopped before it was done; begin it again"


class Jobs:
    """Runs jobs and remembers how they went, in the store too where there is one.

    A job whose process died is marked failed: by the next start where no other process can write to the store, else
    once there was no sign of life for `LEASE` seconds, by a start or by whoever asks for it.

    Args:
        store: None where nothing is stored.
        workers: threads that write.
    """

    def __init__(self, store: Store | None, workers: Workers) -> None:
        self._store, self._workers = store, workers
        self._known: dict[tuple[str, str], Job] = {}
        self._tasks: dict[asyncio.Task[Exception | None], tuple[str, str]] = {}
        self._beating: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Mark failed what an earlier process left under way."""
        if self._store is None:
            return
        try:
            count = await self._fail_lost(self._store)
        except Exception as error:  # a store in trouble keeps nobody from answers
            log.warning("jobs of an earlier process are left as they are: %s", type(error).__name__)
        else:
            if count:
                log.warning("%d jobs were under way when their process ended, and are marked failed", count)

    async def close(self) -> None:
        """End all jobs, and note that they failed."""
        ending = [*self._tasks, *([] if self._beating is None else [self._beating])]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    async def begin(self, tenant: str, kind: str, work: Callable[[], Awaitable[Any]], *, wait: float = 0.0) -> Job:
        """Begin a job, and wait a while for its end.

        Args:
            tenant: the shop.
            kind: what it does.
            work: does it; what it returns, JSON values, is its result.
            wait: seconds.

        Raises:
            Exception: what the work raised, if it failed while it was waited for; the job tells it as well.
        """
        stamp = now()
        job = Job(uuid.uuid4().hex, kind, "running", created_at=stamp, updated_at=stamp)
        await self._note(tenant, job)
        task = asyncio.get_running_loop().create_task(self._run(tenant, job, work))
        self._tasks[task] = (tenant, job.job_id)
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        if self._beating is None and self._store is not None and not self._store.exclusive:
            self._beating = asyncio.get_running_loop().create_task(self._beat(self._store))
        await asyncio.wait([task], timeout=wait)
        if task.done() and (failure := task.result()) is not None:
            raise failure
        return self._known[(tenant, job.job_id)]

    async def get(self, tenant: str, job_id: str) -> Job | None:
        """Return a job of a shop, None where there is none."""
        known, store = self._known.get((tenant, job_id)), self._store
        if known is not None or store is None:
            return known
        found = await self._workers.run(lambda: store.get_job(tenant, job_id))
        if found is not None and found.state in UNDER_WAY and found.updated_at < _latest():
            await self._fail_lost(store)
            found = await self._workers.run(lambda: store.get_job(tenant, job_id))
        return found

    async def _fail_lost(self, store: Store) -> int:
        return await self._workers.run(lambda: store.fail_jobs(LOST, before=None if store.exclusive else _latest()))

    async def _beat(self, store: Store) -> None:
        """Give a sign of life of all jobs now and then."""
        while self._tasks:
            await asyncio.sleep(BEAT)
            try:
                await self._workers.run(partial(store.touch_jobs, list(self._tasks.values())))
            except Exception as error:  # such as a store that is away; the next time may go well
                log.warning("jobs under way could not be noted: %s", type(error).__name__)
        self._beating = None

    async def _run(self, tenant: str, job: Job, work: Callable[[], Awaitable[Any]]) -> Exception | None:
        result, error = None, None
        failure: Exception | None = None
        try:
            result = await work()
        except asyncio.CancelledError:
            await self._note(tenant, replace(job, state="failed", error=STOPPED, updated_at=now()))
            raise
        except TastemakerError as known:
            failure, error = known, str(known)
        except Exception as unknown:
            log.exception("job %s (%s) failed", job.job_id, job.kind)
            failure, error = unknown, type(unknown).__name__
        state = "done" if error is None else "failed"
        await self._note(tenant, replace(job, state=state, progress=1.0, result=result, error=error, updated_at=now()))
        return failure

    async def _note(self, tenant: str, job: Job) -> None:
        self._known[(tenant, job.job_id)] = job
        if len(self._known) > KEPT:
            over = next((key for key, one in self._known.items() if one.state not in UNDER_WAY), None)
            self._known.pop(over or (tenant, job.job_id))
        store = self._store
        if store is not None:
            try:
                await self._workers.run(lambda: store.put_job(tenant, job))
            except StoreError as error:
                log.warning("job %s could not be noted: %s", job.job_id, type(error).__name__)


def _latest() -> int:
    """Return the time before which the last sign of life of a lost job lies, in milliseconds."""
    return now() - int(1000 * LEASE)
