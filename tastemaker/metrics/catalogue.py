"""What the measures know about the products: how often they were bought, their categories, texts and prices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tastemaker.errors import DataError

if TYPE_CHECKING:
    from typing import Self

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.types import Float32, Float64, Int32, Int64

UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Catalogue:
    """n products as the measures see them; nothing in it comes from held-out interactions.

    Attributes:
        popularity: training interactions of each product, float32 [n].
        buyers: shoppers with a training interaction with each product, float32 [n].
        n_users: shoppers with any training interaction.
        categories: number of each product's most specific category, int32 [n], -1 = none; or None.
        category_names: their names, by number.
        vectors: unit vectors of the texts, float32 [n, d], zeros = no text; or None.
        prices: float64 [n], NaN = unknown; or None.
    """

    popularity: Float32
    buyers: Float32
    n_users: int
    categories: Int32 | None
    category_names: tuple[str, ...]
    vectors: Float32 | None
    prices: Float64 | None

    @classmethod
    def of(cls, train: Dataset, *, vectors: Float32 | None = None) -> Self:
        """Gather what the measures need from the training data; synthetic interactions do not count.

        Raises:
            DataError: vectors of another shape, or not of length 1; a price that is no amount.
        """
        if vectors is not None:
            _check_vectors(vectors, train.n_items)
        train = train.real()
        found = item_categories(train.items)
        categories, names = found if found is not None else (None, ())
        buyers = train.log.select("user", "item").unique()["item"].to_numpy()
        return cls(
            popularity=train.popularity,
            buyers=np.bincount(buyers, minlength=train.n_items).astype(np.float32),
            n_users=train.log["user"].n_unique(),
            categories=categories,
            category_names=names,
            vectors=None if vectors is None else np.ascontiguousarray(vectors, dtype=np.float32),
            prices=item_prices(train.items),
        )

    def __len__(self) -> int:
        return len(self.popularity)

    @property
    def by_popularity(self) -> Int64:
        """The products, most popular first; of equally popular ones the lower number, int64 [n]."""
        return np.argsort(-self.popularity, kind="stable")


def item_categories(items: Entities) -> tuple[Int32, tuple[str, ...]] | None:
    """Return the number of each item's most specific category, int32 [n], -1 = none, and the names by number.

    The most specific category is the last of a list. None where no item has a category.
    """
    if "categories" not in items.frame.columns:
        return None
    column = items.frame["categories"]
    leaves = (column.list.last() if isinstance(column.dtype, pl.List) else column).cast(pl.String)
    names = leaves.drop_nulls().unique().sort()
    if not len(names):
        return None
    numbers = leaves.cast(pl.Enum(names)).to_physical().cast(pl.Int32).fill_null(-1)
    return numbers.to_numpy(), tuple(names)


def item_prices(items: Entities) -> Float64 | None:
    """Return the price of each item, float64 [n], NaN = unknown; None where no item has one.

    Raises:
        DataError: the column does not hold numbers, or a price is negative or infinite.
    """
    if "price" not in items.frame.columns:
        return None
    column = items.frame["price"]
    if not (column.dtype.is_numeric() or column.dtype == pl.Null):
        raise DataError(f"items: column 'price' holds {column.dtype}; give plain numbers such as 12.5")
    prices = column.cast(pl.Float64).to_numpy()
    if np.isnan(prices).all():
        return None
    bad = (prices < 0) | np.isinf(prices)
    if bad.any():
        row = int(bad.argmax())
        raise DataError(f"items: the price of '{items.frame['id'][row]}' is {prices[row]}; give an amount or nothing")
    return prices


def _check_vectors(vectors: Float32, n_items: int) -> None:
    if vectors.ndim != 2 or len(vectors) != n_items:
        raise DataError(f"catalogue: vectors of shape {vectors.shape} for {n_items} items; give one row an item")
    lengths = np.linalg.norm(vectors, axis=1)
    bad = ~((np.abs(lengths - 1) <= UNIT_TOLERANCE) | (lengths == 0))  # also NaN
    if bad.any():
        row = int(bad.argmax())
        raise DataError(
            f"catalogue: the vector of item number {row} has length {lengths[row]:.4g}; "
            "scale each to length 1, or leave zeros where an item has no text"
        )
