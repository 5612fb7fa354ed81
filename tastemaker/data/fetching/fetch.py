"""Public data sets by name: downloaded, verified, converted to the canonical folder, with their terms.

`sources.toml` says what can be fetched. A folder of fetched sets holds

    NAME/             interactions, items, users: what every other command reads
    downloads/NAME/   the files as they came, unless they were not to be kept
    fetched.json      SHA-256 of everything above; a file for which nobody published one is pinned by the first fetch
"""

from __future__ import annotations

import gzip
import re
import shutil
import sys
import tempfile
import time
import tomllib
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files as package_files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tastemaker.data import readers
from tastemaker.data.checks.problems import counted
from tastemaker.data.fetching.download import MIB, Remote, download, sha256_of
from tastemaker.data.fetching.ledger import LEDGER, Download, read_entry, write_entry
from tastemaker.data.fetching.unpack import check_gzip, check_zip, unpack_zip
from tastemaker.data.writers.canonical import write
from tastemaker.drafts import PREFIX, remove_remains
from tastemaker.errors import DataError, did_you_mean
from tastemaker.progress import silent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.fetching.ledger import Entry
    from tastemaker.progress import Progress

DOWNLOADS = "downloads"


@dataclass(frozen=True, slots=True)
class File:
    """One file of a data set, as its owner offers it.

    Attributes:
        url: its address.
        most_megabytes, most_unpacked_megabytes: more than this (in MiB) is refused.
        bytes: its length, where published.
        sha256: its SHA-256, where published; empty for none.
        sum_from: who published that.
    """

    url: str
    most_megabytes: int
    most_unpacked_megabytes: int
    bytes: int | None = None
    sha256: str = ""
    sum_from: str = ""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Source:
    """A public data set.

    Attributes:
        name: what commands call it, and its folder.
        title, page: its name in words, and its owner's page.
        format: the reader.
        users, items, interactions: what the literature states.
        licence, terms: what its owner allows; the first in two words.
        files: what is downloaded.
        folder: the folder inside the zip file.
        sold_only: the key of the product in the metadata, where only products that somebody bought are kept.
    """

    name: str
    title: str
    page: str
    format: str
    users: int
    items: int
    interactions: int
    licence: str
    terms: str
    files: tuple[File, ...]
    folder: str = ""
    sold_only: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """What the literature states, by name."""
        return {"users": self.users, "items": self.items, "interactions": self.interactions}

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch left behind.

    Attributes:
        source: the data set.
        folder: its canonical folder.
        counts: users, items and interactions in it.
        files: for each downloaded file its size, SHA-256 and what that was compared with.
        differences: where the counts are not the stated ones, in words.
        notes: what the reader assumed and left out.
        already: whether all was there and nothing was done.
    """

    source: Source
    folder: Path
    counts: Mapping[str, int]
    files: Mapping[str, Mapping[str, Any]]
    differences: tuple[str, ...]
    notes: tuple[str, ...]
    already: bool

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "name": self.source.name,
            "folder": str(self.folder),
            **self.counts,
            "expected": self.source.counts,
            "differences": list(self.differences),
            "files": {name: dict(facts) for name, facts in self.files.items()},
            "licence": self.source.licence,
            "terms": self.source.terms,
            "page": self.source.page,
            "notes": list(self.notes),
            "already_there": self.already,
        }


@cache
def sources() -> dict[str, Source]:
    """Return the data sets that can be fetched, by name."""
    tables = tomllib.loads(
        package_files("tastemaker.data.fetching").joinpath("sources.toml").read_text(encoding="utf-8")
    )
    return {
        name: Source(**{**table, "name": name, "files": tuple(File(**file) for file in table["files"])})
        for name, table in tables.items()
    }


def fetch(
    name: str,
    out: Path,
    *,
    keep: bool = True,
    progress: Progress = silent,
    pause: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Download and convert the data set `name` into `out / name`; nothing is done where that stands and is whole.

    Args:
        name: a key of `sources`.
        out: the folder of data sets.
        keep: keep the downloaded files.
        progress: shows how far it is.
        pause: how to wait between attempts, in seconds.

    Raises:
        DataError: unknown name, a file that cannot be had or is not what it should be, a folder of that name that this
            function did not make, or a place that cannot be written.
    """
    if name not in sources():
        raise DataError(f"data set '{name}' cannot be fetched{did_you_mean(name, sources())}")
    source, folder, downloads = sources()[name], out / name, out / DOWNLOADS / name
    try:
        entry = read_entry(out, name)
        entry.files = {file.name: entry.files[file.name] for file in source.files if file.name in entry.files}
        whole = _is_whole(folder, entry)
        sums = {file.name: _expected(file, entry) for file in source.files}
        same = whole and sums == {file: facts.sha256 for file, facts in entry.files.items()}
        missing = [file for file in source.files if not _is_there(downloads / file.name, sums[file.name])]
        needed = missing if not same or (keep and entry.kept) else []
        for file in needed:
            _download(file, downloads, entry, progress, pause)
            write_entry(out, name, entry)
        notes: tuple[str, ...] = ()
        if not same:
            data, notes = _convert(source, downloads, progress)
            write_entry(out, name, entry.model_copy(update={"unfinished": True}))
            write(data, folder, overwrite=True)
            entry.folder = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
            entry.counts = {"users": data.n_users, "items": data.n_items, "interactions": len(data)}
            entry.unfinished = False
        if not keep and downloads.exists():
            shutil.rmtree(downloads)
        entry.kept = downloads.exists()
        write_entry(out, name, entry)
    except OSError as error:
        raise DataError(f"{error.filename or out}: cannot be read or written: {error.strerror or error}") from error
    counts = entry.counts
    differences = tuple(
        f"{what}: {counts[what]:,}, the literature states {stated:,}"
        for what, stated in source.counts.items()
        if counts[what] != stated
    )
    files = {name: facts.model_dump() for name, facts in entry.files.items()}
    return Fetched(source, folder, counts, files, differences, notes, already=same and not needed)


