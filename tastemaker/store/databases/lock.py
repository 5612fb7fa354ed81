"""One writing process at a time: a lock file beside the store that the system frees when its holder dies."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from tastemaker.store.errors import StoreBusy, StoreError, StoreReadOnly

if TYPE_CHECKING:
    from pathlib import Path


class WriterLock:
    """The right to write to a store; held from construction to `release`.

    Args:
        path: of the lock file; made where it is missing, never removed.
        place: how messages call the store.

    Raises:
        StoreBusy: another process, or another `Store` of this one, holds it.
        StoreReadOnly: the lock file cannot be made.
    """

    def __init__(self, path: Path, place: str) -> None:
        if sys.platform == "win32":
            raise StoreError(f"{place}: SQLite stores need the file locks of Linux or macOS; use PostgreSQL here")
        import fcntl

        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreReadOnly(
                f"{place}: cannot be written: {error.strerror}; check the rights of its folder, or open it for reading"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._descriptor, 32).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise StoreBusy(
                f"{place}: process {holder or '(unknown)'} writes to it; SQLite stores take one writing process: ask "
                "that one (a running service has routes for all but keys), stop it, or open the store for reading"
            ) from error
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError:  # the disk is full; the number only helps the message
            pass

    def release(self) -> None:
        """Let others write."""
        os.close(self._descriptor)
