"""What was computed once, kept on disk: bytes to bytes in one SQLite file that threads and processes share.

Only the user who made a file can read it: what shoppers bought can show in an answer. Keys are hashes, so questions are
not stored.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from tastemaker.errors import ArtifactError, ConfigError
from tastemaker.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

ASKED = 500  # keys in one SELECT; SQLite's oldest limit is 999
PATIENCE = 60.0  # seconds to wait while another process writes
PAUSE = 0.02  # seconds between two looks at a lock that SQLite itself does not wait for
APPLICATION = 0x54_4D_41_31  # "TMA1": marks the file as ours, and its format


class DiskCache:
    """A file of values by key; a value that is there is never replaced.

    Args:
        path: the file; it and its folder are made if needed.
        contents: what the values are, e.g. "answers"; name of the table.
        cure: what to do about a place that cannot be used, e.g. "name another file in lm.cache".
    """

    def __init__(self, path: Path, *, contents: str, cure: str) -> None:
        self.path = path
        self._contents = contents
        self._cure = cure

    def get(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the values of those `keys` that are there.

        Raises:
            ConfigError: the file cannot be made or read now, or is another program's.
            ArtifactError: it is damaged.
        """
        asked, found = sorted(set(keys)), dict[bytes, bytes]()
        with self._connection() as connection:
            for start in range(0, len(asked), ASKED):
                part = asked[start : start + ASKED]
                marks = ", ".join("?" * len(part))
                found.update(
                    connection.execute(f"SELECT key, value FROM {self._contents} WHERE key IN ({marks})", part)
                )
        return found

    def put(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Add keys with their values, all or none; errors as in `get`."""
        with self._connection() as connection, _transaction(connection):
            connection.executemany(f"INSERT OR IGNORE INTO {self._contents} VALUES (?, ?)", rows)

    def complete(
        self,
        keys: Sequence[bytes],
        known: Mapping[bytes, bytes],
        compute: Callable[[list[int]], Sequence[bytes]],
        *,
        batch: int,
        progress: Progress = silent,
        label: str = "compute",
    ) -> list[bytes]:
        """Return the value of every key; errors as in `get`.

        Args:
            keys: any, repeated ones too.
            known: what `get` found.
            compute: gives the values at some places in `keys`; asked for each missing key once.
            batch: places between two commits, the most that a kill can lose.
            progress: shown over the batches.
            label: of the progress.
        """
        values = dict(known)
        first = {key: place for place, key in reversed(list(enumerate(keys))) if key not in known}
        missing = sorted(first.values())
        for start in progress(range(0, len(missing), batch), label=label):
            places = missing[start : start + batch]
            fresh = list(zip([keys[place] for place in places], compute(places), strict=True))
            self.put(fresh)
            values.update(fresh)
        return [values[key] for key in keys]

    def damaged(self, what: str) -> ArtifactError:
        """Return the error for a file that holds something else than what was put in."""
        return ArtifactError(f"{self.path}: the cache of {self._contents} is damaged: {what}; delete the file")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Open the file for one `with`; what SQLite has to complain about becomes an error of ours."""
        try:
            if not self.path.exists():
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self.path.touch(mode=0o600)
            with closing(sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)) as connection:
                self._set_up_patiently(connection)
                yield connection
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be written: {error.strerror}; {self._cure}") from error
        except sqlite3.OperationalError as error:
            raise ConfigError(f"{self.path}: cannot be used now: {error}; try again, or {self._cure}") from error
        except sqlite3.Error as error:
            raise self.damaged(str(error)) from error

    def _set_up_patiently(self, connection: sqlite3.Connection) -> None:
        """Set up, again and again while another process does so: SQLite waits for no lock where the journal changes."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return self._set_up(connection)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
            time.sleep(PAUSE)

    def _set_up(self, connection: sqlite3.Connection) -> None:
        """Make table and mark in a new file, and refuse one that is somebody else's."""
        ours = (APPLICATION, {self._contents})
        if _marks(connection) != ours:
            with _transaction(connection):  # nobody else writes from here on
                found = _marks(connection)
                if found == (0, set()):
                    connection.execute(f"CREATE TABLE {self._contents} (key BLOB PRIMARY KEY, value BLOB NOT NULL)")
                    connection.execute(f"PRAGMA application_id = {APPLICATION}")
                elif found != ours:
                    raise ConfigError(f"{self.path}: not a file of {self._contents} of this version; {self._cure}")
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the last commits, never the file


def _marks(connection: sqlite3.Connection) -> tuple[int, set[str]]:
    """Return what tells whose file this is: its application number and the names of its tables."""
    [number] = connection.execute("PRAGMA application_id").fetchone()
    return number, {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit at the end, or roll back; the right to write is taken at the start, where SQLite can wait for it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
