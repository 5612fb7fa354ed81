"""Six products, whose every column a rule can speak of."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

NOW = int(datetime(2026, 11, 27, 12, tzinfo=UTC).timestamp() * 1000)
DAY = 86_400_000

ROWS = [
    # id, brand, categories, price, availability, group_id, seller, minimum_age, regions, age in days
    ("i0", "Acme", ["Food", "Coffee"], 5.0, "in_stock", "g0", "Smith", None, ["DE"], 1),
    ("i1", "acme", ["Food", "Wine"], 12.0, "In Stock", "g1", "Smith", 18.0, ["DE", "CH"], 400),
    ("i2", "Bolt", ["Tools"], 40.0, "out_of_stock", "g2", "Jones", None, None, 10),
    ("i3", "Bolt", ["Tools", "Drills"], 90.0, "preorder", "g2", "Jones", None, [], None),
    ("i4", None, None, None, None, None, None, None, None, 5),
    ("i5", "Cosy", ["Food", "Coffee"], 6.0, "in_stock", "g0", "Jones", 16.0, ["US"], 3),
]


def frame() -> pl.DataFrame:
    names = ["id", "brand", "categories", "price", "availability", "group_id", "seller", "minimum_age", "regions"]
    table = pl.DataFrame([row[:-1] for row in ROWS], schema=names, orient="row")
    created = [None if row[-1] is None else NOW - row[-1] * DAY for row in ROWS]
    return table.with_columns(pl.Series("created_at", created, dtype=pl.Int64), pl.lit("EUR").alias("currency"))
