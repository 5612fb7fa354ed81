"""Filters that make a data set smaller: k-core, repeated interactions, and types of events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tastemaker.data.dataset import Dataset
from tastemaker.data.entities import Entities
from tastemaker.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection


def k_core(data: Dataset, k: int = 5, *, items: int | None = None) -> Dataset:
    """Keep users and items with at least `k` interactions each, again and again until nothing changes.

    Args:
        data: any data set.
        k: least number of interactions of a user, and of an item unless `items` is given.
        items: least number of interactions of an item.

    Raises:
        DataError: nothing is left.
    """
    least_item = k if items is None else items
    log = data.log
    while True:
        height = log.height
        log = log.filter(pl.len().over("item") >= least_item).filter(pl.len().over("user") >= k)
        if log.height == height:
            break
    if not log.height:
        raise DataError(f"no user and item have {k} and {least_item} interactions; use a smaller core")
    return compact(data.with_log(log))


def without_repeats(data: Dataset) -> Dataset:
    """Keep the first interaction of each user with each item."""
    return data.with_log(data.log.unique(["user", "item"], keep="first", maintain_order=True))


def without_copies(data: Dataset) -> Dataset:
    """Keep the first of the interactions of one user with one item at one time; without times all are kept.

    Where there is an event_type, copies are alike in it too: who looks and buys in one second did both.
    """
    if not data.log["timestamp"].count():
        return data
    alike = [name for name in ("user", "item", "timestamp", "event_type") if name in data.log.columns]
    copies = pl.col("timestamp").is_not_null() & ~pl.struct(alike).is_first_distinct()
    return data.with_log(data.log.filter(~copies))


def of_events(data: Dataset, types: Collection[str]) -> Dataset:
    """Keep the interactions whose event_type is one of `types`; users and items stay.

    Raises:
        DataError: there are no types, or one is not among them.
    """
    if "event_type" not in data.log.columns:
        raise DataError("the interactions have no event_type to choose by")
    known = data.log["event_type"].drop_nulls().unique().sort().to_list()
    for one in types:
        if one not in known:
            raise DataError(
                f"no interaction of the type {one!r}{did_you_mean(one, known)}; there are: {', '.join(known)}"
            )
    return data.with_log(data.log.filter(pl.col("event_type").is_in(list(types))))


def compact(data: Dataset) -> Dataset:
    """Drop users and items that have no interaction, and number the rest anew in the old order."""
    log = data.log
    users, new_user = _used(data.users, log["user"])
    items, new_item = _used(data.items, log["item"])
    log = log.with_columns(
        pl.Series("user", new_user[log["user"].to_numpy()]), pl.Series("item", new_item[log["item"].to_numpy()])
    )
    return Dataset(users, items, log)


def _used(entities: Entities, numbers: pl.Series) -> tuple[Entities, np.ndarray[tuple[int], np.dtype[np.int32]]]:
    used = np.zeros(len(entities), dtype=bool)
    used[numbers.to_numpy()] = True
    return Entities(entities.frame.filter(used)), (np.cumsum(used) - 1).astype(np.int32)
