"""Old copies of rows in the unused parts of an SQLite file: the gaps between the rows of a page, and its free blocks.

Layout of a b-tree page: "The SQLite database file format", section 1.6 (https://sqlite.org/fileformat2.html).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

B_TREE = frozenset({2, 5, 10, 13})
"""First byte of a page of an index or a table, interior or leaf."""
INTERIOR = frozenset({2, 5})
LEAST = 4
"""Shorter texts say nothing about a person and would be found everywhere; they are not looked for."""
BATCH = 8_192
"""Pages that are looked at in one go."""


def found(file: BinaryIO, words: Sequence[bytes]) -> bool:
    """Return whether a word of at least `LEAST` bytes stands in an unused part of a page.

    Args:
        file: the SQLite file; its WAL must be empty. Closing it would free SQLite's own locks on it (they are the
            process's), so it is to be closed only after all connections are.
        words: such as ids.
    """
    needles = sorted({word.decode("latin-1") for word in words if len(word) >= LEAST})
    return any(
        pl.Series([gap.decode("latin-1") for gap in gaps]).str.contains_any(needles).any()
        for gaps in _batches(unused(file))
    )


def unused(file: BinaryIO) -> Iterator[bytes]:
    """Yield each unused part of a page that is not all zero."""
    file.seek(0)
    head = file.read(100)
    size = int.from_bytes(head[16:18], "big")
    size = 65_536 if size == 1 else size
    usable = size - head[20]
    file.seek(0)
    start = 100
    while page := file.read(size):
        yield from _unused(page, start, usable)
        start = 0


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


def _batches(gaps: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for gap in gaps:
        batch.append(gap)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