def _is_whole(folder: Path, entry: Entry) -> bool:
    """Whether the files that an earlier fetch wrote are as it left them; other files may lie beside them.

    False where there is no folder or an empty one, or where that fetch was cut off.

    Raises:
        DataError: it is something else, which must not be replaced.
    """
    if not folder.exists() or entry.unfinished or (folder.is_dir() and not any(folder.iterdir())):
        return False
    if not entry.folder or not all(_is_there(folder / name, sha256) for name, sha256 in entry.folder.items()):
        cause = "was changed since it was fetched" if entry.folder else "was not made by fetch"
        raise DataError(f"{folder}: {cause}; move or remove it, or choose another folder (--out)")
    return True


def _is_there(path: Path, sha256: str) -> bool:
    return bool(sha256) and path.is_file() and sha256_of(path) == sha256


def _expected(file: File, entry: Entry) -> str:
    """Return the SHA-256 that a file must have: the published one, else that of the first fetch, else nothing."""
    known = entry.files.get(file.name)
    return file.sha256 or (known.sha256 if known else "")


def _download(file: File, folder: Path, entry: Entry, progress: Progress, pause: Callable[[float], None]) -> None:
    """Fetch one file and note its sum in `entry`."""
    pinned = _expected(file, entry)
    limit = file.most_unpacked_megabytes * MIB
    check = check_zip if file.name.endswith(".zip") else check_gzip
    remote = Remote(file.url, file.most_megabytes * MIB, file.bytes, file.sha256 or None)
    target = folder / file.name
    found = download(remote, target, check=lambda path: check(path, limit), progress=progress, pause=pause)
    if pinned and found != pinned:
        target.unlink()
        raise DataError(
            f"{file.url}: SHA-256 is {found}, the first fetch had {pinned}; refused, nothing is kept. "
            f"If the change is known and right, remove {folder.parent.parent / LEDGER} and fetch again"
        )
    words = "published sum" if file.sha256 else "sum of the first fetch" if pinned else "nothing: first fetch"
    entry.files[file.name] = Download(url=file.url, bytes=target.stat().st_size, sha256=found, compared_with=words)


def _convert(source: Source, downloads: Path, progress: Progress) -> tuple[Dataset, tuple[str, ...]]:
    """Read the downloaded files; return the data and what is to be said about them.

    Rows that break a rule are left out and counted: a public file is not for its user to mend.
    """
    remove_remains(downloads)
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{downloads.name}.", dir=downloads.parent) as draft:
        place, said = Path(draft), []
        if source.folder:
            file = source.files[0]
            unpack_zip(downloads / file.name, place, file.most_unpacked_megabytes * MIB)
            folder = place / source.folder
        elif source.sold_only:
            folder = place
            said.append(_without_unsold(source, downloads, place))
        else:
            folder = downloads
        data, report = readers.read(folder, format=source.format, max_bad=sys.maxsize, progress=progress)
        said += [line.replace(f"{folder}/", "") for line in report.notes]
        if report.bad_rows:
            said.append(f"{report.left_out_words()} ({counted(report.bad_rows, 'row')} with a broken rule)")
        return data, tuple(said)


def _without_unsold(source: Source, downloads: Path, place: Path) -> str:
    """Copy log and metadata to `place`, of the metadata only products in the log; say how many those are.

    The metadata describe every product of a department, twenty times as many as the log has; reading them all would
    take five times as long and twice the memory.
    """
    log, metadata = (downloads / file.name for file in source.files)
    shutil.copyfile(log, place / log.name)
    data, _ = readers.read(place / log.name, format=source.format, max_bad=sys.maxsize)
    sold = set(data.items.frame["id"].to_list())
    key = re.compile(rf"""['"]{source.sold_only}['"]: ?['"]([^'"]+)['"]""".encode())
    left = 0
    with gzip.open(metadata) as lines, (place / metadata.name.removesuffix(".gz")).open("wb") as copy:
        for line in lines:
            match = key.search(line)
            if match and match[1].decode(errors="replace") not in sold:
                left += 1
            else:
                copy.write(line)
    return f"{metadata.name}: {counted(left, 'product')} that nobody in the log bought, left out"
