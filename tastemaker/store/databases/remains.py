"""Old copies of rows in the unused parts of an SQLite file: the gaps between the rows of a page, and its free blocks.

Layout of a b-tree page: "The SQLite database file format", section 1.6 (https://sqlite.org/fileformat2.html).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

B_TREE = frozenset({2, 5, 10, 13})
"""First byte of a page of an index or a table, interior or leaf."""
INTERIOR = frozenset({2, 5})
LEAST = 4
"""Shorter texts say nothing about a person and would be found everywhere; they are not looked for."""
HEADER = 100
"""Bytes before the first page's own."""


def found(file: BinaryIO, words: Collection[bytes], pages: range) -> bool:
    """Return whether a word of at least `LEAST` bytes stands in an unused part of some pages.

    Args:
        file: the SQLite file; its WAL must be empty. Closing it would free SQLite's own locks on it (they are the
            process's), so it is to be closed only after all connections are.
        words: such as ids.
        pages: numbers of pages, from 0; those beyond the end hold nothing.
    """
    needles = sorted({word.decode("latin-1") for word in words if len(word) >= LEAST})
    gaps = pl.Series([gap.decode("latin-1") for gap in unused(file, pages)], dtype=pl.String)
    return bool(gaps.str.contains_any(needles).any())


def count(file: BinaryIO) -> int:
    """Return how many pages a file has."""
    size, _ = _layout(file)
    return -(-file.seek(0, os.SEEK_END) // size)


def unused(file: BinaryIO, pages: range) -> Iterator[bytes]:
    """Yield each unused part of some pages that is not all zero."""
    size, usable = _layout(file)
    file.seek(pages.start * size)
    for number in pages:
        page = file.read(size)
        if len(page) < size:
            return
        yield from _unused(page, 0 if number else HEADER, usable)


def _layout(file: BinaryIO) -> tuple[int, int]:
    """Return the size of a page, and how much of it is used for rows."""
    file.seek(0)
    head = file.read(HEADER)
    size = int.from_bytes(head[16:18], "big")
    size = 65_536 if size == 1 else size
    return size, size - head[20]


def _unused(page: bytes, start: int, usable: int) -> Iterator[bytes]:
    if page[start] not in B_TREE:
        return
    free, cells, content = (int.from_bytes(page[start + at : start + at + 2], "big") for at in (1, 3, 5))
    gap = page[start + (12 if page[start] in INTERIOR else 8) + 2 * cells : content or usable]
    if stripped := gap.strip(b"\0"):
        yield stripped
    while start < free < usable - 4:
        following, length = (int.from_bytes(page[free + at : free + at + 2], "big") for at in (0, 2))
        if stripped := page[free + 4 : free + length].strip(b"\0"):
            yield stripped
        if following <= free:
            return
        free = following
