"""A store in PostgreSQL: the same rows; several processes may write, one transaction after the other."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import NullPool, create_engine, text

from tastemaker.errors import MissingExtra
from tastemaker.store import schema
from tastemaker.store.databases.claims import Claim, number_of
from tastemaker.store.databases.database import Database
from tastemaker.store.databases.faults import translated
from tastemaker.store.errors import StoreError
from tastemaker.store.records import Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import URL, Connection, Engine

    from tastemaker.store.databases.database import Alone

WRITERS = 0x7461_7374_6500
"""Number of the advisory lock that a writing transaction holds."""
ERASED = ("events", "users", "rankings", "impressions", "audit")
"""Tables with rows of shoppers."""
CLAIM = text("SELECT number, pg_try_advisory_lock(number) FROM unnest(CAST(:numbers AS bigint[])) AS wanted (number)")
PATIENCE = 5
"""Seconds to wait for a connection."""


class PostgresqlDatabase(Database):
    """A database on a PostgreSQL server.

    Args:
        url: where it is, with its user.
        read_only: never write.

    Raises:
        StoreError: it cannot be reached, or does not keep text as UTF-8.
        MissingExtra: psycopg is not installed.
    """

    def __init__(self, url: URL, *, read_only: bool) -> None:
        self.url = url.set(drivername="postgresql+psycopg")
        place = url.render_as_string(hide_password=True)
        writing = None if read_only else self._engine(size=1, options="-c synchronous_commit=on")
        reading = self._engine(size=8, options="-c default_transaction_read_only=on")
        super().__init__(place, writing, reading.execution_options(isolation_level="AUTOCOMMIT"))
        own = create_engine(self.url, poolclass=NullPool, connect_args={"connect_timeout": PATIENCE})
        self._maintaining = own.execution_options(isolation_level="AUTOCOMMIT")
        self._snapshots = reading.execution_options(isolation_level="REPEATABLE READ")
        with self.read() as connection:
            encoding = connection.scalar(text("SHOW server_encoding"))
        if encoding != "UTF8":
            raise StoreError(f"{place}: keeps text as {encoding}; make a database with ENCODING 'UTF8'")

    def _engine(self, *, size: int, options: str) -> Engine:
        try:
            return create_engine(
                self.url,
                pool_size=size,
                max_overflow=0 if size == 1 else 3 * size,
                pool_timeout=PATIENCE,
                pool_pre_ping=size > 1,
                connect_args={"options": options, "connect_timeout": PATIENCE, "application_name": "tastemaker"},
            )
        except ModuleNotFoundError as error:
            raise MissingExtra("a store in PostgreSQL", error.name or "psycopg", "postgresql") from error

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Give a connection for reading on which all statements see the same state."""
        with translated(self.place), self._snapshots.connect() as connection:
            yield connection

    def hold(self, connection: Connection) -> None:
        """Take the lock of writers, so that sequence numbers become visible in the order they are given."""
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": WRITERS})

    def claim(self, kind: str, tenant: str, names: Collection[str]) -> Claim:
        """Take advisory locks that belong to a connection of their own: the server frees them with it."""
        numbers = {number_of(kind, tenant, name): name for name in names}
        with translated(self.place):
            connection = self._maintaining.connect()
            try:
                taken = connection.execute(CLAIM, {"numbers": list(numbers)}).all()
            except BaseException:
                connection.close()
                raise
        return Claim([numbers[number] for number, free in taken if free], connection.close)

    def tidy(self, rows: int) -> None:
        """Do nothing: the server does it."""

    def scrub(self, user_id: str, texts: Collection[str], alone: Alone) -> str:
        """Have the server take deleted rows out of its pages; its WAL and free space keep bytes until reused."""
        self._maintain("VACUUM", ERASED)
        return (
            "rows vacuumed; the server's free space and WAL keep bytes until they are used again "
            "(tastemaker db compact rewrites the tables)"
        )

    def compact(self, alone: Alone) -> None:
        """Write all tables anew (VACUUM FULL); writers wait, a table at a time."""
        self._maintain("VACUUM FULL", tuple(schema.metadata.tables))

    def _maintain(self, command: str, tables: Sequence[str]) -> None:
        """Run a command on a connection of its own, outside of a transaction, so that others can write meanwhile."""
        with translated(self.place), self._maintaining.connect() as connection:
            connection.exec_driver_sql(f"{command} {', '.join(tables)}")

    def backup(self, path: Path) -> None:
        """Write a dump in pg_dump's custom format; `pg_restore` reads it."""
        program = shutil.which("pg_dump")
        if program is None:
            raise StoreError(
                f"{self.place}: pg_dump is not installed here; run it beside the server, or write JSON lines with "
                "`tastemaker db export`"
            )
        if path.exists():
            raise StoreError(f"{path}: exists; name a new file")
        address = self.url.set(drivername="postgresql", password=None).render_as_string()
        environment = {**os.environ, **({"PGPASSWORD": str(self.url.password)} if self.url.password else {})}
        done = subprocess.run(
            [program, "--format=custom", f"--file={path}", address],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            path.unlink(missing_ok=True)
            raise StoreError(f"{self.place}: pg_dump failed: {' '.join(done.stderr.split())[:300]}")
        path.chmod(0o600)

    def problems(self, *, deep: bool) -> list[Problem]:
        """Return settings of the server under which an acknowledged event can be lost."""
        found = []
        with self.read() as connection:
            version = connection.scalar(text("SHOW server_version"))
            found.append(Problem("server", "note", f"PostgreSQL {version}"))
            for setting, risk in (
                ("fsync", "a power cut can damage the whole database"),
                ("full_page_writes", "a power cut can damage pages"),
            ):
                if connection.scalar(text(f"SHOW {setting}")) != "on":
                    found.append(Problem(setting, "fault", f"off: {risk}", f"set {setting} = on in postgresql.conf"))
            if deep:
                for table in schema.metadata.tables:
                    connection.execute(text(f"SELECT count(*) FROM (SELECT * FROM {table} OFFSET 0) AS every")).scalar()
        return found
