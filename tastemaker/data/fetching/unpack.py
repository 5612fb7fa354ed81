"""Looking into downloaded archives: nothing may leave the folder, be a link, or grow without bound."""

from __future__ import annotations

import gzip
import stat
import zlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from zipfile import BadZipFile, ZipFile, ZipInfo

from tastemaker.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BLOCK = 1 << 20
MOST_MEMBERS = 10_000
MOST_GROWTH, SMALL = 200, 64 << 20
"""A file may grow to `SMALL` bytes in any case, and beyond that by this factor: text shrinks to about a fifth."""


def check_gzip(path: Path, limit: int) -> None:
    """Read a gzip file to its end, which compares its own checksum.

    Raises:
        DataError: broken, or more than `limit` bytes in it.
    """
    allowed = min(limit, max(SMALL, MOST_GROWTH * path.stat().st_size))
    try:
        with gzip.open(path) as file:
            total = sum(map(len, _blocks(file.read, allowed, "the file")))
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"not a whole gzip file ({error})") from error
    if not total:
        raise DataError("the gzip file is empty")


def check_zip(path: Path, limit: int) -> None:
    """Look at the table of contents of a zip file.

    Raises:
        DataError: not a zip file, or with a member that is unsafe or too large.
    """
    with _open_zip(path) as archive:
        _check_members(archive.infolist(), limit)


def unpack_zip(path: Path, folder: Path, limit: int) -> None:
    """Unpack a zip file into an existing folder.

    Raises:
        DataError: as `check_zip`, or a member is broken or larger than it says.
        OSError: the folder cannot be written.
    """
    with _open_zip(path) as archive:
        members = archive.infolist()
        _check_members(members, limit)
        for member in members:
            target = folder / member.filename
            if member.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with archive.open(member) as source, target.open("wb") as copy:
                    for block in _blocks(source.read, member.file_size, member.filename):
                        copy.write(block)
            except (BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
                raise DataError(f"{member.filename}: broken in the zip file ({error})") from error


def _open_zip(path: Path) -> ZipFile:
    try:
        return ZipFile(path)
    except BadZipFile as error:
        raise DataError(f"not a zip file ({error})") from error


def _check_members(members: list[ZipInfo], limit: int) -> None:
    """Refuse the whole archive for one bad member: nobody packs such a thing by mistake."""
    if len(members) > MOST_MEMBERS:
        raise DataError(f"the zip file has {len(members):,} members; at most {MOST_MEMBERS:,} are unpacked")
    names: set[str] = set()
    files = {str(PurePosixPath(member.filename)).lower() for member in members if not member.filename.endswith("/")}
    if "." in files:
        raise DataError("the zip file holds a file without a name; refused")
    for member in members:
        name = member.filename
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or not name.isprintable():
            raise DataError(f"the zip file holds {name!r}, which would be written outside its folder; refused")
        mode = member.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(f"the zip file holds {name!r}, a link or device; refused")
        if member.flag_bits & 0x1:
            raise DataError(f"the zip file holds {name!r}, which is encrypted; refused")
        if str(path).lower() in names:
            raise DataError(f"the zip file holds {name!r} twice; refused")
        names.add(str(path).lower())
        for parent in path.parents:
            if str(parent).lower() in files:
                raise DataError(f"the zip file holds {name!r} inside {str(parent)!r}, which is a file; refused")
        if member.file_size > max(SMALL, MOST_GROWTH * member.compress_size):
            raise DataError(f"the zip file holds {name!r}, which would grow to {member.file_size:,} bytes; refused")
    total = sum(member.file_size for member in members)
    if total > limit:
        raise DataError(f"the zip file would grow to {total:,} bytes, more than the {limit:,} that are allowed")


def _blocks(read: Callable[[int], bytes], allowed: int, name: str) -> Iterator[bytes]:
    """Yield the content of a packed file.

    Raises:
        DataError: it is longer than `allowed`.
    """
    total = 0
    while block := read(BLOCK):
        total += len(block)
        if total > allowed:
            raise DataError(f"{name} grows beyond {allowed:,} bytes when it is unpacked; refused")
        yield block
