"""Writing shop data as the canonical folder that `readers` reads back exactly: ids, order, columns, types."""

from __future__ import annotations

import gzip as gzip_module
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from tastemaker.data.checks.columns import KINDS, parse_categories
from tastemaker.data.readers.canonical import (
    DTYPES,
    NEUTRALISED_VERSION,
    ROLES,
    SCHEMA_FILE,
    SCHEMA_MARK,
    SCHEMA_VERSION,
    is_schema,
    role_of,
)
from tastemaker.data.readers.delimited import SEPARATORS
from tastemaker.data.readers.table import DATETIME_TEXT
from tastemaker.data.writers.formulas import neutralised, risky_cells
from tastemaker.drafts import draft
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tastemaker.data.dataset import Dataset

Notation = Literal["parquet", "csv", "tsv", "jsonl"]
BESIDE = frozenset({"augmentation.json", "provenance.parquet"})
"""Files that may stand beside the data: what `tastemaker augment` tells of them."""
WORDS = {dtype: word for word, dtype in DTYPES.items()}


def write(
    data: Dataset,
    folder: str | Path,
    *,
    format: Notation = "parquet",
    gzip: bool = False,
    overwrite: bool = False,
    neutralise: bool = True,
    beside: Mapping[str, bytes] | None = None,
) -> Path:
    """Write interactions, items and users; whole or not at all.

    Each interaction has its position in the user's history, so the order survives where times do not tell it. Text
    notations get `schema.json`, which names the types of the columns that are not canonical.

    In csv and tsv, cells that a spreadsheet would run as a formula get a quotation mark in front (see `formulas`);
    `schema.json` says so, and `readers` takes it away again.

    Args:
        data: the data.
        folder: where they go; its parent is made if needed.
        format: notation of the three files.
        gzip: compress text files.
        overwrite: replace a folder that holds such files, and nothing else.
        neutralise: make cells harmless that a spreadsheet would run.
        beside: further files by name, of `BESIDE`; readers leave them alone.

    Returns:
        The folder.

    Raises:
        DataError: the folder is not empty, or the notation cannot hold a value exactly.
    """
    folder = Path(folder)
    if format not in ("parquet", "csv", "tsv", "jsonl"):
        raise DataError(f"unknown notation '{format}'; known: parquet, csv, tsv, jsonl")
    if gzip and format == "parquet":
        raise DataError("parquet is compressed already; use gzip with csv, tsv or jsonl")
    _refuse_foreign(folder, overwrite=overwrite, is_ours=_is_ours)
    frames = to_frames(data)
    risky = neutralise and format in ("csv", "tsv") and risky_cells_of(data, frames=frames) > 0
    files = {} if format == "parquet" else {SCHEMA_FILE: _schema(frames, format, neutralised=risky)}
    for role, frame in frames.items():
        content = _encode(frame, role, format, neutralise=risky)
        files[f"{role}.{format}" + ".gz" * gzip] = gzip_module.compress(content, mtime=0) if gzip else content
    files |= beside or {}
    return replace_folder(folder, files, overwrite=overwrite, is_ours=_is_ours)


def check_place(folder: str | Path, *, overwrite: bool = False) -> None:
    """Refuse at once what `write` would refuse after the work.

    Raises:
        DataError: the folder is not empty and is not to be replaced, or holds other files.
    """
    _refuse_foreign(Path(folder), overwrite=overwrite, is_ours=_is_ours)


def replace_folder(
    folder: Path, files: Mapping[str, bytes], *, overwrite: bool, is_ours: Callable[[Path], bool]
) -> Path:
    """Write files into a folder of their own, whole or not at all.

    Args:
        folder: where they go; its parent is made if needed.
        files: name -> content.
        overwrite: replace what stands there, if it is ours.
        is_ours: whether a file of the folder may be replaced.

    Raises:
        DataError: the folder holds other files, or cannot be written.
    """
    _refuse_foreign(folder, overwrite=overwrite, is_ours=is_ours)
    try:
        with draft(folder) as new:
            for name, content in files.items():
                (new / name).write_bytes(content)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}") from error
    return folder


def risky_cells_of(data: Dataset, *, frames: Mapping[str, pl.DataFrame] | None = None) -> int:
    """Count the cells of a csv or tsv that `write` makes harmless."""
    found = to_frames(data) if frames is None else frames
    return sum(risky_cells(_texts_joined(frame)) for frame in found.values())


