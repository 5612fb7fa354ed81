"""The package's own layout: a folder of interactions, items and users as parquet, csv, tsv or jsonl; or one such file.

Columns: interactions (user_id, item_id; optionally position, timestamp, value or rating, event_type, split), items
(item_id, title, brand, categories, price, description), users (user_id); any others are kept. The names that
`headers` knows are taken for these. `schema.json`, which `write` leaves beside text files, types other columns.
Names of files may be in upper or lower case too.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from tastemaker.data.checks.columns import AMOUNT, ID, KINDS, with_keys
from tastemaker.data.dataset import free_names
from tastemaker.data.readers import orders
from tastemaker.data.readers.delimited import SEPARATORS, read_delimited
from tastemaker.data.readers.feeds.variants import rolled_up, without_markup
from tastemaker.data.readers.headers import ALIASES, ORDINARY, canonical_names, plain
from tastemaker.data.readers.json_lines import no_ids, read_json_lines
from tastemaker.data.readers.prices import plain_amounts
from tastemaker.data.readers.table import (
    SUFFIXES,
    Table,
    Tables,
    cast_columns,
    no_column,
    read_parquet,
    rename_columns,
    table_suffix,
)
from tastemaker.data.writers.formulas import restored
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from tastemaker.progress import Progress

NAME = "canonical"
QUANTITY = "quantity"
GROUP = "item_group_id"
ROLES = ("interactions", "items", "users")
SCHEMA_FILE = "schema.json"
SCHEMA_MARK = "tastemaker"  # a key that only our own schema.json has; its value is the version of the layout
SCHEMA_VERSION = 1
NEUTRALISED_VERSION = 2  # the same, and cells that a spreadsheet would run have a quotation mark in front
DTYPES: dict[str, pl.DataType] = {
    "string": pl.String(),
    "bool": pl.Boolean(),
    "date": pl.Date(),
    "null": pl.Null(),
    **{f"datetime[{unit}]": pl.Datetime(unit) for unit in ("ms", "us", "ns")},
    **{f"datetime[{unit}, UTC]": pl.Datetime(unit, "UTC") for unit in ("ms", "us", "ns")},
    "list[string]": pl.List(pl.String()),
    **{str(dtype).lower(): dtype() for dtype in (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Float32, pl.Float64)},
    **{str(dtype).lower(): dtype() for dtype in (pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)},
}


def recognises(source: Path) -> bool:
    """Whether `source` is a folder with a file called interactions, or one table."""
    if source.is_file():
        return bool(table_suffix(source))
    return any(role_of(path) == "interactions" for path in source.iterdir())


def role_of(path: Path) -> str:
    """Return which of `ROLES` the table at `path` holds by its name; empty if it is none."""
    suffix, name = table_suffix(path), path.name.lower().removesuffix(".gz")
    role = name.removesuffix(suffix)
    return role if suffix and role in ROLES and path.is_file() else ""


def load(
    source: Path, progress: Progress, *, columns: Mapping[str, str] | None = None, rows: orders.Rows = orders.ALL
) -> Tables:
    """Read the folder or file.

    Args:
        source: the folder or file.
        progress: shows which file is read.
        columns: canonical name, or "quantity" -> header in the interactions, where it goes by a name that is not known.
        rows: which interactions count.

    Raises:
        DataError: no interactions, two files for one role, or a file that cannot be read.
    """
    if source.is_file():
        return Tables(_load("interactions", source, Schema(), columns, rows))
    files = {role: path for role in ROLES if (path := _find(source, role))}
    if "interactions" not in files:
        found = ", ".join(sorted(path.name for path in source.iterdir())) or "nothing"
        raise DataError(f"{source}: no interactions.{{{','.join(s[1:] for s in SUFFIXES)}}}; found: {found}")
    schema = _schema(source / SCHEMA_FILE)
    tables = {
        role: _load(role, path, schema, columns if role == "interactions" else None, rows)
        for role, path in progress(files.items(), label="reading files")
    }
    return Tables(tables["interactions"], tables.get("items"), tables.get("users"), notes=schema.notes)


def load_items(source: Path, progress: Progress, *, columns: Mapping[str, str] | None = None) -> Tables:
    """Read a table of items alone, or the one in a folder.

    Args:
        source: the file or folder.
        progress: shows which file is read.
        columns: canonical name -> header, where it goes by a name that is not known. Rows with one "item_group_id",
            which names the product of a variant, become one item.

    Raises:
        DataError: no items, or a file that cannot be read.
    """
    (path,) = progress([source], label="reading files")
    schema = Schema()
    if path.is_dir():
        schema = _schema(path / SCHEMA_FILE)
        file = _find(path, "items")
        if file is None:
            raise DataError(f"{path}: no items.{{{','.join(s[1:] for s in SUFFIXES)}}}")
        path = file
    named = columns or {}
    table = _load("items", path, schema, named)
    if not source.is_dir():
        table = without_markup(table, "title", "description")
    if GROUP not in named:
        return Tables(None, table, partial=("items",), notes=schema.notes)
    return replace(rolled_up(with_keys(table, "items"), named.get("item_id", "item_id"), GROUP), notes=schema.notes)


def _find(folder: Path, role: str) -> Path | None:
    found = sorted(path for path in folder.iterdir() if role_of(path) == role)
    if len(found) > 1:
        raise DataError(f"{folder}: {' and '.join(path.name for path in found)} both hold {role}; keep one of them")
    return found[0] if found else None


def read_table(path: Path, *, ids: Callable[[list[str]], Collection[str]] = no_ids) -> Table:
    """Read a .parquet, .csv, .tsv or .jsonl file; the last three may be gzipped.

    Args:
        path: the file.
        ids: see `read_json_lines`.

    Raises:
        DataError: another suffix, no file, no rows, or a header that cannot be used.
    """
    suffix = table_suffix(path)
    if suffix == ".parquet":
        return read_parquet(path)
    if suffix == ".jsonl":
        return read_json_lines(path, ids=ids)
    if suffix:
        return read_delimited(path, separator=SEPARATORS[suffix])
    raise DataError(f"{path}: unknown kind of file; known: {', '.join(SUFFIXES)} (text also with .gz)")


def is_schema(path: Path) -> bool:
    """Whether a file is a schema that `write` made."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and SCHEMA_MARK in content


