"""What product feeds have in common: names of columns, prices, stock words, and variants rolled up to their product.

A shopper who bought the red shirt in M is not to be recommended the red shirt in L: the item is the product, and the
ids of its variants become other names of it (`Tables.aliases`), so that orders which name a variant are understood.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl

from tastemaker.data.checks.problems import counted, problem_table
from tastemaker.data.checks.rules import DUPLICATE
from tastemaker.data.readers.delimited import read_delimited
from tastemaker.data.readers.markup import page_text
from tastemaker.data.readers.prices import parse_prices
from tastemaker.data.readers.table import Tables
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from tastemaker.data.readers.table import Table
    from tastemaker.progress import Progress

AVAILABILITY = ("in_stock", "backorder", "preorder", "out_of_stock")
"""Words of the column "availability"; of the variants of a product the foremost counts."""
STOCK_WORDS = {
    "instock": "in_stock",
    "outofstock": "out_of_stock",
    "backordered": "backorder",
    "onbackorder": "backorder",
}
MARKUP = r"</?[A-Za-z][^<>]*>|&(?:[A-Za-z]{2,8}|#\d{2,6}|#x[0-9A-Fa-f]{2,5});"
NO_PARENT = ("", "0", "null", "none", "nan", "\\n")
"""What stands, in upper or lower case, where an export names no parent; an id of the table is one all the same."""
DEEPEST = 5
"""Levels of variants of variants that are followed."""
LOWEST = ("price", "sale_price", "compare_at_price")


def plain_name(header: str) -> str:
    """Return the name of a column in lower case with "_" for all that is no letter or digit."""
    return re.sub(r"\W+", "_", header.removeprefix("g:").strip().lower()).strip("_") or "column"


def with_plain_names(table: Table) -> Table:
    """Give every column its plain name; the second of two equal ones gets a trailing "_"."""
    names: dict[str, str] = {}
    for column in table.frame.columns:
        name = plain_name(column)
        while name in names.values():
            name += "_"
        names[column] = name
    return table.with_frame(table.frame.rename(names))


def read_csv_feed(
    source: Path, progress: Progress, wanted: Mapping[str, Sequence[str]], *, needed: Iterable[str], format: str
) -> tuple[Table, list[str]]:
    """Read a feed that is one CSV; return it with its columns chosen, and the plain names that the file has.

    Args:
        source: the file.
        progress: shows that it is read.
        wanted: see `choose`.
        needed: see `choose`.
        format: see `choose`.

    Raises:
        DataError: it cannot be read, or a needed column is missing.
    """
    (path,) = progress([source], label="reading files")
    raw = with_plain_names(read_delimited(path, separator=","))
    return choose(raw, wanted, needed=needed, format=format), raw.frame.columns


def as_tables(table: Table, given: Sequence[str], names: pl.DataFrame) -> Tables:
    """Return the products of a feed: rows of variants rolled up, see `roll_up`, and their other names."""
    return Tables(None, roll_up(table, given), partial=("items",), aliases=names)


def rolled_up(table: Table, header: str, group: str) -> Tables:
    """Return the products of a table in which some rows are variants of others.

    Args:
        table: rows with an item_id, and prices as people write them.
        header: what the file calls the item_id.
        group: column with the id of the product that a row is a variant of; empty, `NO_PARENT` or the row's own id in
            rows of products. A variant of a variant is one of the product above both.
    """
    given = table.frame.columns
    table = without_repeats(table, "item_id", header=header)
    table = with_prices(table, "price") if "price" in given else table
    parent = _parents(table.frame, group)
    frame = table.frame.with_columns(
        pl.select(pl.coalesce(parent, table.frame["item_id"])).to_series().alias("item_id"),
        pl.col("item_id").alias("\0own"),
    )
    order = parent.is_not_null().arg_sort()  # a product's own row says most
    table = type(table)(table.file, frame[order], table.lines[order], table.problems, table.notes)
    names = aliases(table, {"\0own": "id of a variant"})
    return as_tables(table.with_frame(table.frame.drop("\0own", group)), given, names)


def _parents(frame: pl.DataFrame, group: str) -> pl.Series:
    """Return of what product each row is a variant, null for a product's own row."""
    ids, named = frame["item_id"].cast(pl.String), frame[group]
    if named.dtype.is_float():  # whole numbers, some of them missing
        named = named.cast(pl.Int64, strict=False)
    named = named.cast(pl.String).str.strip_chars()
    none = (named.str.to_lowercase().is_in(NO_PARENT) & ~named.is_in(ids.drop_nulls().implode())) | (named == ids)
    parents = named.set(none.fill_null(value=True), None)
    for _ in range(DEEPEST):
        known = parents.is_not_null() & ids.is_not_null()
        above = parents.replace(ids.filter(known), parents.filter(known))
        if above.equals(parents):
            break
        parents = above
    return parents


