"""Amazon reviews, releases 2014, 2018 and 2023: review files, ratings-only files and product metadata.

A folder holds one file of reviews or ratings, and optionally one of metadata (meta_*), each told by its first row;
one file alone is read without metadata. The rating is the value. Item key: asin, in 2023 parent_asin.
Ratings-only files have no header and differ by release: 2014 is user,item,rating,time and 2018 item,user,rating,time.
The column in which most values look like an ASIN (B... or an ISBN-10) is the item.

From metadata: title, brand (2023: store), categories (the first path), description (features behind it), price.
Their texts come from web pages: entities are unescaped, tags and hostile characters removed, white space collapsed;
prices that are no plain amount ("$1.99 - $3.99") stay empty; all of it is counted in the notes.
https://cseweb.ucsd.edu/~jmcauley/datasets.html, https://amazon-reviews-2023.github.io
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import polars as pl

from tastemaker.data.readers.delimited import read_delimited
from tastemaker.data.readers.json_lines import read_json_lines, sniff_json
from tastemaker.data.readers.markup import plain
from tastemaker.data.readers.table import Table, Tables, rename_columns
from tastemaker.data.readers.text import first_lines
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from tastemaker.progress import Progress

NAME = "amazon"
ASIN = re.compile(r"(B[0-9A-Z]{9}|\d{9}[\dX])")
REVIEWER = re.compile(r"A[0-9A-Z]{9,20}")
HEADER_2023 = {"user_id", "parent_asin", "rating", "timestamp"}
FILE = re.compile(r"\.(jsonl?|csv)(\.gz)?$", re.IGNORECASE)
SNIFFED = 1000  # rows that vote on the column order of a ratings-only file
LOG = {
    "reviewerID": "user_id",
    "asin": "item_id",
    "overall": "value",
    "unixReviewTime": "timestamp",
    "user_id": "user_id",
    "parent_asin": "item_id",
    "rating": "value",
    "timestamp": "timestamp",
}
PRICE = re.compile(r"\$?\s*(\d{1,3}(?:,\d{3})*(?:\.\d+)?|\d+(?:\.\d+)?)")


def recognises(source: Path) -> bool:
    """Whether `source` is a file of reviews or ratings, or a folder that holds one."""
    files = [source] if source.is_file() else _files(source)
    return any(_kind(path) not in ("", "meta") for path in files)


def load(source: Path, progress: Progress) -> Tables:
    """Read reviews or ratings, and metadata if there are any.

    Raises:
        DataError: no reviews, or several files of one kind.
    """
    kinds = {path: _kind(path) for path in ([source] if source.is_file() else _files(source))}
    reviews = _one(source, [path for path, kind in kinds.items() if kind not in ("", "meta")], "reviews or ratings")
    meta = _one(source, [path for path, kind in kinds.items() if kind == "meta"], "metadata")
    if reviews is None:
        raise DataError(f"{source}: no reviews; looked for JSON lines with reviewerID or parent_asin, or csv")
    files = [path for path in (reviews, meta) if path is not None]
    tables = [_load(path, kinds[path]) for path in progress(files, label="reading files")]
    if meta is None:
        return Tables(tables[0])
    return Tables(tables[0], tables[1], partial=("items",))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if FILE.search(path.name) and path.is_file())


def _one(source: Path, files: list[Path], what: str) -> Path | None:
    if len(files) > 1:
        names = ", ".join(path.name for path in files)
        raise DataError(f"{source}: several files of {what}: {names}; keep one in the folder")
    return files[0] if files else None


def _kind(path: Path) -> str:
    """Tell a file by its first row: "reviews", "meta", "csv", "ratings", or "" for anything else."""
    row = sniff_json(path)
    if "reviewerID" in row or {"user_id", "parent_asin"} <= row.keys():
        return "reviews"
    if "parent_asin" in row or ("asin" in row and row.keys() & {"title", "categories", "category", "imUrl", "price"}):
        return "meta"
    line = "" if row else first_lines(path)[0]
    words = line.split(",")
    if set(words) >= HEADER_2023:
        return "csv"
    if len(words) == 4 and any(ASIN.fullmatch(word) for word in words[:2]):
        return "ratings"
    return ""


def _load(path: Path, kind: str) -> Table:
    if kind == "meta":
        return _load_meta(path)
    if kind == "ratings":
        return _load_ratings(path)
    if kind == "csv":
        table = read_delimited(path, separator=",")
        left = [name for name in table.frame.columns if name not in HEADER_2023]
        notes = [f"{path}: not kept: {', '.join(left)}"] if left else []
        return rename_columns(
            table.with_frame(table.frame.drop(left), *notes), {"parent_asin": "item_id", "rating": "value"}
        )
    ignored: Counter[str] = Counter()
    table = read_json_lines(path, keep=lambda row: _review(row, ignored), ids=_ids)
    notes = [f"{path}: not kept: {', '.join(sorted(ignored))}"] if ignored else []
    return table.with_frame(table.frame, *notes)


def _ids(names: list[str]) -> list[str]:
    return [name for name in ("user_id", "item_id") if name in names]


def _load_ratings(path: Path) -> Table:
    rows = [line.split(",") for line in first_lines(path, SNIFFED) if line.count(",") == 3]
    votes = [sum(bool(ASIN.fullmatch(row[place])) for row in rows) for place in (0, 1)]
    item_first = votes[0] > votes[1]
    columns = ["item_id", "user_id"] if item_first else ["user_id", "item_id"]
    table = read_delimited(path, separator=",", columns=[*columns, "value", "timestamp"], quoted=False)
    order = "item,user (as in 2018)" if item_first else "user,item (as in 2014)"
    note = f"{path}: columns taken as {order}: {max(votes)} of {len(rows)} first rows have an ASIN there"
    return table.with_frame(table.frame, f"{note}, {min(votes)} in the other column")


def _review(row: dict[str, Any], ignored: Counter[str]) -> dict[str, Any]:
    """Keep who, what, how much and when; count the rest by name."""
    known = {name: LOG[name] for name in row if name in LOG and not (name == "asin" and "parent_asin" in row)}
    ignored.update(name for name in row if name not in known)
    kept = {new: row[old] for old, new in known.items()}
    verified = row.get("verified", row.get("verified_purchase"))
    return kept if verified is None else {**kept, "verified": verified}


def _load_meta(path: Path) -> Table:
    counts: Counter[str] = Counter()
    table = read_json_lines(path, keep=lambda row: _product(row, counts), ids=_ids)
    if not table.frame.width:
        return table
    texts = ("item_id", "title", "brand", "description")
    frame = table.frame.with_columns(
        *(pl.col(name).cast(pl.String) for name in texts), pl.col("categories").cast(pl.List(pl.String))
    )
    same = frame.select(~pl.struct(pl.all()).is_first_distinct() & pl.col("item_id").is_not_null()).to_series()
    table = table.with_frame(frame).filter(~same)
    if same.any():
        counts["exact repeats of a product, left out"] = int(same.sum())
    return table.with_frame(table.frame, *(f"{path}: {what}: {count:,}" for what, count in sorted(counts.items())))


def _product(row: dict[str, Any], counts: Counter[str]) -> dict[str, Any]:
    """Turn a metadata object of any release into the columns of an item."""
    paths = row.get("categories") or row.get("category") or []
    path = paths[0] if isinstance(paths, list) and paths and isinstance(paths[0], list) else paths
    if not isinstance(path, list | str):
        counts["products with categories that are no names and stay empty"] += 1
    texts = {
        "title": _strings(row.get("title")),
        "brand": _strings(row.get("brand") or row.get("store")),
        "description": [*_strings(row.get("description")), *_strings(row.get("features") or row.get("feature"))],
    }
    cleaned = {name: [plain(part) for part in parts] for name, parts in texts.items()}
    if cleaned != texts:
        counts["products with entities, tags, hostile characters or double spaces removed"] += 1
    price = row.get("price")
    amount = PRICE.fullmatch(str(price).strip()) if price is not None else None
    if price not in (None, "", "None") and amount is None:
        counts["prices that are no plain amount and stay empty"] += 1
    return {
        "item_id": row.get("parent_asin") or row.get("asin"),
        **{name: "\n".join(filter(None, parts)) or None for name, parts in cleaned.items()},
        "categories": [name for part in _strings(path) if (name := plain(part))],
        "price": float(amount[1].replace(",", "")) if amount else None,
    }


def _strings(value: object) -> list[str]:
    if isinstance(value, list):
        return [part for part in value if isinstance(part, str)]
    return [value] if isinstance(value, str) and value else []