def _load(
    role: str, path: Path, schema: Schema, named: Mapping[str, str] | None = None, rows: orders.Rows = orders.ALL
) -> Table:
    known = tuple(KINDS[role])
    table = read_table(path, ids=lambda columns: _ids(columns, role))
    if schema.neutralised and table_suffix(path) in SEPARATORS:
        table = table.with_frame(restored(table.frame))
    named = dict(named or {})
    quantity = named.pop(QUANTITY, None)
    if quantity is not None and quantity not in table.frame.columns:
        raise no_column(table, quantity)
    table = _renamed(table, named)
    columns = table.frame.columns
    taken = canonical_names(columns, known)
    keys = {old: new for old, new in taken.items() if KINDS[role][new] is ID}
    with_keys(table.with_frame(table.frame.rename(keys)), role)  # refuses in the words of the file's own header
    notes = [f"{path}: column '{old}' taken as {new}" for old, new in taken.items()]
    for name in known:
        words = {plain(word) for word in (name, *ALIASES.get(name, ())) if word not in ORDINARY}
        beside = [old for old in columns if plain(old) in words and old not in KINDS[role] and old not in taken]
        notes += [f"{path}: column '{old}' is kept under its own name; {name} is another column" for old in beside]
    table = table.with_frame(table.frame.rename(taken), *notes)
    if role == "interactions":
        names = {**taken, **{header: name for name, header in named.items()}}
        table = orders.chosen(table, rows, names, quantity=quantity)
    for name in (name for name, kind in KINDS[role].items() if kind is AMOUNT and name in table.frame.columns):
        amounts, said = plain_amounts(table.frame[name], table.lines, file=table.file)
        table = table.with_frame(table.frame.with_columns(amounts), *([said] if said else []))
    return cast_columns(table, schema.types.get(role, {}), source=SCHEMA_FILE)


def _renamed(table: Table, named: Mapping[str, str]) -> Table:
    """Give columns the names that the caller says; one that has such a name already gets a trailing "_"."""
    free = free_names(table.frame.columns, [new for new, old in named.items() if new != old])
    keep = {old: new for old, new in free.items() if old not in named.values()}
    return rename_columns(table, {**keep, **{old: new for new, old in named.items()}})


def _ids(columns: list[str], role: str) -> list[str]:
    """Return the columns, under their own names, that hold the ids."""
    taken = canonical_names(columns, tuple(KINDS[role]))
    return [column for column in columns if KINDS[role].get(taken.get(column, column)) is ID]


class Schema(NamedTuple):
    """What `write` notes beside text files.

    Attributes:
        types: role -> column -> type.
        neutralised: whether cells that a spreadsheet would run have a quotation mark in front.
        notes: what is to be said about the file.
    """

    types: dict[str, dict[str, pl.DataType]] = {}  # noqa: RUF012  # never changed
    neutralised: bool = False
    notes: tuple[str, ...] = ()


def _schema(path: Path) -> Schema:
    """Read what `write` noted.

    Raises:
        DataError: the file is not what `write` makes.
    """
    if not path.exists():
        return Schema()
    if not is_schema(path):
        return Schema(notes=(f"{path}: not a schema of tastemaker (no key '{SCHEMA_MARK}'); not used",))
    content = json.loads(path.read_text(encoding="utf-8"))
    version = content.pop(SCHEMA_MARK)
    if version not in (SCHEMA_VERSION, NEUTRALISED_VERSION):
        raise DataError(f"{path}: written by another version of tastemaker; convert the data again")
    try:
        schema = {role: {name: DTYPES[word] for name, word in columns.items()} for role, columns in content.items()}
        canonical = [f"{role}.{name}" for role, columns in schema.items() for name in columns if name in KINDS[role]]
    except (AttributeError, TypeError, KeyError) as error:
        known = ", ".join(DTYPES)
        raise DataError(f"{path}: not a role -> column -> type table with types of: {known}; remove it") from error
    if canonical:
        raise DataError(f"{path}: {canonical[0]} has a type of its own; remove it from the file")
    return Schema(schema, version == NEUTRALISED_VERSION)
