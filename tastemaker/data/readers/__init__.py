"""Reading shop data of any known format, told by content; one file a format.

A format is a module with NAME, `recognises(path)` and `load(path, progress) -> Tables`; where products alone are found
in another way than all of it, also `load_items(path, progress) -> Tables`.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tastemaker.data.checks.validate import check
from tastemaker.data.dataset import Dataset, free_names
from tastemaker.data.entities import Entities
from tastemaker.data.readers import (
    amazon,
    canonical,
    complete_journey,
    ga4,
    gorse,
    metarank,
    movielens,
    recbole,
    store_export,
)
from tastemaker.data.readers.catalogue import combine
from tastemaker.data.readers.feeds import merchant, shopify, woocommerce
from tastemaker.data.readers.orders import ALL, Rows
from tastemaker.data.readers.table import SUFFIXES, table_suffix
from tastemaker.data.readers.text import SNIFF, read_bytes, refuse_page
from tastemaker.errors import DataError, did_you_mean
from tastemaker.progress import silent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from tastemaker.data.checks.problems import Report
    from tastemaker.data.checks.validate import Checked
    from tastemaker.data.readers.table import Tables
    from tastemaker.progress import Progress

PATTERN = re.compile(r"[*?\[]")
"""What makes a name a pattern of several files."""

# In the order in which they are tried, behind folders with a file called interactions: the most particular first.
FORMATS: dict[str, ModuleType] = {
    module.NAME: module
    for module in (
        *(
            complete_journey,
            movielens,
            recbole,
            ga4,
            gorse,
            store_export,
            metarank,
            shopify,
            woocommerce,
            merchant,
            amazon,
        ),
        canonical,
    )
}


def read(
    source: str | Path,
    *,
    format: str | None = None,
    items: str | Path | None = None,
    items_format: str | None = None,
    items_columns: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    rows: Rows = ALL,
    max_bad: int = 0,
    progress: Progress = silent,
) -> tuple[Dataset, Report]:
    """Read, check and number shop data.

    Args:
        source: a folder, a file, or the word "complete-journey".
        format: one of `FORMATS`; told by content without it.
        items: a product feed or any other source of products, in place of what `source` says of its items.
        items_format: one of `FORMATS`; told by content without it.
        items_columns: canonical name, or "item_group_id" (of what product a row is a variant) -> header of `items`.
        columns: canonical name, or "quantity" -> header of the interactions of a canonical source, for headers that are
            not known.
        rows: which interactions of a canonical source count.
        max_bad: bad rows that may be left out; one more stops.
        progress: shows which file is read.

    Returns:
        The data, and what was assumed, found and left out.

    Raises:
        DataError: more than `max_bad` bad rows, no good interaction, or a source that cannot be read at all.
        MissingExtra: the source is in a package that is not installed, or needs one.
    """
    checked = _check(
        source,
        format,
        progress,
        items=items,
        items_format=items_format,
        named=items_columns,
        columns=columns,
        rows=rows,
    )
    report, log = checked.report, checked.interactions
    if log is None:
        raise DataError(
            f"{source}: products only ({report.format}), no interactions; give the order log first and this file as "
            f"its products: tastemaker data convert ORDERS DEST --items {shlex.quote(str(source))}"
        )
    if report.bad_rows > max_bad or log.is_empty():
        raise DataError(report.summary(allowed=max_bad))
    return Dataset.from_frames(log, checked.items, checked.users), report


def read_items(
    source: str | Path,
    *,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    max_bad: int = 0,
    progress: Progress = silent,
) -> tuple[Entities, Report]:
    """Read and check products alone: a feed, a table of items, or the items of any other source.

    Args:
        source: a folder or file.
        format: one of `FORMATS`; told by content without it.
        columns: see `items_columns` of `read`.
        max_bad: bad rows that may be left out; one more stops.
        progress: shows which file is read.

    Raises:
        DataError: more than `max_bad` bad rows, no good product, or a source that cannot be read at all.
        MissingExtra: the source needs a package that is not installed.
    """
    name, tables = _load_items(source, format, progress, columns=columns)
    checked = check(replace(tables, interactions=None, users=None), source=str(source), format=name)
    if checked.items is None or checked.items.is_empty() or checked.report.bad_rows > max_bad:
        raise DataError(checked.report.summary(allowed=max_bad))
    return Entities(
        checked.items.rename({**free_names(checked.items.columns, ("id",)), "item_id": "id"})
    ), checked.report


def validate(
    source: str | Path,
    *,
    format: str | None = None,
    items: str | Path | None = None,
    items_format: str | None = None,
    items_columns: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    rows: Rows = ALL,
    progress: Progress = silent,
) -> Report:
    """Check shop data, or products alone, and report every bad row; for the arguments see `read`.

    `left_out` counts the rows that reading on would leave out.

    Raises:
        DataError: the source cannot be read at all: no such path, no needed column, no rows.
        MissingExtra: the source is in a package that is not installed, or needs one.
    """
    return _check(
        source,
        format,
        progress,
        items=items,
        items_format=items_format,
        named=items_columns,
        columns=columns,
        rows=rows,
    ).report


def detect(source: str | Path) -> str:
    """Return the name of the format of `source`, told by its content.

    Raises:
        DataError: no such path, or no known format.
    """
    path = Path(source)
    names = [] if is_word(source) else _look_at(path)
    if names and not path.is_dir():  # a pattern
        return ga4.NAME
    if path.is_dir() and canonical.recognises(path):
        return canonical.NAME
    for name, module in FORMATS.items():
        if module.recognises(path):
            return name
    if path.is_dir():
        found = ", ".join(names[:10]) or "nothing"
        raise DataError(f"{source}: no known format ({', '.join(FORMATS)}); the folder holds: {found}")
    table = "" if table_suffix(path) else f"; or is it a table? Then let its name end in {', '.join(SUFFIXES)}"
    raise DataError(f"{source}: no known format; name one of {', '.join(FORMATS)} with format (--format){table}")


def refuse_among_data(folder: Path) -> None:
    """Refuse a folder for results that holds a data set: what is written there would be read as a part of it.

    Raises:
        DataError: it does.
    """
    if not folder.is_dir():
        return
    try:
        name = detect(folder)
    except DataError:
        if not any(canonical.role_of(path) for path in folder.iterdir()):
            return
        name = canonical.NAME
    raise DataError(f"{folder}: holds a data set ({name}); choose another folder for results")


def is_word(source: str | Path) -> bool:
    """Say whether `source` is the name of data that need no path."""
    return str(source) == complete_journey.NAME


def _look_at(path: Path) -> list[str]:
    """Return the names in a folder, or of the shards that a pattern names; none for a file.

    Raises:
        DataError: the path does not exist or cannot be read.
    """
    try:
        if path.is_dir():
            return sorted(entry.name for entry in path.iterdir())
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: neither a file nor a folder")
        if not path.exists():
            if PATTERN.search(path.name) and ga4.recognises(path):
                return [file.name for file in ga4.files_of(path)]
            raise DataError(f"{path}: no such file or folder")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    start = read_bytes(path, limit=SNIFF)
    refuse_page(path, start)
    if not start.strip():
        raise DataError(f"{path}: the file is empty; export or download it again")
    return []


def _check(
    source: str | Path,
    format: str | None,
    progress: Progress,
    *,
    items: str | Path | None,
    items_format: str | None,
    named: Mapping[str, str] | None,
    columns: Mapping[str, str] | None,
    rows: Rows,
) -> Checked:
    if items is None and (items_format is not None or named):
        what = "a format" if items_format is not None else "a column"
        raise DataError(f"{what} of the products is named, but no products; name them too (--items)")
    name = canonical.NAME if format is None and columns else _name(source, format)
    if (columns or rows) and name != canonical.NAME:
        what = "columns are named" if columns else "rows are chosen by columns"
        raise DataError(f"{source}: {what} only for the format {canonical.NAME}; {name} knows its own")
    if name == canonical.NAME:
        tables = canonical.load(Path(source), progress, columns=columns, rows=rows)
    else:
        tables = _said(FORMATS[name].load(Path(source), progress), source, name, told=format is None)
    if items is not None:
        name_of_items, products = _load_items(items, items_format, progress, columns=named)
        tables, name = combine(tables, products), f"{name} with items from {name_of_items}"
    checked = check(tables, source=str(source), format=name)
    options = (*_options(format, items, items_format, named, columns), *_row_options(rows))
    return checked._replace(report=replace(checked.report, options=options))


def _options(
    format: str | None,
    items: str | Path | None,
    items_format: str | None,
    items_columns: Mapping[str, str] | None,
    columns: Mapping[str, str] | None,
) -> tuple[str, ...]:
    """Return the same choices as words of the command line."""
    named = {"--format": format, "--items": items, "--items-format": items_format}
    words = [word for name, value in named.items() if value is not None for word in (name, str(value))]
    for option, headers in (("--items-column", items_columns), ("--column", columns)):
        words += [word for name, header in (headers or {}).items() for word in (option, f"{name}={header}")]
    return tuple(words)


def _row_options(rows: Rows) -> tuple[str, ...]:
    """Return a choice of rows as words of the command line."""
    pairs = [("--only", *pair) for pair in rows.only] + [("--without", *pair) for pair in rows.without]
    words = [word for option, header, value in pairs for word in (option, f"{header}={value}")]
    return (*words, *(("--guests", rows.guests) if rows.guests else ()))


def _load_items(
    source: str | Path, format: str | None, progress: Progress, *, columns: Mapping[str, str] | None = None
) -> tuple[str, Tables]:
    name = _name(source, format)
    module = FORMATS[name]
    if columns and name != canonical.NAME:
        raise DataError(f"{source}: columns are named only for the format {canonical.NAME}; {name} knows its own")
    tables: Tables
    if name == canonical.NAME:
        tables = canonical.load_items(Path(source), progress, columns=columns)
    else:
        loader = module.load_items if hasattr(module, "load_items") else module.load
        tables = loader(Path(source), progress)
    if tables.items is None:
        raise DataError(f"{source}: describes no products ({name})")
    return name, _said(tables, source, name, told=format is None)


def _name(source: str | Path, format: str | None) -> str:
    """Return the name of the format, told by content if none is given."""
    if format is None:
        return detect(source)
    if format not in FORMATS:
        raise DataError(f"unknown format '{format}'{did_you_mean(format, FORMATS)}")
    if not is_word(source):
        _look_at(Path(source))
    return format


def _said(tables: Tables, source: str | Path, name: str, *, told: bool) -> Tables:
    """Note as what a source was read, where that was found out."""
    if not told or name == canonical.NAME or is_word(source):
        return tables
    note = f"{source}: read as {name}; another format can be named (--format)"
    return replace(tables, notes=(note, *tables.notes))
