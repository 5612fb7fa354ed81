"""Shopify's product CSV, with the header names of before and of after 2025; one item a handle.

A product has a row for each variant and for each further image; all share the handle, and only the first need have a
title. item_id = handle; SKUs and barcodes are other names of it. brand = vendor; categories = product category, else
type; price = the lowest variant price (the file names no currency); options = "Size: S, M; Colour: red".
availability follows Shopify's rules (not tracked: in stock; sold out: by the policy); a draft, an archived product and
one that is not published is hidden.
https://help.shopify.com/en/manual/products/import-export/using-csv
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from tastemaker.data.checks.problems import problem_table
from tastemaker.data.readers.feeds.variants import (
    aliases,
    as_tables,
    category_path,
    is_any,
    plain_name,
    read_csv_feed,
    with_prices,
    with_texts,
)
from tastemaker.data.readers.text import header_words

if TYPE_CHECKING:
    from pathlib import Path

    from tastemaker.data.readers.table import Table, Tables
    from tastemaker.progress import Progress

NAME = "shopify"
COLUMNS = {
    "item_id": ("handle", "url_handle"),
    "title": ("title",),
    "description": ("body_html", "description"),
    "brand": ("vendor",),
    "category": ("product_category",),
    "type": ("type",),
    "sku": ("variant_sku", "sku"),
    "barcode": ("variant_barcode", "barcode"),
    "price": ("variant_price", "price"),
    "compare_at_price": ("variant_compare_at_price", "compare_at_price"),
    "tracker": ("variant_inventory_tracker", "inventory_tracker"),
    "quantity": ("variant_inventory_qty", "inventory_quantity"),
    "policy": ("variant_inventory_policy", "continue_selling_when_out_of_stock"),
    "published": ("published", "published_on_online_store"),
    "status": ("status",),
    "image_link": ("image_src", "product_image_url"),
    **{f"option{n}_{part}": (f"option{n}_{part}",) for n in (1, 2, 3) for part in ("name", "value")},
}
HANDLES = {"handle", "url_handle"}
MARKS = {"vendor", "variant_price", "body_html", "option1_name", "published_on_online_store", "inventory_quantity"}


def recognises(source: Path) -> bool:
    """Whether `source` is a CSV with Shopify's header names."""
    words = {plain_name(word) for word in header_words(source)}
    return bool(words & HANDLES) and "title" in words and len(words & MARKS) >= 2


def load(source: Path, progress: Progress) -> Tables:
    """Read the file.

    Raises:
        DataError: it cannot be read, or has no column of handles or titles.
    """
    table, given = read_csv_feed(source, progress, COLUMNS, needed=("item_id", "title"), format=NAME)
    table = _one_title(with_texts(with_prices(table, "price", "compare_at_price"), "title", "description"))
    is_variant = pl.any_horizontal(pl.col("price", "sku", "option1_value").is_not_null())
    options = [_option(n) for n in (1, 2, 3)]
    frame = table.frame.with_columns(
        availability=pl.when(is_variant).then(_availability()),
        options=pl.concat_list(options).list.drop_nulls(),
        hidden=_is_hidden(),
        categories=category_path(pl.coalesce("category", "type")),
    )
    unused = [f"option{n}_{part}" for n in (1, 2, 3) for part in ("name", "value")]
    table = table.with_frame(frame.drop(*unused, "category", "tracker", "policy", "quantity"))
    names = aliases(table, {"sku": "SKU", "barcode": "barcode"})
    return as_tables(table, given, names)


def _one_title(table: Table) -> Table:
    """Report rows whose handle has another title above them, and leave out products whose first row is bad."""
    title = pl.col("title")
    first = title.drop_nulls().first().over("item_id")
    other = table.frame.select((title.is_not_null() & (title != first)).fill_null(value=False)).to_series()
    hint = "another product has the handle; give each its own"
    lines, values = table.lines.filter(other), table.frame["title"].filter(other)
    found = problem_table(lines, values, file=table.file, column="title", rule="handle-used-twice", hint=hint)
    table = table.with_problems(found)
    bad = table.lines.is_in(table.problems["line"].unique().implode())
    lost = table.frame.select("item_id", bad=bad, first=pl.col("item_id").is_first_distinct()).filter("bad", "first")
    headless = table.frame["item_id"].is_in(lost["item_id"].drop_nulls().implode()).fill_null(value=False)
    return table.filter(~headless)


def _option(number: int) -> pl.Expr:
    """Write the option of a variant as "Size: S"; the name stands in the product's first row only."""
    name = pl.col(f"option{number}_name").drop_nulls().first().over("item_id")
    value = pl.col(f"option{number}_value")
    no_choice = (name == "Title") & (value == "Default Title")
    return pl.when(value.is_not_null() & name.is_not_null() & ~no_choice).then(pl.format("{}: {}", name, value))


def _availability() -> pl.Expr:
    stock = pl.col("quantity").cast(pl.Float64, strict=False)
    goes_on = pl.col("policy").str.to_lowercase().is_in(["continue", "true", "yes", "1"])
    tracked = pl.col("tracker").is_not_null()
    word = pl.when(stock > 0).then(pl.lit("in_stock")).when(goes_on).then(pl.lit("backorder"))
    word = word.when(stock.is_not_null()).then(pl.lit("out_of_stock"))
    return pl.when(~tracked & stock.is_null()).then(pl.lit("in_stock")).otherwise(word)


def _is_hidden() -> pl.Expr:
    """Whether the product is not in the shop; what is not said counts as sold."""
    draft = pl.col("status").str.to_lowercase() != "active"
    unpublished = pl.col("published").str.to_lowercase() == "false"
    return is_any(draft, unpublished).any().over("item_id")