def to_frames(data: Dataset) -> dict[str, pl.DataFrame]:
    """Return interactions, items and users under canonical names; `Dataset.from_frames` is the reverse."""
    users = data.log["user"].to_numpy()
    starts = np.searchsorted(users, users)
    log = data.log.select(
        user_id=data.users.frame["id"].gather(users),
        item_id=data.items.frame["id"].gather(data.log["item"].to_numpy()),
        position=pl.Series(np.arange(len(users)) - starts, dtype=pl.Int64),
    )
    rest = data.log.drop("user", "item")
    rest = rest.select(name for name in rest.columns if name not in ("timestamp", "value") or rest[name].count())
    frames = (log.hstack(rest), data.items.frame.rename({"id": "item_id"}), data.users.frame.rename({"id": "user_id"}))
    return dict(zip(ROLES, frames, strict=True))


def _refuse_foreign(folder: Path, *, overwrite: bool, is_ours: Callable[[Path], bool]) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DataError(f"{folder}: exists and is no folder; choose another name")
    names = sorted(path.name for path in folder.iterdir())
    if names and not overwrite:
        raise DataError(
            f"{folder}: not empty ({', '.join(names[:5])}); choose another folder or replace it (--overwrite)"
        )
    foreign = [name for name in names if not is_ours(folder / name)]
    if foreign:
        raise DataError(f"{folder}: holds other files too ({', '.join(foreign[:5])}); choose another folder")


def _is_ours(path: Path) -> bool:
    return is_schema(path) if path.name == SCHEMA_FILE else path.name in BESIDE or bool(role_of(path))


def _schema(frames: dict[str, pl.DataFrame], format: str, *, neutralised: bool) -> bytes:
    """Name the type of every column that is not canonical.

    Raises:
        DataError: a type that text cannot hold exactly.
    """
    schema: dict[str, Any] = {SCHEMA_MARK: NEUTRALISED_VERSION if neutralised else SCHEMA_VERSION}
    for role, frame in frames.items():
        others = {name: dtype for name, dtype in frame.schema.items() if name not in KINDS[role]}
        for name, dtype in others.items():
            if dtype not in WORDS or (dtype.is_nested() and format != "jsonl"):
                cure = "parquet or jsonl" if dtype == pl.List(pl.String) else "parquet"
                raise DataError(f"{role}: column '{name}' holds {dtype}, which {format} cannot keep; use {cure}")
            if dtype.is_float() and not frame[name].drop_nulls().is_finite().all():
                raise DataError(f"{role}: column '{name}' holds NaN or infinity; use parquet, or remove them")
        schema[role] = {name: WORDS[dtype] for name, dtype in others.items()}
    return (json.dumps(schema, indent=1, ensure_ascii=False) + "\n").encode()


def _encode(frame: pl.DataFrame, role: str, format: str, *, neutralise: bool) -> bytes:
    buffer = io.BytesIO()
    if format == "parquet":
        frame.write_parquet(buffer)
        return buffer.getvalue()
    moments = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime)]
    frame = frame.with_columns(pl.col(moments).dt.to_string(DATETIME_TEXT))
    if format == "jsonl":
        frame.write_ndjson(buffer)
    else:
        if role == "items" and "categories" in frame.columns:
            frame = _join_categories(frame, format)
        if neutralise:
            frame = neutralised(frame)
        frame.write_csv(buffer, separator=SEPARATORS[f".{format}"])
    return buffer.getvalue()


def _texts_joined(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the categories as they stand in a csv."""
    lists = frame.schema.get("categories") == pl.List(pl.String)
    return frame.with_columns(pl.col("categories").list.join("|")) if lists else frame


def _join_categories(frame: pl.DataFrame, format: str) -> pl.DataFrame:
    """Join lists of categories with "|".

    Raises:
        DataError: a list that would not come back the same, because a name holds a separator or outer blanks.
    """
    if frame.schema["categories"] == pl.Null:
        return frame
    joined = frame.with_columns(pl.col("categories").list.join("|"))
    back = joined.select(parse_categories(pl.col("categories"))).to_series()
    same = back.eq_missing(frame["categories"].cast(pl.List(pl.String)))
    if not same.all():
        row = int((~same).arg_max() or 0)
        names = frame["categories"][row].to_list()
        raise DataError(
            f"items: the categories {names} of '{frame[row, 0]}' cannot be told apart in "
            f"{format}, which separates them with '|' or ' > '; use parquet or jsonl"
        )
    return joined
