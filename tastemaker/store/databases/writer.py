"""One thread that writes: it takes all that waits, commits it at once, and tells each caller when it is on disk.

While one commit waits for the disk the next group gathers (group commit), so many callers share one sync.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from tastemaker.store.databases.faults import translated
from tastemaker.store.errors import StoreBusy, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from tastemaker.store.databases.database import Database

    Work = Callable[[Connection, list[Any]], list[Any]]


@dataclass(slots=True)
class _Waiting:
    """Something to write: `work` is called once with the payloads of neighbours that share it."""

    work: Work | None  # None: `payload` is a task that makes its own transactions
    payload: Any
    weight: int
    future: Future[Any] | None  # None: nobody waits


class Writer:
    """Writes what is submitted, in the order in which it came.

    Args:
        database: that it writes to.
        capacity: rows that may wait; beyond that callers are turned away.
        group: rows in one commit, about.
        patience: seconds that writes nobody waits for may lie, so that they share a commit.
    """

    def __init__(
        self, database: Database, *, capacity: int = 50_000, group: int = 5_000, patience: float = 0.2
    ) -> None:
        self._database = database
        self._capacity, self._group, self._patience = capacity, group, patience
        self._queue: deque[_Waiting] = deque()
        self._weight = 0  # of all that waits
        self._urgent = 0  # waiting writes that somebody waits for
        self._oldest = 0.0  # when the first of the others came
        self._rate = 10_000.0  # rows a second, smoothed
        self._changed = threading.Condition()
        self._closing = False
        self.lost = 0  # writes nobody waited for that failed, or found the queue full
        self._thread = threading.Thread(target=self._run, name="tastemaker-store-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work | None, payload: object, *, weight: int = 1) -> Future[Any]:
        """Write something; the future is done when it is on disk, or tells why not.

        Args:
            work: called in the writer's thread with its connection and the payloads of all neighbours in the queue
                that share it; returns an outcome for each. None: `payload` is called, outside of any transaction.
            payload: what to write; valid, because a fault in one payload fails its neighbours too.
            weight: rows.

        Raises:
            StoreBusy: too many rows wait.
            StoreError: the store is closed.
        """
        future: Future[Any] = Future()
        with self._changed:
            self._admit(weight)
            self._put(_Waiting(work, payload, weight, future))
            self._urgent += 1
            self._changed.notify()
        return future

    def buffer(self, work: Work, payload: object, *, weight: int = 1) -> bool:
        """Write something soon; return whether there was room. What is not yet on disk is lost with the process."""
        with self._changed:
            try:
                self._admit(weight)
            except StoreError:
                self.lost += 1
                return False
            if self._urgent == len(self._queue):
                self._oldest = time.monotonic()
                self._changed.notify()
            self._put(_Waiting(work, payload, weight, None))
        return True

    def _admit(self, weight: int) -> None:
        if self._closing:
            raise StoreError(f"{self._database.place}: closed; open it again")
        if self._weight and self._weight + weight > self._capacity:
            wait = min(max(self._weight / self._rate, 0.05), 30.0)
            raise StoreBusy(
                f"{self._database.place}: {self._weight:,} rows wait to be written; send less at once, or try again "
                f"in {wait:.1f} s",
                wait,
            )

    def _put(self, waiting: _Waiting) -> None:
        self._queue.append(waiting)
        self._weight += waiting.weight

    def close(self) -> None:
        """Write all that waits, then end; who submits later is refused."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            while group := self._next():
                self._write(group)
        finally:
            with self._changed:
                self._closing = True
                left = list(self._queue)
                self._queue.clear()
            for waiting in left:  # only after a bug: whoever waits must hear of it
                if waiting.future is not None:
                    waiting.future.set_exception(StoreError(f"{self._database.place}: the writer ended; open it again"))

    def _write(self, group: list[_Waiting]) -> None:
        started = time.monotonic()
        weight = 0
        if group[0].work is None:
            _run_alone(group[0])
        else:
            self._commit(group)
            weight = sum(waiting.weight for waiting in group)
            self._rate += 0.1 * (weight / max(time.monotonic() - started, 1e-6) - self._rate)
        with suppress(StoreError, OSError):  # the next commit says what is wrong to somebody who waits
            self._database.tidy(weight)

    def _next(self) -> list[_Waiting]:
        """Wait for something to write and take it; empty at the end."""
        with self._changed:
            while not self._urgent and not self._closing:
                if not self._queue:
                    self._changed.wait()
                elif (left := self._oldest + self._patience - time.monotonic()) > 0:
                    self._changed.wait(left)
                else:
                    break
            group: list[_Waiting] = []
            weight = 0
            while self._queue and weight < self._group:
                if self._queue[0].work is None and group:
                    break
                group.append(self._queue.popleft())
                weight += group[-1].weight
                if group[-1].work is None:
                    break
            self._weight -= weight
            self._urgent -= sum(waiting.future is not None for waiting in group)
            if len(self._queue) > self._urgent:
                self._oldest = time.monotonic()
            return group

    def _commit(self, group: list[_Waiting]) -> None:
        group = [one for one in group if one.future is None or one.future.set_running_or_notify_cancel()]
        runs = [list(run) for _, run in groupby(group, key=lambda waiting: waiting.work)]
        outcomes: list[list[Any] | Exception] = []
        try:
            with self._database.write() as connection:
                outcomes += [self._outcomes(connection, run, alone=len(runs) == 1) for run in runs]
        except Exception as error:  # whatever it is, the callers hear of it and the thread lives on
            outcomes = [error] * len(runs)
        health = self._database.health
        if not all(isinstance(outcome, Exception) for outcome in outcomes):
            health.went_well("writing")
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                health.failed("writing", outcome)
        for run, outcome in zip(runs, outcomes, strict=True):
            self._tell(run, outcome)

    def _outcomes(self, connection: Connection, run: list[_Waiting], *, alone: bool) -> list[Any] | Exception:
        """Do one piece of work for all that share it; where others are in the transaction, a failure stays its own.

        Raises:
            StoreError: the database gave the whole transaction up, as it does where the disk is full.
        """
        work, payloads = run[0].work, [waiting.payload for waiting in run]
        assert work is not None
        if alone:
            return work(connection, payloads)
        point = connection.begin_nested()
        try:
            with translated(self._database.place):
                outcomes = work(connection, payloads)
        except Exception as error:  # told to its callers, after the savepoint is undone
            try:
                point.rollback()
            except DBAPIError:
                raise error from None
            return error
        point.commit()
        return outcomes

    def _tell(self, run: list[_Waiting], outcome: list[Any] | Exception) -> None:
        for place, waiting in enumerate(run):
            if waiting.future is None:
                self.lost += isinstance(outcome, Exception)
            elif isinstance(outcome, Exception):
                waiting.future.set_exception(outcome)
            else:
                waiting.future.set_result(outcome[place])


def _run_alone(waiting: _Waiting) -> None:
    future = waiting.future
    assert future is not None
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(waiting.payload())
    except Exception as error:  # told to the caller; the thread lives on
        future.set_exception(error)
