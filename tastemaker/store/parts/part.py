"""What every part of the store builds on: reading, and writing through the one writer."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from tastemaker.store.errors import StoreReadOnly
from tastemaker.store.fields import check_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection

    from tastemaker.store.databases.database import Database
    from tastemaker.store.databases.writer import Work, Writer

T = TypeVar("T")


class Part:
    """Base of the parts of a store.

    Args:
        database: where the rows are.
        writer: None where the store is open for reading only.
    """

    def __init__(self, database: Database, writer: Writer | None) -> None:
        self._database = database
        self._writer = writer

    def _read(self) -> AbstractContextManager[Connection]:
        return self._database.read()

    def _writing(self) -> Writer:
        if self._writer is None:
            raise StoreReadOnly(f"{self._database.place}: opened for reading only")
        return self._writer

    def _submit(self, work: Work, payload: object, *, weight: int = 1) -> Future[T]:
        """Write without waiting; neighbours in the queue that share `work` become one call of it."""
        return self._writing().submit(work, payload, weight=weight)

    def _write(self, operation: Callable[[Connection], T], *, weight: int = 1) -> T:
        """Write, and wait until it is on disk."""
        future: Future[T] = self._writing().submit(lambda connection, _: [operation(connection)], None, weight=weight)
        return future.result()

    def _alone(self, task: Callable[[], T]) -> T:
        """Run a task in the writer's thread, outside of any transaction, and wait for it."""
        future: Future[T] = self._writing().submit(None, task)
        return future.result()


def check_tenant(tenant: str) -> str:
    """Return a tenant's name that may be stored; errors as in `check_id`."""
    return check_id(tenant, "tenant")
