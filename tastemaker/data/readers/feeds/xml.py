"""RSS and Atom as a table: one row an <item> or <entry>, read as a stream and never as a tree."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn
from xml.sax import SAXParseException
from xml.sax.handler import ContentHandler, feature_namespaces

import polars as pl
from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.expatreader import create_parser  # type: ignore[import-untyped]

from tastemaker.data.checks.problems import counted
from tastemaker.data.readers.table import Table
from tastemaker.data.readers.text import peek, read_blocks
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path
    from xml.sax.xmlreader import AttributesNSImpl, Locator

ENTRIES = ("item", "entry")
GOOGLE = "http://base.google.com/ns/1.0"
DEEPEST = 32
"""Levels of elements; a feed has about five."""
LONGEST = 1 << 20
"""Characters of an attribute that are kept; far beyond what the check lets pass."""
MOST_COLUMNS = 200
FIRST_COUNTS = ("product_type", "google_product_category")
BETWEEN = ", "
"""What parts the values of an attribute that an entry has more than once."""
ROOT = re.compile(rb"<(?:!DOCTYPE\s+)?(?:[A-Za-z]+:)?(?:rss|feed|RDF)[\s>]|base\.google\.com/ns")


def recognises(path: Path) -> bool:
    """Whether a file is XML that looks like a feed: RSS, Atom, or Google's attributes."""
    start = peek(path, 8192).replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    return start.startswith(b"<") and ROOT.search(start) is not None


def read_entries(path: Path) -> Table:
    """Read a feed; every value is text, an attribute in Google's namespace goes before one of the same name.

    Raises:
        DataError: broken XML, a DOCTYPE, elements that are nested too deeply, or no entry.
    """
    parser: Any = create_parser(forbid_dtd=True)
    entries = _Entries(str(path), parser)
    parser.setFeature(feature_namespaces, 1)
    parser.setContentHandler(entries)
    try:
        for block in read_blocks(path):
            parser.feed(block)
        parser.close()
    except DefusedXmlException as error:
        raise DataError(
            f"{path}:{parser.getLineNumber()}: has a DOCTYPE, by which XML can define entities that grow without bound "
            "or read other files; a product feed needs none: remove it"
        ) from error
    except SAXParseException as error:
        place = f"{path}:{error.getLineNumber()}:{error.getColumnNumber()}"
        raise DataError(f"{place}: broken XML ({error.getMessage()}); export the feed again") from error
    except (LookupError, ValueError) as error:  # of the encoding that the first line names
        raise DataError(
            f"{path}:1: broken XML ({error}); save the feed as UTF-8, and say so in its first line"
        ) from error
    return entries.table()


class _Entries(ContentHandler):
    """Collects the entries of a feed, and the line on which each starts."""

    def __init__(self, file: str, place: Locator) -> None:
        super().__init__()
        self._file = file
        self._place = place
        self._columns: dict[str, list[str | None]] = {}
        self._google: set[str] = set()
        self._lines: list[int] = []
        self._path: list[str] = []
        self._entry_depth = 0
        self._text: list[str] = []
        self._length = 0
        self._nested: set[str] = set()

    def startElementNS(  # noqa: N802  # named by xml.sax
        self, name: tuple[str | None, str], qname: str | None, attrs: AttributesNSImpl
    ) -> None:
        self._path.append(name[1])
        depth = len(self._path)
        if depth > DEEPEST:
            self._refuse(f"elements are nested more than {DEEPEST} deep")
        if not self._entry_depth and name[1] in ENTRIES:
            self._entry_depth = depth
            self._lines.append(self._place.getLineNumber() or 0)
            self._google = set()
        elif self._entry_depth and depth > self._entry_depth + 1:
            self._nested.add(self._path[self._entry_depth])
        elif self._entry_depth:
            self._text, self._length = [], 0
            link = attrs.get((None, "href"))
            if link:
                self.characters(link)

    def characters(self, content: str) -> None:
        if self._entry_depth and len(self._path) == self._entry_depth + 1 and self._length < LONGEST:
            self._text.append(content)
            self._length += len(content)

    def endElementNS(self, name: tuple[str | None, str], qname: str | None) -> None:  # noqa: N802  # named by xml.sax
        depth = len(self._path)
        self._path.pop()
        if depth == self._entry_depth:
            self._entry_depth = 0
        elif self._entry_depth and depth == self._entry_depth + 1:
            self._keep(name[1], "".join(self._text).strip(), google=name[0] == GOOGLE)
            self._text, self._length = [], 0

    def table(self) -> Table:
        """Return the rows.

        Raises:
            DataError: there is none.
        """
        if not self._lines:
            raise DataError(f"{self._file}: no <item> or <entry> in the feed")
        for column in self._columns.values():
            column += [None] * (len(self._lines) - len(column))
        frame = pl.DataFrame(self._columns, schema=dict.fromkeys(self._columns, pl.String))
        names = ", ".join(sorted(self._nested))
        notes = (f"{self._file}: {counted(len(self._nested), 'nested attribute')} not read: {names}",) if names else ()
        return Table(self._file, frame, pl.Series(self._lines, dtype=pl.Int64), notes=notes)

    def _keep(self, name: str, text: str, *, google: bool) -> None:
        if not text:
            return
        if name not in self._columns and len(self._columns) >= MOST_COLUMNS:
            self._refuse(f"more than {MOST_COLUMNS} different attributes")
        column = self._columns.setdefault(name, [])
        row = len(self._lines)
        column += [None] * (row - len(column))
        old = column[-1]
        if old is None or (google and name not in self._google):
            column[-1] = text
        elif name not in FIRST_COUNTS and (google or name not in self._google):
            column[-1] = f"{old}{BETWEEN}{text}"[:LONGEST]
        if google:
            self._google.add(name)

    def _refuse(self, why: str) -> NoReturn:
        raise DataError(f"{self._file}:{self._place.getLineNumber()}: {why}; this is no product feed")
