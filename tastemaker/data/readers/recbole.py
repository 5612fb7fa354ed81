"""RecBole atomic files: NAME.inter, NAME.item, NAME.user; TAB, typed header `name:type`, no quoting.

https://recbole.io/docs/user_guide/data/atomic_files.html. A token_seq is separated by single spaces, so category names
that hold a space are split there by the format itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl

from tastemaker.data.readers.delimited import read_delimited
from tastemaker.data.readers.table import Table, Tables, cast_columns, rename_columns
from tastemaker.data.readers.text import first_lines
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from tastemaker.progress import Progress

NAME = "recbole"
KINDS = {".inter": "interactions", ".item": "items", ".user": "users"}
FIELD = re.compile(r"[^\t:]+:(token|float|token_seq|float_seq)")
COLUMNS = {
    "interactions": {"rating": "value"},
    "items": {"movie_title": "title", "name": "title", "class": "categories", "genre": "categories"},
    "users": {},
}


def recognises(source: Path) -> bool:
    """Whether `source` is a file with a typed header, or a folder with an .inter file that has one."""
    files = [source] if source.is_file() else [path for path in source.glob("*.inter") if path.is_file()]
    return any(all(FIELD.fullmatch(word) for word in first_lines(path)[0].split("\t")) for path in files)


def load(source: Path, progress: Progress) -> Tables:
    """Read the folder, or one .inter file.

    Raises:
        DataError: not exactly one file of a kind, or a header without types.
    """
    files = {"interactions": source} if source.is_file() else _find(source)
    tables = {role: _load(role, path) for role, path in progress(files.items(), label="reading files")}
    return Tables(tables["interactions"], tables.get("items"), tables.get("users"))


def _find(folder: Path) -> dict[str, Path]:
    files = {}
    for suffix, role in KINDS.items():
        found = sorted(path for path in folder.glob(f"*{suffix}") if path.is_file())
        if len(found) > 1 or (not found and role == "interactions"):
            names = ", ".join(path.name for path in found) or "none"
            raise DataError(f"{folder}: needs one file *{suffix}, found {names}; name one file or use another folder")
        if found:
            files[role] = found[0]
    return files


def _load(role: str, path: Path) -> Table:
    table = read_delimited(path, separator="\t", quoted=False)
    types = dict.fromkeys(table.frame.columns, "")
    for header in types:
        if not FIELD.fullmatch(header):
            raise DataError(f"{path}:1: column '{header}' has no type; write name:token, name:float or name:token_seq")
        types[header] = header.rpartition(":")[2]
    names = {header: header.rpartition(":")[0] for header in types}
    plain = {name: COLUMNS[role].get(name, name) for name in names.values()}
    taken: dict[str, str] = {}
    for old, word in plain.items():
        if old != word and word not in (*names.values(), *taken.values()):
            taken[old] = word
    new = {header: taken.get(name, name) for header, name in names.items()}
    table = rename_columns(table, new)
    checked_later = ("value", "price", "timestamp")
    floats = {new[h]: pl.Float64() for h, kind in types.items() if kind == "float" and new[h] not in checked_later}
    table = cast_columns(table, floats, source="the header")
    frame = table.frame
    if "categories" in frame.columns:
        frame = frame.with_columns(
            pl.col("categories").str.split(" ").list.eval(pl.element().filter(pl.element() != ""))
        )
    return table.with_frame(frame, *(f"{path}: column '{old}' taken as {new}" for old, new in taken.items()))
