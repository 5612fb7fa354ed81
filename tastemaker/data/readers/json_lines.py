"""JSON lines: one object a row, each column brought to one type."""

from __future__ import annotations

import ast
import json
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import polars as pl

from tastemaker.data.checks.problems import problem_table
from tastemaker.data.readers.table import Table, broken_lines, row_problems
from tastemaker.data.readers.text import decode, peek, read_bytes
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

HINTS = {
    "bad-json": "write one JSON object a line",
    "broken-encoding": "an escape names half a character",
    "repeated-key": "a name occurs twice in the object; rename or remove one of them",
}
ARRAY_HINT = "the file is a JSON array; write one object a line: jq -c '.[]'"
T = TypeVar("T")
INT64, UINT64 = range(-(2**63), 2**63), range(2**64)


class _RepeatedKey(ValueError):
    """An object names a key twice, of which a dict would keep the last."""


def no_ids(names: list[str]) -> Collection[str]:
    """Name no column that holds ids."""
    return ()


class Parsed(NamedTuple):
    """The rows of a file of JSON lines that could be parsed, and what is wrong with the others.

    Attributes:
        file: its path, for messages.
        rows: the objects, or what `keep` made of them.
        numbers: 1-based line of each.
        problems: lines that are no object.
        notes: what was assumed on the way.
    """

    file: str
    rows: list[Any]
    numbers: list[int]
    problems: pl.DataFrame
    notes: tuple[str, ...]


def parse_json_lines(path: Path, *, keep: Callable[[dict[str, Any]], Any] | None = None) -> Parsed:
    """Parse one JSON object a line (or one Python literal, as in old Amazon dumps).

    Args:
        path: the file.
        keep: turns a parsed object into what is to be kept of it.

    Raises:
        DataError: the file is empty.
    """
    file = str(path)
    text = decode(read_bytes(path), file=file)
    literal = _is_literal(text.data)
    parse: Callable[[str], Any] = ast.literal_eval if literal else DECODER.decode
    rows: list[Any] = []
    numbers: list[int] = []
    bad: dict[str, list[tuple[int, str]]] = {rule: [] for rule in HINTS}
    for number, line in enumerate(text.data.decode().split("\n"), start=1):
        if not line.strip():
            continue
        rule = "bad-json"
        try:
            row = parse(line)
            if "\\u" in line:
                json.dumps(row, ensure_ascii=False).encode()
        except _RepeatedKey:
            row, rule = None, "repeated-key"
        except UnicodeEncodeError:
            row, rule = None, "broken-encoding"
        except UNREADABLE:
            row = None
        if isinstance(row, dict):
            rows.append(keep(row) if keep else row)
            numbers.append(number)
        else:
            bad[rule].append((number, line))
    if not (rows or any(bad.values()) or text.broken):
        raise DataError(f"{file}: the file is empty")
    hints = {**HINTS, "bad-json": ARRAY_HINT} if text.data.lstrip().startswith(b"[") else HINTS
    problems = [broken_lines(text.broken, file)]
    for rule, found in bad.items():
        lines, values = [number for number, _ in found], [line for _, line in found]
        problems.append(row_problems(lines, values, file=file, rule=rule, hint=hints[rule]))
    notes = [*text.notes, *([f"{file}: Python literals instead of JSON"] if literal else [])]
    return Parsed(file, rows, numbers, pl.concat(problems), tuple(notes))


def tabulate(parsed: Parsed, *, ids: Callable[[list[str]], Collection[str]] = no_ids) -> Table:
    """Make a table of parsed rows, each column of one type.

    Args:
        parsed: rows that are objects.
        ids: see `read_json_lines`.
    """
    file, rows, numbers = parsed.file, parsed.rows, parsed.numbers
    problems, notes = [parsed.problems], list(parsed.notes)
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in ids(names):
        wrong = [place for place, row in enumerate(rows) if type(row.get(name)) not in (str, int, type(None))]
        problems.append(_wrong_ids(name, [(numbers[place], rows[place][name]) for place in wrong], file))
        rows, numbers = _without(rows, wrong), _without(numbers, wrong)
    frame = pl.DataFrame([_column(name, [row.get(name) for row in rows], file, notes) for name in names])
    return Table(file, frame, pl.Series(numbers, dtype=pl.Int64), pl.concat(problems), tuple(notes))


