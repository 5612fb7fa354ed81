"""The package's own layout: a folder of interactions, items and users as parquet, csv, tsv or jsonl; or one such file.

Columns: interactions (user_id, item_id; optionally position, timestamp, value or rating, event_type, split), items
(item_id, title, brand, categories, price, description), users (user_id); any others are kept. The aliases below, in
upper or lower case, are taken for these. `schema.json`, which `write` leaves beside text files, types other columns.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from tastemaker.data.readers.table import SUFFIXES, Table, Tables, cast_columns, read_table, table_suffix
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from tastemaker.progress import Progress

NAME = "canonical"
ROLES = ("interactions", "items", "users")
SCHEMA_FILE = "schema.json"
# Names of Amazon Personalize in lower case (event_value, product_description), and the commonest of other exports.
ALIASES = {
    "user_id": ("customer_id", "visitor_id"),
    "item_id": ("product_id", "article_id"),
    "value": ("rating", "event_value"),
    "timestamp": ("event_time",),
    "event_type": ("event",),
    "title": ("name", "product_name"),
    "brand": ("vendor",),
    "categories": ("category",),
    "description": ("product_description",),
    **dict.fromkeys(("position", "split", "price"), ()),
}
KNOWN = {
    "interactions": ("user_id", "item_id", "position", "timestamp", "value", "event_type", "split"),
    "items": ("item_id", "title", "brand", "categories", "price", "description"),
    "users": ("user_id",),
}
DTYPES: dict[str, pl.DataType] = {
    "string": pl.String(),
    "bool": pl.Boolean(),
    "date": pl.Date(),
    "list[string]": pl.List(pl.String()),
    **{str(dtype).lower(): dtype() for dtype in (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Float32, pl.Float64)},
    **{str(dtype).lower(): dtype() for dtype in (pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)},
}


def recognises(source: Path) -> bool:
    """Whether `source` is a folder with a file called interactions, or one table."""
    if source.is_file():
        return bool(table_suffix(source))
    return any(path.name.startswith("interactions.") and table_suffix(path) for path in source.iterdir())


def load(source: Path, progress: Progress) -> Tables:
    """Read the folder or file.

    Raises:
        DataError: no interactions, two files for one role, or a file that cannot be read.
    """
    if source.is_file():
        return Tables(_load("interactions", source, {}))
    files = {role: path for role in ROLES if (path := _find(source, role))}
    if "interactions" not in files:
        found = ", ".join(sorted(path.name for path in source.iterdir())) or "nothing"
        raise DataError(f"{source}: no interactions.{{{','.join(s[1:] for s in SUFFIXES)}}}; found: {found}")
    schema = _schema(source / SCHEMA_FILE)
    tables = {
        role: _load(role, path, schema.get(role, {})) for role, path in progress(files.items(), label="reading files")
    }
    return Tables(tables["interactions"], tables.get("items"), tables.get("users"))


def _find(folder: Path, role: str) -> Path | None:
    found = sorted(path for path in folder.iterdir() if path.name.split(".")[0] == role and table_suffix(path))
    if len(found) > 1:
        raise DataError(f"{folder}: {' and '.join(path.name for path in found)} both hold {role}; keep one of them")
    return found[0] if found else None


def _load(role: str, path: Path, schema: dict[str, pl.DataType]) -> Table:
    table = read_table(path)
    taken = _aliases(table.frame.columns, KNOWN[role])
    notes = [f"{path}: column '{old}' taken as {new}" for old, new in taken.items()]
    table = table.with_frame(table.frame.rename(taken), *notes)
    return cast_columns(table, schema, source=SCHEMA_FILE)


def _aliases(columns: list[str], known: tuple[str, ...]) -> dict[str, str]:
    """Return old name -> canonical name for the columns that go by another name."""
    lower = {column.lower(): column for column in reversed(columns)}
    taken = {}
    for name in known:
        if name not in columns:
            old = next((lower[word] for word in (name, *ALIASES.get(name, ())) if word in lower), None)
            if old is not None:
                taken[old] = name
    return taken


def _schema(path: Path) -> dict[str, dict[str, pl.DataType]]:
    """Return the type of each column by role, as `write` noted them.

    Raises:
        DataError: the file is not what `write` makes.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {role: {name: DTYPES[word] for name, word in columns.items()} for role, columns in content.items()}
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        known = ", ".join(DTYPES)
        raise DataError(f"{path}: not a role -> column -> type table with types of: {known}; remove it") from error
