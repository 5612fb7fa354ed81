"""Reading shop data of any known format, told by content; one file a format.

A format is a module with NAME, `recognises(path)` and `load(path, progress) -> Tables`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tastemaker.data.dataset import Dataset
from tastemaker.data.readers import amazon, canonical, complete_journey, movielens, recbole
from tastemaker.data.readers.text import read_bytes
from tastemaker.data.validate import check
from tastemaker.errors import DataError, did_you_mean
from tastemaker.progress import silent

if TYPE_CHECKING:
    from types import ModuleType

    from tastemaker.data.problems import Report
    from tastemaker.data.validate import Checked
    from tastemaker.progress import Progress

# In the order in which they are tried, behind folders with a file called interactions: the most particular first.
FORMATS: dict[str, ModuleType] = {
    module.NAME: module for module in (complete_journey, movielens, recbole, amazon, canonical)
}


def read(
    source: str | Path, *, format: str | None = None, max_bad: int = 0, progress: Progress = silent
) -> tuple[Dataset, Report]:
    """Read, check and number shop data.

    Args:
        source: a folder, a file, or the word "complete-journey".
        format: one of `FORMATS`; told by content without it.
        max_bad: bad rows that may be left out; one more stops.
        progress: shows which file is read.

    Returns:
        The data, and what was assumed, found and left out.

    Raises:
        DataError: more than `max_bad` bad rows, no good interaction, or a source that cannot be read at all.
        MissingExtra: the source is in a package that is not installed.
    """
    checked = _check(source, format, progress)
    if checked.report.bad_rows > max_bad or checked.interactions.is_empty():
        raise DataError(checked.report.summary(allowed=max_bad))
    return Dataset.from_frames(checked.interactions, checked.items, checked.users), checked.report


def validate(source: str | Path, *, format: str | None = None, progress: Progress = silent) -> Report:
    """Check shop data and report every bad row; `left_out` counts the rows that reading on would leave out.

    Raises:
        DataError: the source cannot be read at all: no such path, no needed column, no rows.
        MissingExtra: the source is in a package that is not installed.
    """
    return _check(source, format, progress).report


def detect(source: str | Path) -> str:
    """Return the name of the format of `source`, told by its content.

    Raises:
        DataError: no such path, or no known format.
    """
    path = Path(source)
    names = [] if is_word(source) else _look_at(path)
    if path.is_dir() and canonical.recognises(path):
        return canonical.NAME
    for name, module in FORMATS.items():
        if module.recognises(path):
            return name
    if path.is_dir():
        found = ", ".join(names[:10]) or "nothing"
        raise DataError(f"{source}: no known format ({', '.join(FORMATS)}); the folder holds: {found}")
    raise DataError(f"{source}: no known format; name one of {', '.join(FORMATS)} with format (--format)")


def is_word(source: str | Path) -> bool:
    """Say whether `source` is the name of data that need no path."""
    return str(source) == complete_journey.NAME


def _look_at(path: Path) -> list[str]:
    """Return the names in a folder, none for a file.

    Raises:
        DataError: the path does not exist or cannot be read.
    """
    try:
        if path.is_dir():
            return sorted(entry.name for entry in path.iterdir())
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: neither a file nor a folder")
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    read_bytes(path, limit=1)
    return []


def _check(source: str | Path, format: str | None, progress: Progress) -> Checked:
    if format is not None and format not in FORMATS:
        raise DataError(f"unknown format '{format}'{did_you_mean(format, FORMATS)}")
    if format is not None and not is_word(source):
        _look_at(Path(source))
    name = detect(source) if format is None else format
    tables = FORMATS[name].load(Path(source), progress)
    if format is None and name != canonical.NAME and not is_word(source):
        tables = replace(
            tables, notes=(f"{source}: read as {name}; another format can be named (--format)", *tables.notes)
        )
    return check(tables, source=str(source), format=name)
