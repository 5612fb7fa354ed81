"""What a section of the page is made of."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from tastemaker.report.svg import element, mark
from tastemaker.report.words import NONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from tastemaker.report.reading import Example
    from tastemaker.report.svg import Style

_NUMBER = re.compile(r"(< )?[+−]?[\d,]*\.?\d+(\s(%|s|min|h|ms|MiB|GiB))?")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict as a cell: a symbol and words, and a tone ("good", "bad", "soft") that only adds to them."""

    symbol: str
    words: str
    tone: str
    kind: ClassVar[str] = "verdict"


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first cell of a row is its header.

    Attributes:
        label: what it holds, for its caption and for screen readers.
        columns: names of the columns.
        rows: cells, each a text or a verdict.
        strong: numbers of the rows to set in bold.
    """

    label: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Verdict]]
    strong: frozenset[int] = frozenset()
    kind: ClassVar[str] = "table"

    @property
    def numeric(self) -> list[bool]:
        """Whether a column holds nothing but numbers and dashes, and is set flush right."""
        cells = [[row[place] for row in self.rows] for place in range(len(self.columns))]
        return [
            any(cell != NONE for cell in column)
            and all(isinstance(cell, str) and (cell == NONE or _NUMBER.fullmatch(cell)) for cell in column)
            for column in cells
        ]


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart, what it says in a sentence, and its numbers as a table."""

    title: str
    finding: str
    svg: Markup
    table: Table
    key: Sequence[tuple[Markup, str]] = ()
    wide: bool = False
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    words: str
    kind: ClassVar[str] = "text"


@dataclass(frozen=True, slots=True)
class Hidden:
    """A table that opens on demand."""

    title: str
    table: Table
    kind: ClassVar[str] = "hidden"


@dataclass(frozen=True, slots=True)
class Code:
    """A command line, as it was typed."""

    words: str
    kind: ClassVar[str] = "code"


@dataclass(frozen=True, slots=True)
class Shopper:
    """An example shopper with the lists of all models."""

    example: Example
    kind: ClassVar[str] = "shopper"


Block = Table | Figure | Text | Hidden | Code | Shopper


@dataclass(frozen=True, slots=True)
class Section:
    """One section: its anchor, its heading, and what stands in it."""

    anchor: str
    title: str
    blocks: list[Block] = field(default_factory=list)


def styles_key(styles: Sequence[tuple[str, Style]]) -> list[tuple[Markup, str]]:
    """Return small drawings of markers with the names that they stand for."""
    return [
        (element("svg", mark(style, 8, 8), viewBox="0 0 16 16", aria_hidden="true", class_="key"), name)
        for name, style in styles
    ]
