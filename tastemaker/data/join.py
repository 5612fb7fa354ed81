"""Several shops as one data set, to learn from all of them: what one shop's log lacks, another's may teach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from tastemaker.data.dataset import Dataset
from tastemaker.data.entities import Entities
from tastemaker.data.writers.canonical import to_frames
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

SHOP, OWN_ID = "shop", "id_in_shop"
"""Columns of joined users and items that say where they come from."""
SEPARATOR = "/"


def join(shops: Mapping[str, Dataset]) -> Dataset:
    """Return the users, items and logs of all shops side by side; nothing is merged.

    Ids get the shop's name in front, as equal ids of two shops are not the same product or person; the columns "shop"
    and "id_in_shop" keep what they were made of. Other columns of one name are joined where their types agree.

    Args:
        shops: name -> data; names are free of "/".

    Raises:
        DataError: fewer than two shops, a name with "/", or a column of one name and two types.
    """
    if len(shops) < 2:
        raise DataError(f"join: {len(shops)} shop; needs at least two")
    for name in shops:
        if not name or SEPARATOR in name:
            raise DataError(f"join: {name!r} is no name of a shop; it must not be empty or hold {SEPARATOR!r}")
    users = _entities({name: shop.users for name, shop in shops.items()}, "users")
    items = _entities({name: shop.items for name, shop in shops.items()}, "items")
    logs, first_user, first_item = [], 0, 0
    for shop in shops.values():
        moved = (pl.col("user") + first_user).cast(pl.Int32), (pl.col("item") + first_item).cast(pl.Int32)
        logs.append(shop.log.with_columns(*moved))
        first_user, first_item = first_user + shop.n_users, first_item + shop.n_items
    return Dataset(users, items, _stacked(logs, shops, "interactions"))


def merge(logs: Mapping[str, Dataset]) -> Dataset:
    """Return several logs of one shop as one: equal ids are the same user and item, and times order the histories.

    What the first log that has a record of a user or an item says of it counts, column by column.

    Args:
        logs: name, for messages -> data.

    Raises:
        DataError: fewer than two logs, one without times, or a column of one name and two types.
    """
    if len(logs) < 2:
        raise DataError(f"join: {len(logs)} log; needs at least two")
    for name, data in logs.items():
        if len(data) and not data.has_timestamps:
            raise DataError(
                f"join: {name} has interactions without a time; their order with those of others is not known"
            )
    frames = [to_frames(data) for data in logs.values()]
    log = _stacked([one["interactions"].drop("position") for one in frames], logs, "interactions")
    records = {
        kind: _stacked([one[kind] for one in frames], logs, kind)
        .group_by(key, maintain_order=True)
        .agg(pl.all().drop_nulls().first())
        for kind, key in (("items", "item_id"), ("users", "user_id"))
    }
    return Dataset.from_frames(log, records["items"], records["users"])


def shop_names(frame: pl.DataFrame) -> list[str | None]:
    """Return the name of the shop of each row of joined users or items; None where a table is of one shop."""
    joined = {SHOP, OWN_ID} <= set(frame.columns)
    return frame[SHOP].to_list() if joined else [None] * frame.height


def own_ids(frame: pl.DataFrame) -> list[str]:
    """Return the ids of users or items as their own shops have them."""
    return [str(one) for one in frame[OWN_ID if OWN_ID in frame.columns else "id"]]


def _entities(parts: Mapping[str, Entities], kind: str) -> Entities:
    frames = []
    for name, part in parts.items():
        taken = {SHOP, OWN_ID} & set(part.frame.columns)
        if taken:
            raise DataError(f"join: {kind} of {name} have a column {taken.pop()!r} already; join the shops themselves")
        own = pl.col("id")
        frames.append(
            part.frame.with_columns(pl.lit(name).alias(SHOP), own.alias(OWN_ID)).with_columns(
                pl.concat_str(pl.lit(name + SEPARATOR), own).alias("id")
            )
        )
    return Entities(_stacked(frames, parts, kind))


def _stacked(frames: list[pl.DataFrame], names: Mapping[str, object], kind: str) -> pl.DataFrame:
    """Put frames below each other; a column that one lacks is null there.

    Raises:
        DataError: a column has two types.
    """
    try:
        return pl.concat(frames, how="diagonal")
    except (pl.exceptions.SchemaError, pl.exceptions.ShapeError):
        pass
    types: dict[str, tuple[str, pl.DataType]] = {}
    for name, frame in zip(names, frames, strict=True):
        for column, dtype in frame.schema.items():
            other, known = types.setdefault(column, (name, dtype))
            if dtype != known and pl.Null not in (dtype, known):
                raise DataError(
                    f"join: column '{column}' of the {kind} is {known} in {other} and {dtype} in {name}; "
                    "make them alike, or leave it out of one"
                )
    return pl.concat(frames, how="diagonal_relaxed")
