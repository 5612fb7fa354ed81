"""Writing shop data as Gorse reads them: users, items and feedback as JSON lines; `readers.gorse` is the reverse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from tastemaker.data.readers.gorse import LABELLED
from tastemaker.data.writers.canonical import replace_folder, to_frames
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tastemaker.data.dataset import Dataset

FILES = ("users.jsonl", "items.jsonl", "feedback.jsonl")
TYPE = "interaction"
"""FeedbackType of interactions without an event_type."""
SHOWN = 3


def write_gorse(data: Dataset, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write the three files of Gorse's "Import" pages, whole or not at all.

    The title goes to Comment; brand, description, price, currency, availability, links and group to Labels, with what
    stands in a column labels as JSON; hidden and created_at to IsHidden and Timestamp. Gorse keeps one feedback a user,
    item and type: of several the last counts, and its value; without values Value is 0. Other columns are not written.

    Args:
        data: the data.
        folder: where the files go.
        overwrite: replace a folder that holds such files, and nothing else.

    Returns:
        The folder.

    Raises:
        DataError: an id holds "/", which Gorse forbids, or the folder is not empty or cannot be written.
    """
    frames = to_frames(data)
    for kind in ("users", "items"):
        _refuse_slashes(frames[kind][f"{kind.removesuffix('s')}_id"], kind)
    columns = set(frames["items"].columns)
    labels = [name for name in LABELLED if name != "title" and name in columns]
    content = {
        "users.jsonl": (_user(row) for row in frames["users"].iter_rows(named=True)),
        "items.jsonl": (_item(row, labels) for row in frames["items"].iter_rows(named=True)),
        "feedback.jsonl": _feedback(frames["interactions"]),
    }
    return replace_folder(
        Path(folder),
        {name: _lines(rows) for name, rows in content.items()},
        overwrite=overwrite,
        is_ours=lambda path: path.name in FILES,
    )


def _refuse_slashes(ids: pl.Series, kind: str) -> None:
    found = ids.filter(ids.str.contains("/", literal=True))
    if len(found):
        first = ", ".join(repr(one) for one in found.head(SHOWN))
        raise DataError(f"{len(found):,} of the {kind} have an id with '/', which Gorse forbids ({first}); rename them")


def _user(row: dict[str, Any]) -> dict[str, Any]:
    return {"UserId": row["user_id"], "Labels": _parsed(row.get("labels")), "Comment": row.get("comment") or ""}


def _parsed(labels: Any) -> Any:  # noqa: ANN401  # any JSON value
    """Return labels that stand in a column as JSON; a text that is none is one label."""
    if not isinstance(labels, str):
        return labels
    try:
        return json.loads(labels)
    except (ValueError, RecursionError):
        return [labels]


def _item(row: dict[str, Any], columns: list[str]) -> dict[str, Any]:
    said = {name: row[name] for name in columns if row[name] is not None}
    labels = _parsed(row.get("labels"))
    if labels is not None and said:
        labels = {**(labels if isinstance(labels, dict) else {"labels": labels}), **said}
    item = {
        "ItemId": row["item_id"],
        "IsHidden": row.get("hidden") is True,
        "Categories": row.get("categories") or [],
        "Labels": labels or said or None,
        "Comment": row.get("title") or "",
    }
    created = row.get("created_at")
    return item if created is None else {**item, "Timestamp": str(created)}


def _feedback(log: pl.DataFrame) -> Iterable[dict[str, Any]]:
    kind = pl.col("event_type").cast(pl.String) if "event_type" in log.columns else pl.lit(None, dtype=pl.String)
    value = pl.col("value").cast(pl.Float64) if "value" in log.columns else pl.lit(0.0)
    time = pl.from_epoch("timestamp", "s") if "timestamp" in log.columns else pl.lit(None, dtype=pl.Datetime("us"))
    rows = log.select(
        kind.replace("", None).fill_null(TYPE).alias("FeedbackType"),
        pl.col("user_id").alias("UserId"),
        pl.col("item_id").alias("ItemId"),
        value.fill_null(0).alias("Value"),
        time.dt.to_string("%Y-%m-%dT%H:%M:%SZ").alias("Timestamp"),
    )
    keys = ["FeedbackType", "UserId", "ItemId"]
    for row in rows.unique(keys, keep="last", maintain_order=True).iter_rows(named=True):
        yield {name: value for name, value in row.items() if value is not None}


def _lines(rows: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows).encode()
