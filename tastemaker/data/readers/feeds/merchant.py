"""Google Merchant Center product feeds: tab-separated text, RSS 2.0 and Atom (names with the prefix g:).

item_id = item_group_id where a product has variants, else id; ids of variants, GTINs and MPNs are other names of the
product. categories = product_type (the shop's own), else google_product_category unless that is a number. price is the
regular one, sale_price beside it; availability as in_stock, out_of_stock, preorder or backorder. Nested attributes
(shipping, tax) are not read. XML is read as a stream by defusedxml: documents with a DOCTYPE, and so with entities, are
refused.
https://support.google.com/merchants/answer/7052112
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from tastemaker.data.readers.delimited import read_delimited
from tastemaker.data.readers.feeds import xml
from tastemaker.data.readers.feeds.variants import (
    aliases,
    as_tables,
    category_path,
    choose,
    plain_name,
    stock_words,
    with_plain_names,
    with_prices,
    with_texts,
    without_repeats,
)
from tastemaker.data.readers.text import header_words

if TYPE_CHECKING:
    from pathlib import Path

    from tastemaker.data.readers.table import Tables
    from tastemaker.progress import Progress

NAME = "merchant"
COLUMNS = {
    "own_id": ("id",),
    "group": ("item_group_id",),
    **{
        name: (name,)
        for name in ("title", "description", "brand", "price", "sale_price", "availability", "gtin", "mpn")
    },
    **{name: (name,) for name in ("product_type", "google_product_category", "color", "size")},
}
OPTIONS = ("color", "size")
MARKS = {
    *("link", "image_link", "availability", "gtin", "mpn", "condition", "google_product_category", "product_type"),
    *("item_group_id", "sale_price", "mobile_link", "additional_image_link", "identifier_exists"),
}


def recognises(source: Path) -> bool:
    """Whether `source` is a feed in XML, or a table with the names of feed attributes."""
    if not source.is_file():
        return False
    words = {plain_name(word) for word in header_words(source)}
    return xml.recognises(source) or ({"id", "title"} <= words and "user_id" not in words and len(words & MARKS) >= 2)


def load(source: Path, progress: Progress) -> Tables:
    """Read the feed.

    Raises:
        DataError: it cannot be read, has no column id or title, or is XML that is broken or refused.
    """
    (path,) = progress([source], label="reading files")
    in_xml = xml.recognises(path)
    raw = with_plain_names(xml.read_entries(path) if in_xml else read_delimited(path, separator="\t"))
    given = [name for name in raw.frame.columns if name not in OPTIONS]
    table = choose(raw, COLUMNS, needed=("own_id", "title"), format=NAME)
    table = without_repeats(table, "own_id", header="id")
    table = with_texts(with_prices(table, "price", "sale_price"), "title", "description")
    number = pl.col("google_product_category").str.contains(r"^\s*\d+\s*$")
    google = pl.when(~number.fill_null(value=True)).then("google_product_category")
    options = [pl.format("{}: {}", pl.lit(name), pl.col(name)) for name in OPTIONS]
    frame = table.frame.with_columns(
        stock_words(pl.col("availability")),
        pl.coalesce("group", "own_id").alias("item_id"),
        category_path(pl.coalesce("product_type", google)).alias("categories"),
        pl.when(pl.col("group").is_not_null()).then(pl.concat_list(options).list.drop_nulls()).alias("options"),
    )
    of_one = (pl.when(pl.col("group").is_null()).then(pl.col(name)).alias(name) for name in OPTIONS)
    table = table.with_frame(frame.with_columns(of_one))
    names = aliases(table, {"own_id": "id of a variant", "gtin": "GTIN", "mpn": "MPN"})
    return as_tables(table.with_frame(table.frame.drop("own_id", "group", "product_type")), given, names)
