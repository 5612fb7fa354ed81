"""The words of SQLite and PostgreSQL, turned into errors of ours."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tastemaker.store.errors import StoreBusy, StoreCorrupt, StoreError, StoreFull, StoreReadOnly

if TYPE_CHECKING:
    from collections.abc import Iterator

FULL = "the disk takes no more ({reason}); nothing of this was written, reads go on: make room, then send it again"
CORRUPT = "damaged ({reason}); what is intact can still be read: run `tastemaker db check`, restore a backup"
READ_ONLY = "may be read but not written ({reason}); check the rights of the file and its folder"
BUSY = "held by another process ({reason}); try again"
AWAY = "cannot be reached ({reason}); check the address and whether the server runs"

_SQLITE: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_FULL: (StoreFull, FULL),
    sqlite3.SQLITE_IOERR_WRITE: (StoreFull, FULL),
    sqlite3.SQLITE_IOERR_FSYNC: (StoreFull, FULL),
    sqlite3.SQLITE_IOERR_TRUNCATE: (StoreFull, FULL),
    sqlite3.SQLITE_IOERR_SHMSIZE: (StoreFull, FULL),
    sqlite3.SQLITE_CORRUPT: (StoreCorrupt, CORRUPT),
    sqlite3.SQLITE_NOTADB: (StoreCorrupt, CORRUPT),
    sqlite3.SQLITE_IOERR_SHORT_READ: (StoreCorrupt, CORRUPT),
    sqlite3.SQLITE_READONLY: (StoreReadOnly, READ_ONLY),
    sqlite3.SQLITE_PERM: (StoreReadOnly, READ_ONLY),
    sqlite3.SQLITE_CANTOPEN: (StoreReadOnly, READ_ONLY),
    sqlite3.SQLITE_BUSY: (StoreBusy, BUSY),
    sqlite3.SQLITE_LOCKED: (StoreBusy, BUSY),
}
"""Result code of SQLite, the extended one where it is there -> our error and its words."""

_POSTGRESQL: dict[str, tuple[type[StoreError], str]] = {
    "53100": (StoreFull, FULL),
    "53200": (StoreBusy, BUSY),
    "53300": (StoreBusy, BUSY),
    "XX001": (StoreCorrupt, CORRUPT),
    "XX002": (StoreCorrupt, CORRUPT),
    "25006": (StoreReadOnly, READ_ONLY),
    "42501": (StoreReadOnly, READ_ONLY),
    "55P03": (StoreBusy, BUSY),
    "40P01": (StoreBusy, BUSY),
    "40001": (StoreBusy, BUSY),
}
"""SQLSTATE of PostgreSQL -> our error and its words."""


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Turn what the database complains about into a `StoreError` that names the store.

    A statement that is wrong in itself (a bug) keeps its own exception.
    """
    try:
        yield
    except DBAPIError as error:
        raise translation(error, place) or error from error
    except PoolTimeout as error:
        raise StoreBusy(f"{place}: too many readers at once; try again") from error
    except sqlite3.Error as error:
        raise _of_sqlite(error, place) or error from error


def translation(error: DBAPIError, place: str) -> StoreError | None:
    """Return our error for one of the database, or None where it is a bug."""
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return _of_sqlite(cause, place)
    reason = " ".join(str(cause).split())
    known = _POSTGRESQL.get(getattr(cause, "sqlstate", None) or "")
    if known is not None:
        kind, words = known
        return kind(f"{place}: {words.format(reason=reason)}")
    if error.connection_invalidated or isinstance(error, OperationalError | InterfaceError):
        return StoreError(f"{place}: {AWAY.format(reason=reason)}")
    return None


def _of_sqlite(error: sqlite3.Error, place: str) -> StoreError | None:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    known = _SQLITE.get(code) or _SQLITE.get(code & 0xFF)
    if known is None:
        if not isinstance(error, sqlite3.OperationalError) or code & 0xFF == sqlite3.SQLITE_ERROR:
            return None
        return StoreError(f"{place}: {error}")
    kind, words = known
    return kind(f"{place}: {words.format(reason=error)}")
