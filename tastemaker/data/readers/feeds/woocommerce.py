"""WooCommerce's product CSV (Products > Export, English header); one item a product, variations rolled up.

item_id = ID, where the file has none the SKU. A variation goes to its parent, named "id:123" or by SKU; ids and SKUs of
variations, SKUs and GTINs are other names of the product. price = the lowest regular price (the file names no
currency), sale_price beside it; categories = the first path of "Clothing > Shirts, Sale"; the others stay in
all_categories. A product that is a draft, private or hidden in the catalogue is hidden.
https://github.com/woocommerce/woocommerce/wiki/Product-CSV-Import-Schema
"""

from __future__ import annotations

import re
from dataclasses import replace
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
    without_repeats,
)
from tastemaker.data.readers.text import header_words

if TYPE_CHECKING:
    from pathlib import Path

    from tastemaker.data.readers.table import Table, Tables
    from tastemaker.progress import Progress

NAME = "woocommerce"
COLUMNS = {
    "own_id": ("id",),
    "type": ("type",),
    "sku": ("sku",),
    "gtin": ("gtin_upc_ean_or_isbn",),
    "title": ("name",),
    "published": ("published",),
    "visibility": ("visibility_in_catalog",),
    "short_description": ("short_description",),
    "description": ("description",),
    "in_stock": ("in_stock",),
    "sale_price": ("sale_price",),
    "price": ("regular_price",),
    "all_categories": ("categories",),
    "images": ("images",),
    "parent": ("parent",),
    "brand": ("brands", "brand"),
}
MARKS = {"type", "sku", "name", "published"}
VARIATION = "\0variation"
ATTRIBUTE = re.compile(r"attribute_(\d+)_(name|value_s|visible|global|default)")
COMMA = re.compile(r"(?<!\\),")


def recognises(source: Path) -> bool:
    """Whether `source` is a CSV with WooCommerce's header names."""
    words = {plain_name(word) for word in header_words(source)}
    return words >= MARKS and bool(words & {"regular_price", "parent", "visibility_in_catalog"})


def load(source: Path, progress: Progress) -> Tables:
    """Read the file.

    Raises:
        DataError: it cannot be read, or lacks the columns Type and Name.
    """
    table, given = read_csv_feed(source, progress, COLUMNS, needed=("type", "title"), format=NAME)
    table = table.with_frame(table.frame.with_columns(own_id=pl.coalesce("own_id", "sku")))
    table = _with_products(without_repeats(table, "own_id", header="ID"))
    table = with_texts(with_prices(table, "price", "sale_price"), "title", "description", "short_description")
    first = [_listed(text)[0] if text else None for text in table.frame["all_categories"]]
    frame = table.frame.with_columns(
        pl.Series("categories", first, dtype=pl.String),
        pl.Series("options", _options(table.frame), dtype=pl.List(pl.String)),
    )
    frame = frame.with_columns(
        category_path(pl.col("categories")),
        pl.when(_has_variations()).then(None).otherwise(_availability()).alias("availability"),
        _is_hidden().first().over("item_id").alias("hidden"),
        pl.coalesce("description", "short_description").alias("description"),
        pl.col("images").str.split(",").list.first().str.strip_chars().alias("image_link"),
    )
    names = aliases(table, {"own_id": "ID of a variation", "sku": "SKU", "gtin": "GTIN"})
    used = [name for name in frame.columns if ATTRIBUTE.fullmatch(name)]
    frame = frame.drop(*used, "own_id", "type", "parent", "in_stock", "published", "visibility", VARIATION)
    return as_tables(table.with_frame(frame), given, names)


def _with_products(table: Table) -> Table:
    """Add the id of each row's product, and put products before their variations."""
    rows = table.frame.with_columns(
        pl.col("type").str.to_lowercase().str.contains(r"\bvariation\b").fill_null(value=False).alias(VARIATION)
    )
    products = rows.filter(~pl.col(VARIATION)).drop_nulls(["sku", "own_id"]).unique("sku", keep="first")
    by_sku = dict(products.select("sku", "own_id").iter_rows())
    parents = [_parent(text, by_sku) for text in rows["parent"]]
    parent = pl.Series("item_id", parents, dtype=pl.String)
    lost = (rows[VARIATION] & rows["parent"].is_not_null() & parent.is_null()).fill_null(value=False)
    found = problem_table(
        table.lines.filter(lost),
        rows["parent"].filter(lost),
        file=table.file,
        column="Parent",
        rule="unknown-parent",
        hint="no product of the file has this SKU; export its parent too, or write id:NUMBER",
    )
    rows = rows.with_columns(
        pl.when(VARIATION).then(pl.coalesce(parent, "own_id")).otherwise("own_id").alias("item_id")
    )
    order = rows.with_row_index("row").sort(VARIATION, maintain_order=True)["row"]
    sorted_rows = table.with_problems(found).with_frame(rows[order])
    return replace(sorted_rows, lines=table.lines.gather(order))


def _parent(text: str | None, by_sku: dict[str, str]) -> str | None:
    """Return the id of the parent that a variation names."""
    if text is None:
        return None
    name = text.strip()
    return name[3:].strip() or None if name.lower().startswith("id:") else by_sku.get(name)


def _listed(text: str) -> list[str]:
    r"""Split "a, b\, c" into "a" and "b, c"; at least one, which may be empty."""
    parts = [part.replace("\\,", ",").strip() for part in COMMA.split(text)]
    return [part for part in parts if part] or [""]


def _options(frame: pl.DataFrame) -> list[list[str]]:
    """Return the attributes of each row as "Size: S"."""
    numbers = [found[1] for name in frame.columns if (found := ATTRIBUTE.fullmatch(name)) and found[2] == "name"]
    pairs = [(f"attribute_{n}_name", f"attribute_{n}_value_s") for n in numbers]
    pairs = [pair for pair in pairs if pair[1] in frame.columns]
    rows: list[list[str]] = [[] for _ in range(frame.height)]
    for name, values in pairs:
        for row, attribute, text in zip(rows, frame[name], frame[values], strict=True):
            if attribute and text:
                row += [f"{attribute}: {value}" for value in _listed(text) if value]
    return rows


def _has_variations() -> pl.Expr:
    """Whether a row is a product whose variations are in the file, and say what is in stock."""
    return ~pl.col(VARIATION) & pl.col(VARIATION).any().over("item_id")


def _availability() -> pl.Expr:
    word = pl.col("in_stock").str.to_lowercase().replace({"1": "in_stock", "0": "out_of_stock"})
    return word.replace({"yes": "in_stock", "no": "out_of_stock", "true": "in_stock", "false": "out_of_stock"})


def _is_hidden() -> pl.Expr:
    unpublished = pl.col("published").is_in(["0", "-1"])
    nowhere = pl.col("visibility").str.to_lowercase() == "hidden"
    return is_any(unpublished, nowhere)
