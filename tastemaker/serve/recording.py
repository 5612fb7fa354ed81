"""What goes into the store beside requests: events, durable before they are acknowledged, and what lists showed."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from tastemaker.errors import DataError, TastemakerError
from tastemaker.serve.engine.names import nfc
from tastemaker.store.errors import StoreError
from tastemaker.store.records import Arrangement, Impression

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from tastemaker.serve.engine.asks import Answer
    from tastemaker.serve.engine.engine import Engine
    from tastemaker.serve.engine.workers import Workers
    from tastemaker.store.records import AuditLine, Event, Status
    from tastemaker.store.store import Store

T = TypeVar("T")
log = logging.getLogger("tastemaker.serve")
GATHER = 0.001
"""Seconds for which events are gathered before they go to the store together."""
FLUSH = 0.25
"""Seconds after which what lists showed goes to the store."""
MOST_TRACES = 20_000
OWN = 20_000
"""Ids of own events that are remembered, where other processes write to the store too."""


class Events:
    """Stores the events of one shop, and tells its engine before it acknowledges them.

    Args:
        store: the store.
        tenant: the shop.
        engine: what must know of them with the next answer.

    Attributes:
        own: ids of the newest events that were stored here, so that they need not be looked for in the store.
    """

    def __init__(self, store: Store, tenant: str, engine: Engine) -> None:
        self._store, self._tenant, self._engine = store, tenant, engine
        self.own: dict[str, None] = {}
        self._waiting: list[tuple[Sequence[Event], asyncio.Future[list[Status]]]] = []

    async def put(self, events: Sequence[Event]) -> list[Status]:
        """Return what became of each event, once all are on disk and part of the next answer.

        Raises:
            DataError: one cannot be stored.
            StoreError: they could not be stored; sending them again is safe.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Status]] = loop.create_future()
        if not self._waiting:
            loop.call_later(GATHER, self._send)
        self._waiting.append((events, future))
        return await future

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        together = [event for events, _ in waiting for event in events]
        loop = asyncio.get_running_loop()
        try:
            stored = self._store.submit_events(self._tenant, together)
        except DataError as error:
            self._apart(waiting, error)
        except Exception as error:  # whatever it is, nobody may wait for ever
            self._fail(waiting, error)
        else:
            stored.add_done_callback(lambda done: _soon(loop, lambda: self._done(waiting, together, done)))

    def _apart(self, waiting: list[tuple[Sequence[Event], asyncio.Future[list[Status]]]], error: DataError) -> None:
        """Send each caller's events for themselves: one of them holds what cannot be stored."""
        if len(waiting) == 1:
            self._fail(waiting, error)
            return
        for one in waiting:
            self._waiting = [one]
            self._send()

    def _done(
        self,
        waiting: list[tuple[Sequence[Event], asyncio.Future[list[Status]]]],
        together: Sequence[Event],
        done: Future[list[Status]],
    ) -> None:
        error = done.exception()
        if error is not None:
            self._fail(waiting, error)
            return
        statuses = done.result()
        by_user: dict[str, list[tuple[str, str, int]]] = {}
        for event, status in zip(together, statuses, strict=True):
            if status == "accepted":
                by_user.setdefault(event.user_id, []).append((event.item_id, event.event_type, event.timestamp))
                if not self._store.exclusive:
                    self.own[event.event_id] = None
        for event_id in list(islice(self.own, max(0, len(self.own) - OWN))):
            del self.own[event_id]
        for user_id, events in by_user.items():
            self._engine.shoppers.happened(user_id, events)
        start = 0
        for own, future in waiting:
            if not future.done():
                future.set_result(statuses[start : start + len(own)])
            start += len(own)

    @staticmethod
    def _fail(waiting: list[tuple[Sequence[Event], asyncio.Future[list[Status]]]], error: BaseException) -> None:
        for _, future in waiting:
            if not future.done():
                future.set_exception(error)


class Traces:
    """Gathers what lists showed and what rules did, and stores it now and then; too much is dropped, and counted.

    Args:
        store: the store.
        workers: threads that write.
        keep: newest lists of each shop of which it is kept what rules did.

    Attributes:
        dropped: lists of which nothing was stored.
    """

    def __init__(self, store: Store, workers: Workers, *, keep: int = 20_000) -> None:
        self._store, self._workers, self._keep = store, workers, keep
        self._arranged: dict[str, list[Arrangement]] = {}
        self._impressions: dict[str, list[Impression]] = {}
        self._audit: list[tuple[str, AuditLine]] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._flushing = asyncio.Lock()
        self.dropped = 0

    def list(self, tenant: str, user_id: str | None, answer: Answer) -> None:
        """Note a list."""
        if self._count >= MOST_TRACES:
            self.dropped += 1
            return
        self._count += 1
        now = time.time_ns() // 1_000_000
        self._impressions.setdefault(tenant, []).append(
            Impression(
                answer.request_id,
                now,
                user_id,
                answer.experiment,
                answer.variant,
                answer.model_version,
                answer.strategy,
                tuple(nfc(answer.shelf.id_of(one.number)) for one in answer.items),
                answer.propensities,
                bool(answer.degraded),
            )
        )
        if answer.arranged:
            done = Arrangement(answer.request_id, now, tuple(answer.arranged))
            self._arranged.setdefault(tenant, []).append(done)
        self._later()

    def audit(self, tenant: str, line: AuditLine) -> None:
        """Note who did what."""
        self._audit.append((tenant, line))
        self._later()

    async def flush(self) -> None:
        """Store what was gathered; what is being stored already is waited for."""
        async with self._flushing:
            await self._write()

    async def _write(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        impressions, self._impressions = self._impressions, {}
        arranged, self._arranged = self._arranged, {}
        audit, self._audit, self._count = self._audit, [], 0

        def write() -> None:
            for tenant, line in audit:
                self._try(partial(self._store.add_audit, tenant, line), 0)
            for tenant, lists in arranged.items():
                self._try_all(partial(self._store.add_arrangements, tenant, keep=self._keep), lists)
            for tenant, own in impressions.items():
                self._try_all(partial(self._store.submit_impressions, tenant), own)

        try:
            await self._workers.run(write)
        except TastemakerError as error:
            log.warning("what lists showed could not be stored: %s", type(error).__name__)
            self.dropped += sum(len(own) for own in impressions.values())

    def _try(self, store: Callable[[], bool], lists: int) -> None:
        """Store something; what cannot be stored keeps nothing else out."""
        try:
            if not store():
                self.dropped += lists
        except (StoreError, DataError) as error:
            log.warning("a trace could not be stored: %s", type(error).__name__)
            self.dropped += lists

    def _try_all(self, store: Callable[[Sequence[T]], bool], rows: Sequence[T]) -> None:
        """Store rows together; where one cannot be stored, each for itself."""
        try:
            if not store(rows):
                self.dropped += len(rows)
        except DataError:
            for row in rows:
                self._try(partial(store, [row]), 1)
        except StoreError as error:
            log.warning("traces could not be stored: %s", type(error).__name__)
            self.dropped += len(rows)

    def _later(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(FLUSH, lambda: _keep(loop.create_task(self._flush_now())))

    async def _flush_now(self) -> None:
        self._timer = None
        await self.flush()


_TASKS: set[asyncio.Task[None]] = set()


def _keep(task: asyncio.Task[None]) -> None:
    """Hold a task until it is done: the event loop does not."""
    _TASKS.add(task)
    task.add_done_callback(_TASKS.discard)


def _soon(loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(work)
    except RuntimeError:  # the loop is closed: nobody waits
        return
