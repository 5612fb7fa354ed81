"""An order log and a product feed from two systems as one source: which product does an order name?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from tastemaker.data.checks.columns import is_text
from tastemaker.data.checks.problems import counted
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from tastemaker.data.readers.table import Table, Tables

SHOWN = 3
"""Ids that a message shows of each side."""


def combine(orders: Tables, products: Tables) -> Tables:
    """Return the interactions of one source with the items of another.

    An order's id that is no item's own id is looked up among the other names of the products: ids of variants, SKUs,
    barcodes. A name that two products share decides nothing. Ids that are found nowhere stay: a feed lists what is sold
    today, orders also name what was sold once, so such items have an id and no record.

    Raises:
        DataError: no interactions on one side, no products on the other, or not one id in common.
    """
    log, items = orders.interactions, products.items
    if log is None:
        raise DataError("the first source holds products only; it must be the order log, and the feed comes second")
    if items is None:
        raise DataError("the second source describes no products")
    notes = [*orders.notes, *products.notes]
    ids = log.frame.get_column("item_id", default=None)
    own = items.frame.get_column("item_id", default=None)
    if ids is not None and own is not None and is_text(ids.dtype) and is_text(own.dtype) and len(own):
        log = _named_alike(log, items, products.aliases)
    if orders.items is not None:
        notes.append(f"{orders.items.file}: not read; {items.file} describes the items")
    partial = (*(name for name in orders.partial if name != "items"), "items")
    return replace(orders, interactions=log, items=items, partial=partial, notes=tuple(notes))


def _named_alike(log: Table, items: Table, aliases: pl.DataFrame | None) -> Table:
    """Give the interactions the items' own ids where they go by another name, and say how many do."""
    own = items.frame.select(pl.col("item_id").cast(pl.String)).drop_nulls().unique()
    asked = log.frame.select(alias=pl.col("item_id").cast(pl.String)).drop_nulls()
    counts = asked.group_by("alias", maintain_order=True).len("count")
    known = counts.join(own, left_on="alias", right_on="item_id", how="semi")
    others = counts.join(own, left_on="alias", right_on="item_id", how="anti", maintain_order="left")
    words = [f"{int(known['count'].sum()):,} by its own id"] if known.height else []
    found = pl.DataFrame(schema={"alias": pl.String, "item_id": pl.String})
    if aliases is not None and aliases.height and others.height:
        meant = others.join(aliases, on="alias", how="inner", maintain_order="left_right")
        meant = meant.join(own, on="item_id", how="semi", maintain_order="left")
        clear = meant.filter(pl.col("item_id").n_unique().over("alias") == 1).unique("alias", maintain_order=True)
        undecided = meant.filter(pl.col("item_id").n_unique().over("alias") > 1).unique("alias")
        for (kind,), part in clear.group_by("kind", maintain_order=True):
            words.append(f"{int(part['count'].sum()):,} by {kind}")
        if undecided.height:
            words.append(
                f"{int(undecided['count'].sum()):,} by a name that several products share, which decides nothing"
            )
        found = clear.select("alias", "item_id")
    unknown = others.join(found, on="alias", how="anti", maintain_order="left")
    if counts.height and not known.height and not found.height:
        raise DataError(
            f"{items.file}: knows none of the {counted(counts.height, 'item id')} of {log.file}: there "
            f"{_some(counts['alias'])}, here {_some(own['item_id'].sort())}; export both with the same ids"
        )
    note = f"{items.file}: interactions that name a product of it: {', '.join(words)}"
    if unknown.height:
        note += f"; that name none: {int(unknown['count'].sum()):,}"
    if not found.height:
        return log.with_frame(log.frame, note)
    frame = log.frame.with_columns(pl.col("item_id").cast(pl.String))
    frame = frame.join(
        found.rename({"item_id": "\0own"}), left_on="item_id", right_on="alias", how="left", maintain_order="left"
    )
    return log.with_frame(frame.with_columns(pl.coalesce("\0own", "item_id").alias("item_id")).drop("\0own"), note)


def _some(ids: pl.Series) -> str:
    more = ", ..." if len(ids) > SHOWN else ""
    return ", ".join(repr(one) for one in ids.head(SHOWN)) + more
