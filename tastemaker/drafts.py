"""Folders that are written whole or not at all: a draft beside the place, fsync, rename; back again on a failure."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = ".draft."  # of the hidden folder beside the place; what a killed run leaves behind begins so
DAY = 86_400  # seconds after which a draft is taken for the remains of a killed run


@contextmanager
def draft(folder: Path) -> Iterator[Path]:
    """Give an empty folder to write into; at the end of the block it takes the place of `folder`.

    What stood at `folder` is set aside first, put back where the draft cannot be renamed, and removed last. Where the
    block raises, `folder` stays as it was. What killed runs left beside it is removed, see `remove_remains`.

    Raises:
        OSError: something cannot be written or renamed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_remains(folder)
    hidden = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{folder.name}.", dir=folder.parent))
    new, old = hidden / "new", hidden / "old"
    try:
        new.mkdir()
        yield new
        for path in [*new.rglob("*"), new]:
            _fsync(path)
        try:
            if folder.exists():
                folder.rename(old)
            new.rename(folder)
        except BaseException:
            if old.exists() and not folder.exists():
                old.rename(folder)
            raise
        _fsync(folder.parent)
    finally:
        if folder.exists() or not old.exists():  # otherwise `old` is the only copy there is
            shutil.rmtree(hidden, ignore_errors=True)


def remove_remains(place: Path) -> None:
    """Remove the drafts for `place` that are older than a day, but for one that holds the only copy of it."""
    for left in place.parent.glob(f"{PREFIX}{escape(place.name)}.*"):
        with suppress(FileNotFoundError):  # another process removes it too
            old = time.time() - left.stat().st_mtime > DAY
            if old and (place.exists() or not (left / "old").exists()):
                shutil.rmtree(left, ignore_errors=True)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
