"""From a file's bytes to UTF-8 text: decompression, encodings, and lines that cannot be decoded."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tastemaker.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
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
        DataError: the file is missing or unreadable, its compression is broken, or it is zstd.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
            file.seek(0)
            if magic.startswith(ZSTD):
                raise DataError(f"{path}: zstd-compressed text is not read; run: zstd -d {path}")
            if not magic.startswith(GZIP):
                return file.read(-1 if limit is None else limit)
            with gzip.open(file) as unpacked:
                return unpacked.read(-1 if limit is None else limit)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}: broken gzip file ({error}); copy or download it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


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