def is_any(*conditions: pl.Expr) -> pl.Expr:
    """Say whether one of some conditions holds; what is not known does not."""
    return pl.any_horizontal(condition.fill_null(value=False) for condition in conditions)


def choose(table: Table, wanted: Mapping[str, Sequence[str]], *, needed: Iterable[str], format: str) -> Table:
    """Call columns by one name each, whichever of several headers a release uses; the others keep theirs.

    Args:
        table: with plain names.
        wanted: name -> plain names under which the column may stand, the first that is there counts.
        needed: names without which the file is not of the format.
        format: its name, for messages.

    Raises:
        DataError: a needed column is missing.
    """
    columns = table.frame.columns
    found = {name: next((word for word in words if word in columns), None) for name, words in wanted.items()}
    for name in needed:
        if found[name] is None:
            words = " or ".join(f"'{word}'" for word in wanted[name])
            raise DataError(
                f"{table.file}: no column {words}, which a file of the format {format} has; found: {', '.join(columns)}"
            )
    old = {word: name for name, word in found.items() if word is not None}
    taken = {column: f"{column}_" for column in columns if column in old.values() and column not in old}
    frame = table.frame.rename({**taken, **{word: name for word, name in old.items() if word != name}})
    absent = [pl.lit(None, dtype=pl.String).alias(name) for name, word in found.items() if word is None]
    filled = [pl.col(name).replace("", None) for name, dtype in frame.schema.items() if dtype == pl.String]
    return table.with_frame(frame.with_columns(filled).with_columns(absent))


def with_prices(table: Table, *columns: str) -> Table:
    """Parse columns of prices; the first one's currencies go to "currency" unless the table has that column filled."""
    frame, notes, problems = table.frame, [], []
    for place, column in enumerate(columns):
        found = parse_prices(frame[column], table.lines, file=table.file)
        frame = frame.with_columns(found.amount)
        problems.append(found.problems)
        notes += [found.words] if found.words else []
        if place == 0 and ("currency" not in frame.columns or not frame["currency"].count()):
            frame = frame.with_columns(found.currency)
    currencies = frame["currency"].drop_nulls().unique().sort().to_list()
    if len(currencies) > 1:
        notes.append(f"{table.file}: prices in several currencies ({', '.join(currencies)}); they are not converted")
    return table.with_problems(*problems).with_frame(frame, *notes)


def with_texts(table: Table, *columns: str) -> Table:
    """Turn HTML into the text that a browser shows, and say of how many products."""
    notes, texts = [], []
    for column in columns:
        old = table.frame[column]
        new = pl.Series(column, [text and page_text(text) for text in old.to_list()], dtype=pl.String)
        changed = int((new != old).sum())
        if changed:
            notes.append(
                f"{table.file}: column '{column}': markup, entities or odd spaces removed in {counted(changed, 'row')}"
            )
        texts.append(new.set(new == "", None))
    return table.with_frame(table.frame.with_columns(texts), *notes)


def without_markup(table: Table, *columns: str) -> Table:
    """Turn the HTML in some texts of a shop's own table into what a browser shows; all other texts stay as they are."""
    frame, notes = table.frame, []
    for column in columns:
        if frame.schema.get(column) != pl.String:
            continue
        marked = frame[column].str.contains(MARKUP).fill_null(value=False)
        if marked.any():
            shown = [page_text(text) if is_html else text for text, is_html in zip(frame[column], marked, strict=True)]
            frame = frame.with_columns(pl.Series(column, shown, dtype=pl.String))
            count = counted(int(marked.sum()), "row")
            notes.append(f"{table.file}: column '{column}': markup or entities removed in {count}")
    return table.with_frame(frame, *notes)


def stock_words(column: pl.Expr) -> pl.Expr:
    """Return "in stock", "In_Stock" or "https://schema.org/InStock" as one of `AVAILABILITY`; others as they are."""
    word = column.str.split("/").list.last().str.to_lowercase().str.strip_chars().str.replace_all(r"[\s_-]+", "_")
    return word.replace(STOCK_WORDS)


