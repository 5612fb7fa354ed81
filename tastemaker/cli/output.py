"""Printing for the command line: JSON and tables on stdout, notes on stderr."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tastemaker import provenance
from tastemaker.characters import strip_hostile
from tastemaker.errors import DataError
from tastemaker.json_values import finite


def note(text: str) -> None:
    """Print a line on stderr."""
    sys.stderr.write(f"{strip_hostile(text)}\n")
    sys.stderr.flush()


def as_json(value: Any, *, indent: int | None = 2) -> str:  # noqa: ANN401  # any JSON value
    """Return JSON; NaN and infinity, which JSON lacks, become null."""
    return json.dumps(finite(value), indent=indent, ensure_ascii=False, allow_nan=False)


def made_by() -> dict[str, Any]:
    """Return the command line and the versions that made a result; nothing is imported for it."""
    return {"command": ["tastemaker", *sys.argv[1:]], **provenance.versions()}


def interval(found: dict[str, Any]) -> str:
    """Return "low .. high", or "-" where a measure has no interval."""
    if found["low"] is None or found["high"] is None:
        return "-"
    return f"{found['low']:.4f} .. {found['high']:.4f}"


def print_json(value: Any, *, indent: int | None = 2) -> None:  # noqa: ANN401  # any JSON value
    """Print JSON on stdout."""
    sys.stdout.write(as_json(value, indent=indent) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> None:
    """Print a table on stdout; product text is shown as plain characters, never as markup or control codes."""
    table = Table(title=title, title_justify="left", header_style="bold")
    rows = [[_cell(value) for value in row] for row in rows]
    for number, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[number], str) and _is_number(row[number]) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    from rich.text import Text

    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(table)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        DataError: the place cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as draft:
            draft.write(text)
        Path(draft.name).chmod(0o644)
        os.replace(draft.name, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error


def _cell(value: Any) -> str:  # noqa: ANN401  # any table value
    if value is None or value != value:  # nothing, or a figure that is undefined
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, int):
        return f"{value:,}"
    return strip_hostile(str(value))


def _is_number(text: str) -> bool:
    return text == "-" or text.replace(",", "").replace(".", "").replace("-", "").replace("+", "").isdigit()
