"""What the store asks of a database; SQLite and PostgreSQL each give it in a file of their own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

from tastemaker.store.databases.claims import Claim
from tastemaker.store.databases.faults import translated
from tastemaker.store.errors import StoreError, StoreReadOnly
from tastemaker.store.health import Health

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sqlalchemy import Connection, Engine

    from tastemaker.store.records import Problem

T = TypeVar("T")


class Alone(Protocol):
    """Runs a task in the writer's thread, while nothing is written."""

    def __call__(self, task: Callable[[], T], /) -> T:
        """Wait for the task, and return what it does."""


class Database(ABC):
    """One database, with a single writing connection and a pool of reading ones.

    Args:
        place: how messages call it; without a password.
        writing: None where it is open for reading only.
        reading: connections that cannot write; each statement sees the newest commit.

    Attributes:
        health: how the last write and the last read went.

    Class attributes:
        exclusive: whether no other process can write while this one has it open for writing.
    """

    exclusive: ClassVar[bool] = False

    def __init__(self, place: str, writing: Engine | None, reading: Engine) -> None:
        self.place = place
        self.reading = reading
        self._writing = writing
        self.health = Health()

    @property
    def writing(self) -> Engine:
        """The engine that writes.

        Raises:
            StoreReadOnly: it is open for reading only.
        """
        if self._writing is None:
            raise StoreReadOnly(f"{self.place}: opened for reading only")
        return self._writing

    @property
    def read_only(self) -> bool:
        """Whether it is open for reading only."""
        return self._writing is None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection for reading."""
        try:
            with translated(self.place), self.reading.connect() as connection:
                yield connection
        except StoreError as error:
            self.health.failed("reading", error)
            raise
        self.health.went_well("reading")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give the writing connection for one transaction; it is on disk when the block ends."""
        with translated(self.place), self.writing.connect() as connection, connection.begin():
            self.hold(connection)
            yield connection

    def claim(self, kind: str, tenant: str, names: Collection[str]) -> Claim:
        """Claim names that no other process has claimed; where no other process can write, all of them are free.

        Args:
            kind: of work.
            tenant: whose names they are.
            names: what is worked on.
        """
        del kind, tenant
        return Claim(names)

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[Connection]:
        """Give a connection for reading on which all statements see the same state."""

    @abstractmethod
    def hold(self, connection: Connection) -> None:
        """Keep others from writing until the transaction ends, so that numbers appear in the order they are given."""

    @abstractmethod
    def tidy(self, rows: int) -> None:
        """Do what is due after `rows` were written; called in the writer's thread after the callers were told."""

    @abstractmethod
    def scrub(self, user_id: str, texts: Collection[str], alone: Alone) -> str:
        """Make deleted rows unreadable on disk, too; return how, in words. Called in the thread of who asked.

        Args:
            user_id: whose rows were deleted.
            texts: what else they said.
            alone: runs a task in the writer's thread, while nothing is written.

        Raises:
            StoreBusy: a reader keeps the old state alive; the rows are deleted, asking again ends the work.
        """

    @abstractmethod
    def compact(self, alone: Alone) -> None:
        """Write all tables anew, so that nothing of deleted rows is left in their pages."""

    @abstractmethod
    def backup(self, path: Path) -> None:
        """Write a consistent copy while others write."""

    @abstractmethod
    def problems(self, *, deep: bool) -> list[Problem]:
        """Return what is wrong, or worth a note, with the database itself."""

    def close(self) -> None:
        """Close all connections."""
        self.reading.dispose()
        if self._writing is not None:
            self._writing.dispose()
