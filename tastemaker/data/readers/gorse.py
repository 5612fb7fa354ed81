"""Gorse's exports as JSON lines: users, items and feedback, told by the names in their first rows.

A folder holds the three files under any names, or one file of feedback is read alone. FeedbackType is the event_type,
Value the value (0 throughout says nothing and is dropped). Of items, Comment is the title, IsHidden hidden, Timestamp
created_at; of Labels, the members that are named as our own columns (title, brand, description, price, currency and
more) become columns, and the others stay as JSON in labels. Gorse's zero time (year 1) is none. `write_gorse` is the
reverse.
https://gorse.io/docs/concepts/data-source
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl

from tastemaker.data.readers.json_lines import read_json_lines, sniff_json
from tastemaker.data.readers.table import Table, Tables
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from tastemaker.progress import Progress

NAME = "gorse"
SUFFIXES = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz")
TEXTS = ("title", "brand", "description", "currency", "availability", "image_link", "link", "group_id")
LABELLED: dict[str, tuple[type, ...]] = {**dict.fromkeys(TEXTS, (str,)), "price": (int, float)}
"""Members of an item's labels that become columns, and of what type."""
ZERO_TIME = "0001-01-01"


def recognises(source: Path) -> bool:
    """Whether `source` is a file of Gorse, or a folder with a file of feedback."""
    if source.is_file():
        return bool(_kind(source))
    return any(_kind(path) == "feedback" for path in _files(source))


def load(source: Path, progress: Progress) -> Tables:
    """Read the folder, or feedback or items alone.

    Raises:
        DataError: two files of a kind, no feedback, or a file that cannot be read.
    """
    files = {_kind(source): source} if source.is_file() else _by_kind(source)
    if source.is_dir() and "feedback" not in files:
        raise DataError(f"{source}: no feedback; looked for JSON lines with FeedbackType, UserId and ItemId")
    if not files.keys() & {"feedback", "items"}:
        raise DataError(f"{source}: {' and '.join(files) or 'nothing'} of Gorse, but no feedback")
    loaders = {"feedback": _feedback, "items": _items, "users": _users}
    found = {kind: loaders[kind](path) for kind, path in progress(files.items(), label="reading files")}
    partial = tuple(kind for kind in ("items", "users") if kind in found)
    return Tables(found.get("feedback"), found.get("items"), found.get("users"), partial=partial)


def load_items(source: Path, progress: Progress) -> Tables:
    """Read the items.

    Raises:
        DataError: no or two files of items, or one that cannot be read.
    """
    (path,) = progress([source], label="reading files")
    files = {_kind(path): path} if path.is_file() else _by_kind(path)
    if "items" not in files:
        raise DataError(f"{source}: no items; looked for JSON lines with ItemId and IsHidden, Categories or Labels")
    return Tables(None, _items(files["items"]), partial=("items",))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.lower().endswith(SUFFIXES) and path.is_file())


def _by_kind(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in _files(folder):
        kind = _kind(path)
        if kind in files:
            raise DataError(f"{folder}: {files[kind].name} and {path.name} both hold {kind}; keep one in the folder")
        if kind:
            files[kind] = path
    return files


def _kind(path: Path) -> str:
    """Tell a file by its first row: "feedback", "items", "users", or "" for anything else."""
    names = sniff_json(path).keys()
    if {"FeedbackType", "UserId", "ItemId"} <= names:
        return "feedback"
    if "ItemId" in names and "UserId" not in names and names & {"IsHidden", "Categories", "Labels", "Comment"}:
        return "items"
    return "users" if "UserId" in names and "ItemId" not in names else ""


def _feedback(path: Path) -> Table:
    names = {"UserId": "user_id", "ItemId": "item_id", "FeedbackType": "event_type", "Value": "value"}
    kept = {**names, "Timestamp": "timestamp"}
    table = read_json_lines(path, keep=lambda row: {new: row[old] for old, new in kept.items() if old in row}, ids=_ids)
    frame, notes = table.frame, []
    if "timestamp" in frame.columns:
        frame = frame.with_columns(_time(frame["timestamp"]))
        if not frame["timestamp"].count():
            frame = frame.drop("timestamp")
    if "value" in frame.columns and frame.schema["value"].is_numeric() and not (frame["value"] != 0).any():
        frame = frame.drop("value")
        notes.append(f"{path}: every Value is 0, which is none")
    return table.with_frame(frame, *notes)


def _items(path: Path) -> Table:
    table = read_json_lines(path, keep=_item, ids=_ids)
    frame = table.frame
    if frame.schema.get("categories") == pl.Null:
        frame = frame.drop("categories")
    return table.with_frame(_without_empty(frame))


def _users(path: Path) -> Table:
    table = read_json_lines(
        path,
        keep=lambda row: {
            "user_id": row.get("UserId"),
            "labels": _json(row.get("Labels")),
            "comment": row.get("Comment") or None,
        },
        ids=_ids,
    )
    return table.with_frame(_without_empty(table.frame))


def _item(row: dict[str, Any]) -> dict[str, Any]:
    labels = row.get("Labels")
    labelled: dict[str, Any] = {}
    if isinstance(labels, dict):
        labelled = {
            name: labels[name]
            for name, kind in LABELLED.items()
            if isinstance(labels.get(name), kind) and not isinstance(labels.get(name), bool)
        }
        labels = {name: value for name, value in labels.items() if name not in labelled} or None
    created = row.get("Timestamp")
    return {
        "item_id": row.get("ItemId"),
        "title": labelled.pop("title", None) or row.get("Comment") or None,
        **dict.fromkeys(LABELLED.keys() - {"title"}),
        **labelled,
        "categories": row.get("Categories") or None,
        "hidden": row.get("IsHidden"),
        "created_at": None if isinstance(created, str) and created.startswith(ZERO_TIME) else created,
        "labels": _json(labels),
    }


def _json(value: Any) -> str | None:  # noqa: ANN401  # any JSON value
    return json.dumps(value, ensure_ascii=False) if value else None


def _time(column: pl.Series) -> pl.Series:
    if column.dtype != pl.String:
        return column
    return column.set(column.str.starts_with(ZERO_TIME).fill_null(value=False), None)


def _without_empty(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.drop(n for n in frame.columns if n not in ("item_id", "user_id") and not (frame[n].count()))


def _ids(names: list[str]) -> list[str]:
    return [name for name in ("user_id", "item_id") if name in names]
