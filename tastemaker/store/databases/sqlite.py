"""A store in one SQLite file: WAL, synced at each commit, one process that writes, deleted bytes overwritten."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from sqlalchemy import QueuePool, create_engine, event

from tastemaker.store.databases import remains, wal_reset
from tastemaker.store.databases.database import Database
from tastemaker.store.databases.faults import translated
from tastemaker.store.databases.lock import WriterLock
from tastemaker.store.errors import MAKE, StoreBusy, StoreCorrupt, StoreError, StoreMissing, StoreReadOnly
from tastemaker.store.records import Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sqlalchemy import Connection, Engine

    from tastemaker.store.databases.database import Alone

APPLICATION = 0x54_4D_53_31
"""Marks the file as a store of ours: "TMS1"."""
MAGIC = b"SQLite format 3\0"
OLDEST = (3, 35, 0)
"""The first SQLite with RETURNING."""
PATIENCE = 5.0
"""Seconds to wait for a lock that another process holds."""
WAL_ROWS = 10_000
"""Rows written from which the WAL is copied into the file between two commits; so fewer than 1 in 100 waits for it."""
WAL_BYTES = 67_108_864
"""Growth of the WAL from which it is, whatever the number of rows."""
LOOK = 16
"""Commits between two looks at the size of the WAL."""
WAL_KEPT = 134_217_728
"""Size to which a larger WAL shrinks once it starts anew."""
SEARCHED = 4_096
"""Pages that are searched for remains before others may write again."""
UNWRITABLE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
"""Result codes of opening a file in WAL mode in a folder that cannot be written."""
LEAST_ROOM = 268_435_456
"""Free bytes on the disk below which room is scarce."""


class SqliteDatabase(Database):
    """One SQLite file.

    Args:
        path: the file.
        create: make it where it is missing.
        read_only: never write; needs no lock, so it goes beside a process that writes.

    Raises:
        StoreBusy: another process writes to it.
        StoreReadOnly: it cannot be written, and `read_only` was not asked for.
        StoreMissing: there is none, and none is to be made.
        StoreError: it is no store of ours, or this SQLite is too old.
    """

    exclusive = True

    def __init__(self, path: Path, *, create: bool, read_only: bool) -> None:
        self.path = path
        place = str(path)
        if sqlite3.sqlite_version_info < OLDEST:
            raise StoreError(f"{place}: SQLite {sqlite3.sqlite_version} is too old; a store needs 3.35 or newer")
        if not path.is_file():
            if path.exists():
                raise StoreError(f"{place}: not a file")
            if read_only or not create:
                raise StoreMissing(f"{place}: there is no such store; {MAKE}")
        elif not _is_sqlite(path):
            raise StoreError(f"{place}: no SQLite database, so no store; name another file, or restore a backup")
        writing = None if read_only else _engine(self._connect_writing, size=1)
        if writing is not None:
            event.listen(writing, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        super().__init__(place, writing, _engine(self._connect_reading, size=16))
        self._wal = path.with_name(f"{path.name}-wal")
        self._wal_size = self._uncopied = self._unlooked = 0
        self._unchanging = False
        self._lock = None if read_only else self._make(place)
        self._file = path.open("rb")  # closed last: see `remains.found`
        try:
            self._recognise(create=create)
        except BaseException:
            self.close()
            raise

    def _make(self, place: str) -> WriterLock:
        """Make folder and file where they are missing, readable for this user only, and take the lock."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreReadOnly(f"{place}: its folder cannot be made: {error.strerror}") from error
        lock = WriterLock(self.path.with_name(f"{self.path.name}.lock"), place)
        try:
            if not os.access(self.path if self.path.exists() else self.path.parent, os.W_OK):
                raise StoreReadOnly(f"{place}: cannot be written; check its rights, or open it for reading")
            self.path.touch(mode=0o600)
        except OSError as error:
            lock.release()
            raise StoreReadOnly(f"{place}: cannot be written: {error.strerror}; or open it for reading") from error
        except StoreReadOnly:
            lock.release()
            raise
        return lock

    def _recognise(self, *, create: bool) -> None:
        """Mark a new file as ours, and refuse another program's."""
        with translated(self.place):
            with self.read() as connection:
                mark = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
                tables = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
            if mark == APPLICATION:
                return
            if not mark and not tables and (self.read_only or not create):
                raise StoreMissing(f"{self.place}: an empty database, no store; {MAKE}")
            if mark or tables:
                raise StoreError(f"{self.place}: not a store of tastemaker; name another file")
            with self._alone() as connection:
                connection.execute(f"PRAGMA application_id = {APPLICATION}")

    def _connect_writing(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            for setting in (
                "journal_mode = WAL",
                "synchronous = FULL",
                "foreign_keys = ON",
                "secure_delete = ON",
                "wal_autocheckpoint = 0",  # `tidy` does it after the callers were told
                f"journal_size_limit = {WAL_KEPT}",
                "cache_size = -32768",
            ):
                connection.execute(f"PRAGMA {setting}").fetchall()
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect_reading(self) -> sqlite3.Connection:
        if self._unchanging:
            return self._connect_by("immutable=1")
        try:
            return self._connect_by("mode=ro")
        except sqlite3.OperationalError as error:
            if not self.read_only or error.sqlite_errorcode & 0xFF not in UNWRITABLE:
                raise
            if self._wal.exists() and self._wal.stat().st_size:
                raise StoreReadOnly(
                    f"{self.place}: its folder cannot be written and commits wait in {self._wal.name}; copy the "
                    "folder to a place that can be written, and open it there"
                ) from error
        self._unchanging = True  # the folder cannot hold the WAL's index, and no commit waits in a WAL
        return self._connect_by("immutable=1")

    def _connect_by(self, mode: str) -> sqlite3.Connection:
        address = f"file:{quote(str(self.path.absolute()))}?{mode}"
        connection = sqlite3.connect(address, uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA query_only = ON").fetchall()
            connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Give a connection for reading on which all statements see the same state."""
        with self.read() as connection:
            connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                connection.exec_driver_sql("ROLLBACK")

    def hold(self, connection: Connection) -> None:
        """Do nothing: BEGIN IMMEDIATE keeps others away, and the lock keeps other processes away."""

    def tidy(self, rows: int) -> None:
        """Copy the WAL into the file once enough was written; then it starts anew, as soon as no reader needs it.

        The WAL's file keeps its size: a sync is cheaper where the file does not grow. Where room is scarce it is copied
        more often, so that it does not fill the disk long before the rows do.
        """
        self._uncopied += rows
        self._unlooked += 1
        if self._uncopied < WAL_ROWS and self._unlooked < LOOK:
            return
        self._unlooked = 0
        size = self._wal.stat().st_size
        scarce = shutil.disk_usage(self.path.parent).free < LEAST_ROOM
        if scarce or self._uncopied >= WAL_ROWS or size >= self._wal_size + WAL_BYTES:
            with translated(self.place), self._alone() as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._uncopied, self._wal_size = 0, size

    def scrub(self, user_id: str, texts: Collection[str], alone: Alone) -> str:
        """Empty the WAL, then look for the texts in the unused parts of pages; where one is found, write all anew.

        SQLite overwrites deleted rows (secure_delete), but a page that was split earlier can keep an old copy in a
        gap between its rows. An id too short to look for has all written anew at once. Others may write between two
        parts of the search; that brings nothing of the shopper back.
        """
        alone(self._empty_wal)
        words = {text.encode() for text in (user_id, *texts)}
        parts = (range(first, first + SEARCHED) for first in range(0, remains.count(self._file), SEARCHED))
        if len(user_id.encode()) >= remains.LEAST and not any(
            alone(partial(remains.found, self._file, words, part)) for part in parts
        ):
            return "overwritten in place (secure_delete), WAL emptied, gaps in pages searched"
        self.compact(alone)
        return "all pages written anew (VACUUM), WAL emptied"

    def compact(self, alone: Alone) -> None:
        """Write the file anew, and empty the WAL; writers wait."""
        alone(self._vacuum)

    def _vacuum(self) -> None:
        with translated(self.place), self._alone() as connection:
            connection.execute("VACUUM")
        self._empty_wal()

    def _empty_wal(self) -> None:
        end = time.monotonic() + PATIENCE
        with translated(self.place), self._alone() as connection:
            while True:
                [[busy, *_]] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                if not busy:
                    return
                if time.monotonic() > end:
                    raise StoreBusy(
                        f"{self.place}: a reader keeps old rows alive in the WAL; end long exports, then ask again"
                    )
                time.sleep(0.02)

    def backup(self, path: Path) -> None:
        """Write a compact copy: one consistent state, nothing of deleted rows; whole or not at all."""
        if path.exists():
            raise StoreError(f"{path}: exists; name a new file")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
                draft = Path(folder) / "backup"
                with translated(self.place), self.reading.connect() as connection:
                    connection.exec_driver_sql("PRAGMA query_only = OFF")
                    try:
                        connection.exec_driver_sql("VACUUM INTO ?", (str(draft),))
                    finally:
                        connection.exec_driver_sql("PRAGMA query_only = ON")
                draft.chmod(0o600)
                sync(draft)
                os.link(draft, path)
                sync(path.parent)
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error.strerror}; name another place") from error

    def problems(self, *, deep: bool) -> list[Problem]:
        """Return what SQLite's own check finds, the WAL-reset fault, and whether the disk has room."""
        found = [Problem("WAL-reset fault", "note", wal_reset.verdict())]
        check = "integrity_check" if deep else "quick_check"
        cure = "restore a backup (tastemaker db restore), or export what can be read"
        try:
            with self.read() as connection:
                rows = connection.exec_driver_sql(f"PRAGMA {check}(20)").scalars().all()
            found += [Problem("integrity", "fault", str(row), cure) for row in rows if row != "ok"]
        except StoreCorrupt as error:
            found.append(Problem("integrity", "fault", str(error), cure))
        room = shutil.disk_usage(self.path.parent).free
        if room < max(LEAST_ROOM, self.path.stat().st_size):
            found.append(
                Problem("disk", "warning", f"{room // 2**20:,} MiB free; a rewrite needs as much as the store",
                        "make room")
            )  # fmt: skip
        if self.path.stat().st_mode & 0o077:
            found.append(
                Problem("rights", "warning", "others can read the file", f"chmod 600 {self.path.name}*")
            )  # fmt: skip
        return found

    def close(self) -> None:
        """Close all connections, leaving one file without a WAL, and free the lock."""
        super().close()
        self._file.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @contextmanager
    def _alone(self) -> Iterator[sqlite3.Connection]:
        """Give the writing connection outside of any transaction."""
        pooled = self.writing.raw_connection()
        try:
            driver = pooled.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            yield driver
        finally:
            pooled.close()


def _is_sqlite(path: Path) -> bool:
    """Say whether a file is an empty one, or begins as SQLite's do; one that cannot be read is left to SQLite."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) in (b"", MAGIC)
    except OSError:
        return True


def _engine(connect: object, *, size: int) -> Engine:
    return create_engine(
        "sqlite+pysqlite://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0 if size == 1 else 3 * size,
        pool_timeout=PATIENCE,
    )


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, written to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
