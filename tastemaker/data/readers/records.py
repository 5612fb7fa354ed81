"""Where the records of a delimited text start and end, which line they are on, and how many fields they have.

polars parses the fields; this index is what lets a reader name the physical line of a bad row, and find the rows that
a parser would fill up with nulls in silence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tastemaker.types import Bool, Int64

NEWLINE, RETURN, QUOTE = 10, 13, 34


@dataclass(frozen=True, slots=True)
class Records:
    """The n records of a text, blank ones included.

    Attributes:
        starts: int64 [n], first byte of each record.
        ends: int64 [n], the byte behind its line end, or behind the text for the last one.
        lines: int64 [n], 1-based physical line on which it starts.
        widths: int64 [n], number of fields; 0 for a blank record.
    """

    starts: Int64
    ends: Int64
    lines: Int64
    widths: Int64

    def select(self, data: bytes, keep: Bool) -> bytes:
        """Return the text of the records where `keep` is true."""
        if keep.all():
            return data[self.starts[0] : self.ends[-1]] if len(keep) else b""
        edges = np.flatnonzero(np.diff(np.concatenate([[False], keep, [False]]).astype(np.int8)))
        runs = zip(self.starts[edges[::2]], self.ends[edges[1::2] - 1], strict=True)
        return b"".join(data[start:end] for start, end in runs)


def index_records(data: bytes, separator: str, *, quoted: bool) -> Records:
    """Index the records of a text whose quotes are well formed (see `bad_quotes`).

    Args:
        data: UTF-8 text.
        separator: one ASCII character.
        quoted: whether `"` hides separators and line ends.
    """
    text = np.frombuffer(data, dtype=np.uint8)
    newlines = np.flatnonzero(text == NEWLINE)
    separators = np.flatnonzero(text == ord(separator))
    breaks = newlines
    if quoted and b'"' in data:
        quotes = np.flatnonzero(text == QUOTE)
        breaks = newlines[np.searchsorted(quotes, newlines) % 2 == 0]
        separators = separators[np.searchsorted(quotes, separators) % 2 == 0]
    ends = breaks + 1
    if len(text) and (not len(ends) or ends[-1] < len(text)):
        ends = np.append(ends, len(text))
    starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    widths = np.searchsorted(separators, ends) - np.searchsorted(separators, starts) + 1
    first = text[starts] if len(starts) else text
    length = ends - starts
    blank = ((length == 1) & (first == NEWLINE)) | ((length <= 2) & (first == RETURN))
    return Records(starts, ends, np.searchsorted(newlines, starts) + 1, np.where(blank, 0, widths))


def bad_quotes(data: bytes, separator: str) -> list[int]:
    """Return the 0-based numbers of lines on which a quote opens or closes in the middle of a field, or never closes.

    In well-formed text the quote that opens a field follows a separator or a line end, and the one that closes it
    precedes one. Only when a quote breaks this does a slower scan find the lines to blame, record after record.
    """
    if b'"' not in data:
        return []
    text = np.frombuffer(data, dtype=np.uint8)
    quotes = np.flatnonzero(text == QUOTE)
    opening, closing = quotes[::2], quotes[1::2]
    edge = np.zeros(256, dtype=bool)
    edge[[ord(separator), NEWLINE, QUOTE]] = True
    before = edge[text[opening - 1]] | (opening == 0)
    after = edge[text[np.minimum(closing + 1, len(text) - 1)]] | (closing == len(text) - 1)
    after |= _before_line_end(text, closing + 1)
    if len(quotes) % 2 == 0 and before.all() and after.all():
        return []
    plain = rf'[^"{re.escape(separator)}\n]*+'
    value = rf'(?:"(?:[^"]|"")*+"(?:\r(?=\n|\Z))?(?![^{re.escape(separator)}\n])|{plain})'
    record = re.compile(rf"{value}(?:{re.escape(separator)}{value})*+(?:\n|\Z)".encode())
    bad, position, line = [], 0, 0
    while position < len(data):
        match = record.match(data, position)
        end = match.end() if match else data.find(b"\n", position) + 1 or len(data)
        if match is None:
            bad.append(line)
        line += data.count(b"\n", position, end)
        position = end
    return bad


def _before_line_end(text: NDArray[np.uint8], places: Int64) -> Bool:
    r"""Whether a `\r` stands at each of `places`, and a `\n` or nothing behind it; a lone `\r` is no line end."""
    padded = np.append(text, [NEWLINE, NEWLINE])
    found: Bool = (padded[places] == RETURN) & (padded[places + 1] == NEWLINE)
    return found