def category_path(column: pl.Expr) -> pl.Expr:
    """Split "Home > Kitchen > Pots" into its names."""
    parts = column.str.split(">").list.eval(pl.element().str.strip_chars())
    return parts.list.eval(pl.element().filter(pl.element() != ""))


def without_repeats(table: Table, column: str, *, header: str) -> Table:
    """Report the rows whose id an earlier row has, and leave them out."""
    ids = table.frame[column]
    again = ~ids.is_first_distinct() & ids.is_not_null()
    found = problem_table(
        table.lines.filter(again),
        ids.filter(again),
        file=table.file,
        column=header,
        rule=DUPLICATE.name,
        hint=DUPLICATE.hint,
    )
    return table.with_problems(found).filter(~again)


def aliases(table: Table, kinds: Mapping[str, str]) -> pl.DataFrame:
    """Return under which other ids products may be named: columns alias, item_id and kind.

    Args:
        table: rows of products or variants with the column item_id of the product.
        kinds: column of such ids -> what it is called in messages, the surest first.
    """
    empty = pl.DataFrame(schema={"alias": pl.String, "item_id": pl.String, "kind": pl.String})
    found = [
        table.frame.select(alias=pl.col(column).cast(pl.String), item_id=pl.col("item_id"), kind=pl.lit(kind))
        for column, kind in kinds.items()
        if column in table.frame.columns
    ]
    return pl.concat([empty, *found]).drop_nulls().filter(pl.col("alias") != "").unique(maintain_order=True)


def roll_up(table: Table, given: Sequence[str]) -> Table:
    """Return one row a product, item_id, from rows of variants; rows with a problem are left out before.

    Of each column the first value counts that is there; of prices the lowest, of stock words the most available; of
    "options" (lists such as ["Colour: red"]) all values by name, as text. "hidden" is true if it is for all variants.
    Columns that are empty throughout are dropped.

    Args:
        table: the rows.
        given: columns that the file has, to be named if they are empty.
    """
    bad = table.lines.is_in(table.problems["line"].unique().implode())
    table = table.filter(~bad)
    frame = table.frame.with_columns(
        pl.coalesce("item_id", pl.format("\0{}", pl.int_range(pl.len()))).alias("\0product"),
        table.lines.alias("\0line"),
    )
    takes = []
    for name, dtype in table.frame.schema.items():
        column = pl.col(name)
        if name in LOWEST:
            takes.append(column.min())
        elif name == "availability":
            rank = column.replace_strict(AVAILABILITY, list(range(len(AVAILABILITY))), default=len(AVAILABILITY))
            takes.append(column.filter(column.is_not_null()).sort_by(rank.filter(column.is_not_null())).first())
        elif name == "hidden":
            takes.append(column.all())
        elif name == "options":
            takes.append(column.list.explode(keep_nulls=False, empty_as_null=False).unique(maintain_order=True))
        elif dtype == pl.List(pl.String):
            takes.append(column.filter(column.list.len() > 0).first())
        else:
            takes.append(column.drop_nulls().first())
    rolled = frame.group_by("\0product", maintain_order=True).agg(
        *takes, pl.col("\0line").first(), pl.len().alias("\0rows")
    )
    lines, rows = rolled["\0line"], rolled["\0rows"]
    empty = [n for n in table.frame.columns if n != "item_id" and not rolled[n].count()]
    rolled = rolled.drop("\0product", "\0line", "\0rows", *empty)
    empty = [name for name in empty if name in given]
    if "options" in rolled.columns:
        words = pl.Series("options", [_by_name(row) for row in rolled["options"].to_list()], dtype=pl.String)
        rolled = rolled.with_columns(words) if words.count() else rolled.drop("options")
    notes = [f"{table.file}: empty in every row, not kept: {', '.join(empty)}"] if empty else []
    if (rows > 1).any():
        merged = f"{counted(int(rows.filter(rows > 1).sum()), 'row')} to {counted(int((rows > 1).sum()), 'product')}"
        notes.append(f"{table.file}: rolled up {merged}; the lowest price counts")
    return type(table)(table.file, rolled, lines, table.problems, (*table.notes, *notes))


def _by_name(options: Iterable[str] | None) -> str | None:
    """Write ["Size: S", "Size: M", "Colour: red"] as "Size: S, M; Colour: red"."""
    names: dict[str, list[str]] = {}
    for option in options or ():
        name, _, value = option.partition(": ")
        names.setdefault(name, []).append(value)
    return "; ".join(f"{name}: {', '.join(values)}" for name, values in names.items()) or None
