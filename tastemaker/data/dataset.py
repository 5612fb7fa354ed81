"""The data of one shop: users, items, and the log of interactions between them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import polars as pl
from scipy.sparse import csr_array

from tastemaker.data import cells
from tastemaker.data.entities import Entities
from tastemaker.data.queries import Queries
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from narwhals.typing import IntoDataFrame

    from tastemaker.types import Bool, Float32

# Names that mean something in the frames of a `Dataset`; a shop's own column of that name gets a trailing "_".
RESERVED = {"interactions": ("user", "item"), "items": ("id",), "users": ("id",)}


PROVENANCE, SYNTHETIC = "provenance", "synthetic: "
"""A log's column, and how its texts begin for synthetic interactions; what follows says who proposed them."""
WRITTEN_FROM = "written_from"
"""Column of items or users beside texts that augmentation wrote: it says as much of them, and is shown in no text."""


def free_names(columns: Collection[str], reserved: Iterable[str]) -> dict[str, str]:
    """Return old name -> free name for the columns that are called as one of `reserved`."""
    taken = {}
    for old in set(reserved) & set(columns):
        new = f"{old}_"
        while new in columns:
            new += "_"
        taken[old] = new
    return taken


@dataclass(frozen=True)
class Dataset:
    """Immutable shop data.

    Attributes:
        users: the shoppers; may contain some without interactions.
        items: the catalogue; may contain products that nobody has bought.
        log: columns user (i32), item (i32), timestamp (i64 unix seconds or null), value (f32 rating or amount, or
            null), then any further columns; rows sorted by user, and in the order it happened within each user.
    """

    users: Entities
    items: Entities
    log: pl.DataFrame

    @classmethod
    def from_frames(
        cls,
        interactions: IntoDataFrame,
        items: IntoDataFrame | None = None,
        users: IntoDataFrame | None = None,
    ) -> Dataset:
        """Make a data set from polars, pandas or pyarrow tables that were checked already.

        Args:
            interactions: user_id, item_id, and optionally position (order within a user), timestamp (unix seconds),
                value or rating, and any others. Order within a user: position if given, else timestamp if given
                (stable), else the order of the rows. Other columns called user or item become user_ and item_.
            items: item_id and describing columns; one called id becomes id_. Without it the catalogue is what occurs in
                `interactions`, in order of the ids.
            users: user_id and describing columns. Without it the users are those in `interactions`, in row order.

        Raises:
            DataError: a needed column is missing, or an interaction names an unknown item or user.
        """
        log = _native(interactions)
        log = log.rename(free_names(log.columns, RESERVED["interactions"]))
        for column in ("user_id", "item_id"):
            if column not in log.columns:
                raise DataError(f"interactions need a column '{column}'; found: {', '.join(log.columns)}")
        log = log.with_columns(pl.col("user_id", "item_id").cast(pl.String))
        bought = log["item_id"].unique().sort()  # numbers in order of appearance would tell who bought what next
        item_entities = _entities(items, "item_id", bought)
        user_entities = _entities(users, "user_id", log["user_id"].unique(maintain_order=True))
        if "value" not in log.columns and "rating" in log.columns:
            log = log.rename({"rating": "value"})
        order = [column for column in ("position", "timestamp") if column in log.columns][:1]
        extra = [c for c in log.columns if c not in ("user_id", "item_id", "timestamp", "value", "position")]
        log = log.select(
            pl.Series("user", user_entities.numbers(log["user_id"])),
            pl.Series("item", item_entities.numbers(log["item_id"])),
            _column(log, "timestamp", pl.Int64),
            _column(log, "value", pl.Float32),
            *order[:1] if order == ["position"] else [],
            *extra,
        )
        log = _by_user(log, len(user_entities), *order).drop("position", strict=False)
        return cls(user_entities, item_entities, log)

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """Number of items in the catalogue, bought or not."""
        return len(self.items)

    def __len__(self) -> int:
        return self.log.height

    def with_log(self, log: pl.DataFrame) -> Dataset:
        """Return the same users and items with another log."""
        return Dataset(self.users, self.items, log)

    @property
    def has_timestamps(self) -> bool:
        """Whether every interaction has a time."""
        return self.log.height > 0 and self.log["timestamp"].null_count() == 0

    @property
    def has_values(self) -> bool:
        """Whether every interaction has a value (a rating, for instance)."""
        return self.log.height > 0 and self.log["value"].null_count() == 0

    @cached_property
    def popularity(self) -> Float32:
        """Number of interactions of each item, float32 [n_items]; synthetic ones do not count."""
        return np.bincount(self.real().log["item"].to_numpy(), minlength=self.n_items).astype(np.float32)

    @cached_property
    def bought(self) -> Bool:
        """Whether an item occurs in the log, bool [n_items]; synthetic ones count, as models learn from them."""
        occurs = np.zeros(self.n_items, dtype=np.bool_)
        occurs[self.log["item"].to_numpy()] = True
        return occurs

    def synthetic(self) -> pl.Series:
        """Say which interactions are synthetic; see `tastemaker.data.synthetic`."""
        if PROVENANCE not in self.log.columns:
            return pl.repeat(False, len(self), eager=True)
        return self.log[PROVENANCE].cast(pl.String).str.starts_with(SYNTHETIC).fill_null(value=False)

    def real(self) -> Dataset:
        """Return the data without synthetic interactions, and without the column where it marks nothing else."""
        synthetic = self.synthetic()
        if not synthetic.any():
            return self
        log = self.log.filter(~synthetic)
        return self.with_log(log if log[PROVENANCE].count() else log.drop(PROVENANCE))

    def matrix(self) -> csr_array:
        """Return who interacted with what: ones, sparse float32 [n_users, n_items]; repeats count once."""
        return self.queries().matrix(self.n_items)

    def ratings(self) -> csr_array:
        """Return the values, sparse float32 [n_users, n_items]; the newest value of a repeated pair counts.

        Raises:
            DataError: some interactions have no value.
        """
        if not self.has_values:
            missing = self.log["value"].null_count()
            raise DataError(f"{missing} of {len(self)} interactions have no value; ratings need a 'value' column")
        log = self.log.unique(["user", "item"], keep="last", maintain_order=True).sort("user", "item")
        values, columns = log["value"].to_numpy(), log["item"].to_numpy()
        indptr = np.zeros(self.n_users + 1, dtype=np.int32)
        np.cumsum(np.bincount(log["user"].to_numpy(), minlength=self.n_users), out=indptr[1:])
        return csr_array((values, columns, indptr), shape=(self.n_users, self.n_items))

    def queries(self) -> Queries:
        """Return one query a user, in user-number order: the whole history."""
        counts = np.bincount(self.log["user"].to_numpy(), minlength=self.n_users)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return Queries(offsets, self.log["item"].to_numpy(), users=np.arange(self.n_users, dtype=np.int32))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every column of users, items and log, rows in order: the same value means the same data."""
        state = hashlib.sha256()
        for table in (self.users.frame, self.items.frame, self.log):
            state.update(len(table.columns).to_bytes(8, "little"))
            for part in cells.content(table):
                state.update(part)
        return state.hexdigest()


def _native(frame: IntoDataFrame) -> pl.DataFrame:
    return nw.from_native(frame, eager_only=True).to_polars()


def _by_user(log: pl.DataFrame, users: int, order: str | None = None) -> pl.DataFrame:
    """Sort by user, and by `order` within a user, nulls last; ties keep their order.

    Whole numbers are packed into one key of 64 bits where they fit, which sorts faster than two columns.
    """
    if order is None:
        return log.sort("user", maintain_order=True)
    if not log[order].dtype.is_integer() or not log[order].count():
        return log.sort("user", order, maintain_order=True, nulls_last=True)
    low, high = log.select(low=pl.col(order).min(), high=pl.col(order).max()).row(0)
    span = high - low + 2
    if users * span >= 2**63 or low < -(2**62) or high >= 2**62:
        return log.sort("user", order, maintain_order=True, nulls_last=True)
    place = (pl.col(order).cast(pl.Int64) - low).fill_null(span - 1)
    key = (pl.col("user").cast(pl.Int64) * span + place).alias("\0key")
    return log.with_columns(key).sort("\0key", maintain_order=True).drop("\0key")


def _entities(frame: IntoDataFrame | None, key: str, used: pl.Series) -> Entities:
    if frame is None:
        return Entities.from_ids(used)
    table = _native(frame)
    if key not in table.columns:
        raise DataError(f"{key.removesuffix('_id')}s need a column '{key}'; found: {', '.join(table.columns)}")
    return Entities(table.rename({**free_names(table.columns, ("id",)), key: "id"}))


def _column(log: pl.DataFrame, name: str, dtype: Any) -> pl.Expr:  # noqa: ANN401  # polars dtypes have no common type
    return pl.col(name).cast(dtype) if name in log.columns else pl.lit(None, dtype=dtype).alias(name)
