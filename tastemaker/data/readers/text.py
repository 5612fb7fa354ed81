"""From a file's bytes to UTF-8 text: decompression, encodings, and lines that cannot be decoded."""

from __future__ import annotations

import csv
import gzip
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from tastemaker.data.fetching.unpack import BLOCK, MOST_GROWTH, SMALL
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

GZIP, ZSTD, ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"
LONGEST_LINE = 16 << 20
"""Bytes without a line end at which the start of a file is no table."""
BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8",
    b"\xff\xfe\x00\x00": "utf-32-le",
    b"\x00\x00\xfe\xff": "utf-32-be",
    b"\xff\xfe": "utf-16-le",
    b"\xfe\xff": "utf-16-be",
}
SNIFF = 4096  # bytes looked at to tell what a file is


@dataclass(frozen=True, slots=True)
class Text:
    r"""A text file in memory.

    Attributes:
        data: valid UTF-8 with `\n` or `\r\n` line ends; broken lines are blank, so line numbers stay.
        broken: 1-based number and readable rest of each line that could not be decoded.
        notes: how the file was decoded, where that was not plain UTF-8.
    """

    data: bytes
    broken: dict[int, str]
    notes: tuple[str, ...]


def read_bytes(path: Path, *, limit: int | None = None) -> bytes:
    """Return the content of a file, or its first `limit` bytes; gzip is undone, whatever the file's name.

    Raises:
        DataError: the file is missing or unreadable, its compression is broken or of another kind, it grows beyond
            measure when it is unpacked, or its first line does not end.
    """
    with _opened(path) as (file, allowed):
        if limit is not None:
            return file.read(limit)
        refuse_page(path, file.read(SNIFF))
        file.seek(0)
        if allowed is None:
            _refuse_endless_line(path, file.read(LONGEST_LINE))
            file.seek(0)
            return file.read()
        data = file.read(allowed + 1)
        _refuse_growth(path, len(data), allowed)
        _refuse_endless_line(path, data[:LONGEST_LINE])
        return data


