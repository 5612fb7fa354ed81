"""Work that goes on behind a request: who asked can look how it goes."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import TYPE_CHECKING, Any

from tastemaker.errors import TastemakerError
from tastemaker.store.errors import StoreError
from tastemaker.store.records import Job

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tastemaker.serve.engine.workers import Workers
    from tastemaker.store.store import Store

log = logging.getLogger("tastemaker.serve")
KEPT = 1000


class Jobs:
    """Runs jobs and remembers how they went, in the store too where there is one.

    Args:
        store: None where nothing is stored.
        workers: threads that write.
    """

    def __init__(self, store: Store | None, workers: Workers) -> None:
        self._store, self._workers = store, workers
        self._known: dict[tuple[str, str], Job] = {}
        self._tasks: set[asyncio.Task[Exception | None]] = set()

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
        now = time.time_ns() // 1_000_000
        job = Job(uuid.uuid4().hex, kind, "running", created_at=now, updated_at=now)
        await self._note(tenant, job)
        task = asyncio.get_running_loop().create_task(self._run(tenant, job, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait([task], timeout=wait)
        if task.done() and (failure := task.result()) is not None:
            raise failure
        return self._known[(tenant, job.job_id)]

    async def get(self, tenant: str, job_id: str) -> Job | None:
        """Return a job of a shop, None where there is none."""
        known = self._known.get((tenant, job_id))
        store = self._store
        if known is None and store is not None:
            return await self._workers.run(lambda: store.get_job(tenant, job_id))
        return known

    async def _run(self, tenant: str, job: Job, work: Callable[[], Awaitable[Any]]) -> Exception | None:
        result, error = None, None
        failure: Exception | None = None
        try:
            result = await work()
        except TastemakerError as known:
            failure, error = known, str(known)
        except Exception as unknown:
            log.exception("job %s (%s) failed", job.job_id, job.kind)
            failure, error = unknown, type(unknown).__name__
        now = time.time_ns() // 1_000_000
        state = "done" if error is None else "failed"
        await self._note(tenant, Job(job.job_id, job.kind, state, 1.0, result, error, job.created_at, now))
        return failure

    async def _note(self, tenant: str, job: Job) -> None:
        self._known[(tenant, job.job_id)] = job
        while len(self._known) > KEPT:
            self._known.pop(next(iter(self._known)))
        store = self._store
        if store is not None:
            try:
                await self._workers.run(lambda: store.put_job(tenant, job))
            except StoreError as error:
                log.warning("job %s could not be noted: %s", job.job_id, type(error).__name__)
