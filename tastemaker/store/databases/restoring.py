"""Putting a backup in the place of a store."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tastemaker.store.databases.lock import WriterLock
from tastemaker.store.databases.sqlite import APPLICATION, sync
from tastemaker.store.errors import StoreCorrupt, StoreError, StoreReadOnly

if TYPE_CHECKING:
    from sqlalchemy import URL

DUMP = b"PGDMP"
"""First bytes of pg_dump's custom format."""
ASIDE = "before-restore"


def restore_sqlite(backup: Path, path: Path, *, replace: bool) -> Path | None:
    """Check a backup and put a copy of it where a store is, or was.

    Args:
        backup: an SQLite file that `Store.backup` wrote.
        path: of the store; nobody may have it open for writing.
        replace: set aside what stands there; otherwise it is refused.

    Returns:
        Where the former store is now, or None where there was none.

    Raises:
        StoreCorrupt: the backup is damaged.
        StoreError: it is no backup, or a store is there already.
        StoreBusy: a process writes to the store.
    """
    _check(backup)
    if path.exists() and not replace:
        raise StoreError(f"{path}: exists; --replace sets it aside as {path.name}.{ASIDE}")
    lock = WriterLock(path.with_name(f"{path.name}.lock"), str(path))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            draft = Path(folder) / "restored"
            shutil.copyfile(backup, draft)
            draft.chmod(0o600)
            sync(draft)
            aside = _set_aside(path)
            os.replace(draft, path)
            sync(path.parent)
    except OSError as error:
        raise StoreReadOnly(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        lock.release()
    return aside


def restore_postgresql(backup: Path, url: URL) -> None:
    """Let pg_restore fill an empty database.

    Raises:
        StoreError: it is not what pg_dump wrote, pg_restore is missing, or it failed: nothing is changed then.
    """
    if not _starts(backup, DUMP):
        raise StoreError(f"{backup}: not of pg_dump's custom format; JSON lines go in by `tastemaker db import`")
    program = shutil.which("pg_restore")
    if program is None:
        raise StoreError("pg_restore is not installed here; run it beside the server")
    address = url.set(drivername="postgresql", password=None).render_as_string()
    environment = {**os.environ, **({"PGPASSWORD": str(url.password)} if url.password else {})}
    words = [program, "--no-owner", "--exit-on-error", "--single-transaction", f"--dbname={address}", str(backup)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StoreError(
            f"{url.render_as_string()}: pg_restore failed, nothing is changed: {' '.join(done.stderr.split())[:300]}; "
            "it needs an empty database"
        )


def _check(backup: Path) -> None:
    if not _starts(backup, b"SQLite format 3\0"):
        raise StoreError(f"{backup}: no backup of an SQLite store; JSON lines go in by `tastemaker db import`")
    try:
        with closing(sqlite3.connect(f"{backup.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            [mark] = connection.execute("PRAGMA application_id").fetchone()
            faults = [row for (row,) in connection.execute("PRAGMA integrity_check(3)") if row != "ok"]
    except sqlite3.DatabaseError as error:
        raise StoreCorrupt(f"{backup}: damaged ({error}); take another backup") from error
    if mark != APPLICATION:
        raise StoreError(f"{backup}: not a store of tastemaker")
    if faults:
        raise StoreCorrupt(f"{backup}: damaged ({'; '.join(faults)}); take another backup")
    wal = backup.with_name(f"{backup.name}-wal")
    if wal.exists() and wal.stat().st_size:
        raise StoreError(f"{backup}: {wal.name} beside it holds more commits; use a file that `db backup` wrote")


def _starts(path: Path, head: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(head)) == head
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error


def _set_aside(path: Path) -> Path | None:
    """Rename a store with its WAL; the WAL must never meet the file that takes its place."""
    if not path.exists():
        for end in ("-wal", "-shm"):
            path.with_name(f"{path.name}{end}").unlink(missing_ok=True)
        return None
    aside = path.with_name(f"{path.name}.{ASIDE}")
    if aside.exists():
        raise StoreError(f"{aside}: exists since an earlier restore; move it away first")
    for end in ("", "-wal", "-shm"):
        part = path.with_name(f"{path.name}{end}")
        if part.exists():
            part.rename(aside.with_name(f"{aside.name}{end}"))
    return aside
