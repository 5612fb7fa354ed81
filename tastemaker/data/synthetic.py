"""Synthetic interactions: purchases that nobody made, proposed by augmentation, and kept apart from real ones.

A row of the log whose column "provenance" begins with "synthetic: " is one; the text says who proposed it, and from
which training part. Splits set such rows aside before anything is held out, so they are never a target and never in a
history that is asked about; they join the training parts afterwards, each shopper's behind her own purchases. They are
refused where the training part is another than the one they were proposed from, as they could tell what is held out.

So are texts: beside those that augmentation wrote for items or users stands a column "written_from", of the same form.
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import polars as pl

from tastemaker.data import cells
from tastemaker.data.dataset import PROVENANCE, SYNTHETIC, WRITTEN_FROM
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.splits.holdout import Split
    from tastemaker.types import Int32

S = TypeVar("S", bound="Callable[..., Split]")
DIGEST = 16
"""Characters of the digest of a training part."""


def train_digest(train: Dataset) -> str:
    """Return what tells one training part from another: who bought what in which order."""
    state = hashlib.sha256()
    log = train.log.select("user", "item")
    for part in (train.users.digest.encode(), train.items.digest.encode(), *cells.content(log)):
        state.update(part)
    return state.hexdigest()[:DIGEST]


def synthetic_rows(train: Dataset, users: Int32, items: Int32, provenance: list[str]) -> pl.DataFrame:
    """Return synthetic interactions as rows of a log.

    They have the time of the shopper's newest purchase and, where every interaction has a value, the shopper's median.

    Args:
        train: real interactions only.
        users: user numbers, [s]; each has a purchase in `train`.
        items: item numbers, [s].
        provenance: who proposed each, and from what, [s].
    """
    newest = train.log.group_by("user").agg(pl.col("timestamp").max(), pl.col("value").median().cast(pl.Float32))
    rows = pl.DataFrame(
        {
            "user": pl.Series(users, dtype=pl.Int32),
            "item": pl.Series(items, dtype=pl.Int32),
            PROVENANCE: pl.Series([f"{SYNTHETIC}{one}" for one in provenance], dtype=pl.String),
        }
    ).join(newest, on="user", how="left", maintain_order="left")
    if not train.has_values:
        rows = rows.with_columns(value=pl.lit(None, dtype=pl.Float32))
    return rows


def written_from(frame: pl.DataFrame) -> list[str]:
    """Return what a table of items or users says its augmented texts were written from; [] where there are none."""
    if WRITTEN_FROM not in frame.columns:
        return []
    said: list[str] = frame[WRITTEN_FROM].cast(pl.String).drop_nulls().unique().sort().to_list()
    return [one for one in said if one.startswith(SYNTHETIC)]


def behind(data: Dataset, rows: pl.DataFrame) -> Dataset:
    """Return the data with further rows of the log, each shopper's behind her own."""
    log = pl.concat([data.log, rows], how="diagonal_relaxed")
    order = [name for name in data.log.columns if name != PROVENANCE]
    return data.with_log(log.select(*order, PROVENANCE).sort("user", maintain_order=True))


def sets_synthetic_aside(split: S) -> S:
    """Let a way to split see real interactions only, and add the synthetic ones to the training parts it makes."""

    @functools.wraps(split)
    def apart(data: Dataset, **settings: Any) -> Split:  # noqa: ANN401  # those of the split
        synthetic = data.synthetic()
        rows = data.log.filter(synthetic)
        parts = split(data.real(), **settings)
        _check_origin(data, rows, parts)
        if rows.is_empty():
            return parts
        return replace(
            parts,
            train=behind(parts.train, rows),
            refit=behind(parts.refit, rows),
            protocol={
                **parts.protocol,
                "data_fingerprint": data.fingerprint,
                "synthetic_interactions_in_training": rows.height,
            },
        )

    return cast("S", apart)


def _check_origin(data: Dataset, rows: pl.DataFrame, parts: Split) -> None:
    """Refuse interactions and texts that were made from another training part.

    Raises:
        DataError: as above.
    """
    claims = {
        "interactions": rows[PROVENANCE].unique().sort().to_list() if rows.height else [],
        "texts of items": written_from(data.items.frame),
        "texts of users": written_from(data.users.frame),
    }
    if not any(claims.values()):
        return
    here, name, seed = train_digest(parts.train), parts.protocol["split"], parts.protocol.get("split_seed")
    cure = f"--split {name}" + ("" if seed is None else f" --seed {seed}")
    if name == "leave-one-out":
        cure += ", by which fit --split none makes its choices too"
    for what, said in ((what, said) for what, texts in claims.items() for said in texts):
        match = re.search(r"\btrain=(\w+)", said)
        if match is None or match[1] != here:
            raise DataError(
                f"synthetic {what} ({said!r}) were not made from the train part of this {name} split (train={here}), "
                f"so they could tell what is held out; run tastemaker augment on the same data with {cure}"
            )
