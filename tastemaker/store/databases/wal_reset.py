"""SQLite's WAL-reset fault: which versions have it, and why a store is safe from it.

In SQLite 3.7.0 to 3.51.2, two connections that write and checkpoint at the same moment in WAL mode can lose committed
pages; 3.51.3, 3.50.7 and 3.44.6 mend it. A store has one connection that writes and checkpoints, held by one process
under a lock, and its readers can do neither.
"""

from __future__ import annotations

import sqlite3

FIRST = (3, 7, 0)
MENDED = ((3, 51, 3), (3, 50, 7), (3, 44, 6))
"""The release that mended it, and the older branches that got it too."""


def affected(version: tuple[int, ...] | None = None) -> bool:
    """Return whether a version of SQLite, this Python's by default, has the fault."""
    version = sqlite3.sqlite_version_info if version is None else version
    newest, *branches = MENDED
    if version < FIRST or version >= newest:
        return False
    return not any(version[:2] == mended[:2] and version >= mended for mended in branches)


def verdict() -> str:
    """Return in words what the fault means for stores on this machine."""
    version = sqlite3.sqlite_version
    if not affected():
        return f"SQLite {version} does not have the WAL-reset fault"
    return (
        f"SQLite {version} has the WAL-reset fault (mended in 3.51.3, 3.50.7, 3.44.6); stores are safe from it: only "
        "one connection of one process writes and checkpoints, held by a lock file"
    )
