"""Reading shop data of any known format, told by content; one file a format.

A format is a module with NAME, `recognises(path)` and `load(path, progress) -> Tables`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tastemaker.data.dataset import Dataset
from tastemaker.data.readers import amazon, canonical, complete_journey, movielens, recbole
from tastemaker.data.validate import check
from tastemaker.errors import DataError, did_you_mean
from tastemaker.progress import silent

if TYPE_CHECKING:
    from types import ModuleType

    from tastemaker.data.problems import Report
    from tastemaker.data.validate import Checked
    from tastemaker.progress import Progress

# In the order in which they are tried: the most particular first.
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
    if str(source) != complete_journey.NAME and not path.exists():
        raise DataError(f"{source}: no such file or folder")
    for name, module in FORMATS.items():
        if module.recognises(path):
            return name
    if path.is_dir():
        found = ", ".join(sorted(entry.name for entry in path.iterdir())[:10]) or "nothing"
        raise DataError(f"{source}: no known format ({', '.join(FORMATS)}); the folder holds: {found}")
    raise DataError(f"{source}: no known format; name one of {', '.join(FORMATS)} with format (--format)")


def _check(source: str | Path, format: str | None, progress: Progress) -> Checked:
    if format is not None and format not in FORMATS:
        raise DataError(f"unknown format '{format}'{did_you_mean(format, FORMATS)}")
    name = detect(source) if format is None else format
    path = Path(source)
    if name != complete_journey.NAME and not path.exists():
        raise DataError(f"{source}: no such file or folder")
    return check(FORMATS[name].load(path, progress), source=str(source), format=name)
