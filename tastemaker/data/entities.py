"""Items or users of a shop: string ids outside, int32 numbers inside."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from tastemaker.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.types import Int32


MANY = 10_000
"""Ids from which on numbering them by a join is faster than one by one."""


class Entities:
    """Items or users with any describing columns; the row number is the entity's number.

    Args:
        frame: column "id" (distinct strings) and any other columns, e.g. title, brand, categories, price, description.

    Raises:
        DataError: no "id" column, an id that is null or empty, or an id given twice.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        if "id" not in frame.columns:
            raise DataError(f"entities need a column 'id'; found: {', '.join(frame.columns) or 'none'}")
        ids = frame["id"].cast(pl.String)
        empty = ids.is_null() | (ids == "")
        if empty.any():
            raise DataError(f"entities: row {empty.arg_max()} has an empty id; every entity needs one")
        if ids.n_unique() != len(ids):
            twice = ids.filter(ids.is_duplicated())[0]
            raise DataError(f"entities: id {twice!r} occurs more than once; remove or merge the repeated rows")
        self.frame = frame.with_columns(ids.alias("id")).select("id", pl.exclude("id"))

    @classmethod
    def from_ids(cls, ids: Sequence[str] | pl.Series) -> Entities:
        """Make entities that have ids and nothing else."""
        return cls(pl.DataFrame({"id": pl.Series("id", ids, dtype=pl.String)}))

    def __len__(self) -> int:
        return self.frame.height

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entities) and self.frame.equals(other.frame)

    __hash__ = None  # type: ignore[assignment]  # compared by content, so not hashable

    def __repr__(self) -> str:
        return f"Entities({len(self)}, columns={self.frame.columns})"

    @cached_property
    def _number_of(self) -> dict[str, int]:
        return {id_: number for number, id_ in enumerate(self.frame["id"].to_list())}

    def numbers(self, ids: Sequence[str] | pl.Series, *, unknown: Literal["raise", "mark"] = "raise") -> Int32:
        """Return the numbers of `ids`, shape [n].

        Args:
            ids: string ids.
            unknown: "raise" refuses an unknown id, "mark" gives it the number -1.

        Raises:
            DataError: an id is unknown and `unknown` is "raise".
        """
        if isinstance(ids, pl.Series) and ids.dtype == pl.String and len(ids) >= MANY:
            numbers = self._joined(ids)
        else:
            find = self._number_of.get
            values = ids.to_list() if isinstance(ids, pl.Series) else ids
            numbers = np.fromiter((find(id_, -1) for id_ in values), dtype=np.int32, count=len(values))
        if unknown == "raise" and (numbers < 0).any():
            first = ids[int((numbers < 0).argmax())]
            raise DataError(f"unknown id {first!r}; it is not among the {len(self)} known ones")
        return numbers

    def _joined(self, ids: pl.Series) -> Int32:
        """Return the numbers of many ids, -1 for an unknown one; much faster than one by one."""
        known = self.frame.select("id", number=pl.int_range(pl.len(), dtype=pl.Int32))
        found = ids.rename("id").to_frame().join(known, on="id", how="left", maintain_order="left")
        numbers: Int32 = found["number"].fill_null(-1).to_numpy()
        return numbers

    def ids(self, numbers: Int32 | Sequence[int]) -> list[str]:
        """Return the ids of `numbers`."""
        picked: list[str] = self.frame["id"].gather(np.asarray(numbers)).to_list()
        return picked

    def extend(self, frame: pl.DataFrame) -> Entities:
        """Return entities with the rows of `frame` appended; old numbers stay.

        Raises:
            DataError: an id of `frame` is known already or occurs twice.
        """
        return Entities(pl.concat([self.frame, frame], how="diagonal_relaxed"))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the ids in order: equal digests mean entities numbered alike."""
        state = hashlib.sha256()
        for id_ in self.frame["id"]:
            raw = id_.encode("utf-8", "surrogatepass")
            state.update(len(raw).to_bytes(8, "little") + raw)
        return state.hexdigest()