def read_blocks(path: Path) -> Iterator[bytes]:
    """Yield the content of a file a block at a time; gzip is undone, whatever the file's name.

    Raises:
        DataError: as `read_bytes`, but lines may be of any length.
    """
    total = 0
    with _opened(path) as (file, allowed):
        while block := file.read(BLOCK):
            total += len(block)
            if allowed is not None:
                _refuse_growth(path, total, allowed)
            yield block


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, int | None]]:
    """Open a file, unpacked where it is gzip, and say how many bytes may come out then."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
            file.seek(0)
            if magic.startswith(ZSTD):
                raise DataError(f"{path}: zstd-compressed text is not read; run: zstd -d {path}")
            if magic.startswith(ZIP):
                raise DataError(
                    f"{path}: a zip archive or an Excel workbook; unpack it, or save the sheet as CSV UTF-8"
                )
            if not magic.startswith(GZIP):
                yield file, None
                return
            allowed = max(SMALL, MOST_GROWTH * path.stat().st_size)
            with gzip.open(file) as unpacked:
                yield cast(BinaryIO, unpacked), allowed
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}: broken gzip file ({error}); copy or download it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def refuse_page(path: Path, start: bytes) -> None:
    """Refuse a web page, given its first bytes: a shop's server sends one where it wants a log-in or has no such file.

    Raises:
        DataError: it is one.
    """
    start = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    page = start.startswith((b"<head", b"<body")) or b"<!doctype html" in start or b"<html" in start
    if start.startswith(b"<") and page:
        raise DataError(
            f"{path}: a web page (HTML), no data: it may be a log-in or an error page; open it in a browser, and "
            "download the feed from an address that needs no log-in"
        )


def _refuse_growth(path: Path, size: int, allowed: int) -> None:
    if size > allowed:
        raise DataError(
            f"{path}: grows beyond {allowed:,} bytes ({MOST_GROWTH} times its size) when it is unpacked, as no shop's "
            "data do; if you trust it, unpack it yourself: gzip -dk"
        )


def _refuse_endless_line(path: Path, start: bytes) -> None:
    if len(start) == LONGEST_LINE and b"\n" not in start and b"\r" not in start:
        raise DataError(
            f"{path}:1: the first line is longer than {LONGEST_LINE >> 20} MiB; a table has one row a line "
            "(of a JSON array: jq -c '.[]')"
        )


def peek(path: Path, limit: int) -> bytes:
    """Return the first bytes of a file, to tell what it is; none of a file that cannot be read."""
    try:
        return read_bytes(path, limit=limit)
    except DataError:
        return b""


def first_lines(path: Path, count: int = 1) -> list[str]:
    """Return the first lines of a file without their ends, at least one, to tell what it is.

    Undecodable bytes are replaced; of a file that cannot be read there is one empty line.
    """
    data, encoding = peek(path, SNIFF * count), "utf-8"
    for mark, name in BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            data, encoding = data[len(mark) :], name
            break
    return [line.rstrip("\r") for line in data.decode(encoding, "replace").split("\n")[:count]]


def header_words(path: Path) -> list[str]:
    """Return the words of the first line of a delimited file, whatever parts them, to tell what it is."""
    if not path.is_file():
        return []
    line = first_lines(path)[0]
    separator = max(",;\t|", key=line.count)
    try:
        return [word.strip() for word in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error:
        return []


def decode(data: bytes, *, file: str, encoding: str | None = None) -> Text:
    """Decode a text file.

    UTF-8 is expected; a byte order mark wins. A file that is not UTF-8 anywhere outside ASCII is read as Windows-1252,
    the superset of Latin-1; in a file that is UTF-8 elsewhere, lines with other bytes are broken.

    Args:
        data: the bytes.
        file: path, for messages.
        encoding: the encoding where the format states it.

    Raises:
        DataError: the whole file is in an encoding that cannot be told.
    """
    if encoding is not None:
        return Text(_line_ends(data.decode(encoding).encode()), {}, (f"{file}: read as {encoding}",))
    for mark, name in BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            notes: tuple[str, ...] = (f"{file}: {name.upper()} with a byte order mark",)
            if name == "utf-8":
                data = data[len(mark) :]
                break
            try:
                return Text(_line_ends(data[len(mark) :].decode(name).encode()), {}, notes)
            except UnicodeDecodeError as error:
                raise DataError(f"{file}: broken {name.upper()} at byte {error.start}; save it as UTF-8") from error
    else:
        notes = ()
        if data[:SNIFF].count(0) > len(data[:SNIFF]) // 4:
            raise DataError(f"{file}: looks like UTF-16 without a byte order mark, or a binary file; save it as UTF-8")
    data = _line_ends(data)
    if _decodes(data, "utf-8"):
        return Text(data, {}, notes)
    lines = data.split(b"\n")
    bad = [number for number, line in enumerate(lines) if not _decodes(line, "utf-8")]
    name = "utf-8"
    if not notes and not _has_utf8(lines, set(bad)):
        name = "cp1252"
        bad = [number for number, line in enumerate(lines) if not _decodes(line, name)]
        notes = (f"{file}: not UTF-8; read as Windows-1252 (a superset of Latin-1)",)
    broken = {number + 1: lines[number].decode("utf-8", "backslashreplace") for number in bad}
    data = blank(data, bad)
    return Text(data.decode(name).encode(), broken, notes)


def blank(data: bytes, numbers: Collection[int]) -> bytes:
    """Empty the lines with these 0-based numbers; the line ends stay."""
    if not numbers:
        return data
    lines = data.split(b"\n")
    for number in numbers:
        lines[number] = b""
    return b"\n".join(lines)


def _line_ends(data: bytes) -> bytes:
    r"""Turn the lone `\r` line ends of old files into `\n`."""
    return data.replace(b"\r", b"\n") if b"\r" in data and b"\n" not in data else data


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _has_utf8(lines: list[bytes], bad: set[int]) -> bool:
    """Whether some good line holds a character outside ASCII."""
    return any(not line.isascii() for number, line in enumerate(lines) if number not in bad)