def read_json_lines(
    path: Path,
    *,
    keep: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ids: Callable[[list[str]], Collection[str]] = no_ids,
) -> Table:
    """Read one JSON object a line (or one Python literal, as in old Amazon dumps).

    Args:
        path: the file.
        keep: turns a parsed object into the row to keep.
        ids: picks the names whose values must be texts or whole numbers; a row with another value is a problem.

    Raises:
        DataError: the file is empty.
    """
    return tabulate(parse_json_lines(path, keep=keep), ids=ids)


def sniff_json(path: Path) -> dict[str, Any]:
    """Return the first row of a JSON-lines file (or of Python literals), empty if it is neither or cannot be read."""
    return next(iter(first_objects(path, count=1)), {})


def first_objects(path: Path, *, count: int = 50) -> list[dict[str, Any]]:
    """Return the first rows of JSON lines (or of Python literals), as far as they are objects, to tell what a file is.

    None of a file that begins with anything else or cannot be read.
    """
    data = peek(path, 1 << 20).removeprefix(b"\xef\xbb\xbf").lstrip()
    lines = data.split(b"\n", count)[:count] if data.startswith(b"{") else []
    rows = (_parsed(line.decode("utf-8", "replace")) for line in lines if line.strip())
    return [row for row in rows if isinstance(row, dict)]


def _parsed(line: str) -> Any:  # noqa: ANN401  # any JSON value
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(line)
        except UNREADABLE:
            continue
    return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise _RepeatedKey
    return row


UNREADABLE = (ValueError, SyntaxError, TypeError, RecursionError, MemoryError)
"""What parsers raise at a line; a TypeError comes of a literal such as `{{}}`, a set of what no set can hold."""

DECODER = json.JSONDecoder(object_pairs_hook=_object)  # made once: json.loads would make one a line


def _wrong_ids(name: str, found: list[tuple[int, Any]], file: str) -> pl.DataFrame:
    lines = pl.Series([number for number, _ in found], dtype=pl.Int64)
    values = pl.Series([_json_text(value) for _, value in found], dtype=pl.String)
    hint = "an id is text or a whole number"
    return problem_table(lines, values, file=file, column=name, rule="wrong-type", hint=hint)


def _without(values: list[T], places: list[int]) -> list[T]:
    left_out = set(places)
    return [value for place, value in enumerate(values) if place not in left_out]


def _is_literal(data: bytes) -> bool:
    """Whether the first row is a Python literal and not JSON."""
    line = data.lstrip().split(b"\n", 1)[0].decode()
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return line.startswith("{'") or (line.startswith('{"') and "': " in line)
    return False


def _column(name: str, values: list[Any], file: str, notes: list[str]) -> pl.Series:
    """Give JSON values one type: integers, floats, booleans, strings or lists of strings; else JSON text."""
    kinds = {type(value) for value in values} - {type(None)}
    if kinds <= {str}:
        return pl.Series(name, values, dtype=pl.String)
    if kinds == {bool}:
        return pl.Series(name, values, dtype=pl.Boolean)
    if kinds == {list} and all(part is None or type(part) is str for value in values for part in value or ()):
        return pl.Series(name, values, dtype=pl.List(pl.String))
    if kinds <= {int, float}:
        whole = [value for value in values if type(value) is int]
        least, largest = min(whole, default=0), max(whole, default=0)
        if least in INT64 and largest in INT64:
            if float in kinds:
                return pl.Series(name, [None if v is None else float(v) for v in values], dtype=pl.Float64)
            return pl.Series(name, values, dtype=pl.Int64)
        if kinds == {int} and least in UINT64 and largest in UINT64:
            return pl.Series(name, values, dtype=pl.UInt64)
        notes.append(f"{file}: column '{name}' holds whole numbers beyond 64 bits; kept as text")
    else:
        notes.append(f"{file}: column '{name}' mixes or nests types; kept as JSON text")
    return pl.Series(name, [_json_text(value) for value in values], dtype=pl.String)


def _json_text(value: Any) -> str | None:  # noqa: ANN401  # any JSON value
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
