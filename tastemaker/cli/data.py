"""`tastemaker data`: make an example, fetch, convert, describe and validate shop data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import typer

from tastemaker.cli import options
from tastemaker.cli.loading import chosen_rows, named_columns, read_data
from tastemaker.cli.output import note, print_json, print_table
from tastemaker.data import readers
from tastemaker.data.checks.problems import counted
from tastemaker.data.describe import describe as describe_data
from tastemaker.data.example import SHOPPERS, write_example
from tastemaker.data.fetching import fetch as fetching
from tastemaker.data.filters import of_events, without_copies
from tastemaker.data.join import join as join_shops
from tastemaker.data.join import merge
from tastemaker.data.writers.canonical import Notation, risky_cells_of, write
from tastemaker.data.writers.gorse import write_gorse
from tastemaker.errors import ConfigError, did_you_mean
from tastemaker.progress import bar
from tastemaker.text.render import suspicious

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities

app = typer.Typer(help="Make an example, fetch, convert, describe and validate shop data.", no_args_is_help=True)

SHOWN = 50
"""Problems printed as a table; --json prints all."""
FIRST = 5
"""Items named in a note."""
GORSE = "gorse"


@app.command()
def example(
    target: Path = typer.Argument(metavar="DEST", help="New folder: interactions.csv and items.csv."),
    shoppers: int = typer.Option(
        SHOPPERS, "--shoppers", min=1, help="A re-ranker needs at least 20 to choose its weight."
    ),
    json: bool = options.JSON,
) -> None:
    """Write a made-up shop to try things on, in the form that yours has."""
    data, _ = readers.read(write_example(target, shoppers=shoppers))
    _tell(data, target, json=json)


@app.command()
def convert(
    source: str = typer.Argument(metavar="SRC", help="Folder or file in any known format, or complete-journey."),
    target: Path = typer.Argument(metavar="DEST", help="New folder: interactions, items and users."),
    items: str | None = options.ITEMS,
    items_format: str | None = options.ITEMS_FORMAT,
    items_column: list[str] | None = options.ITEMS_COLUMN,
    column: list[str] | None = options.COLUMN,
    only: list[str] | None = options.ONLY,
    without: list[str] | None = options.WITHOUT,
    guests: str | None = options.GUESTS,
    once: bool = typer.Option(
        False, "--once", help="Count what a shopper did twice with a product at the same time as one interaction."
    ),
    event: list[str] | None = typer.Option(
        None, "--event", metavar="TYPE", help="Keep interactions of this event_type, e.g. purchase; may be repeated."
    ),
    to: str = typer.Option("parquet", "--to", help="parquet, csv, tsv, jsonl, or gorse."),
    raw: bool = typer.Option(
        False, "--raw", help="In csv and tsv, leave cells as they are that a spreadsheet would run (= + - @)."
    ),
    gzip: bool = typer.Option(False, "--gzip", help="Compress csv, tsv and jsonl."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace what stands at DEST."),
    format: str | None = options.FORMAT,
    max_bad: int = options.MAX_BAD,
    json: bool = options.JSON,
) -> None:
    """Read any known format, with the products of a feed if you like, and write the canonical folder."""
    columns, rows = named_columns(column), chosen_rows(only, without, guests)
    data, _ = read_data(
        source,
        format=format,
        max_bad=max_bad,
        items=items,
        items_format=items_format,
        items_columns=named_columns(items_column, of_items=True),
        columns=columns,
        rows=rows,
    )
    if event:
        kept = of_events(data, event)
        note(f"note: of {counted(len(data), 'interaction')}, {len(kept):,} are {' or '.join(event)}")
        data = kept
    if once:
        kept = without_copies(data)
        note(f"note: {counted(len(data) - len(kept), 'interaction')} left out: same user, item and time as another")
        data = kept
    if to == GORSE:
        write_gorse(data, target, overwrite=overwrite)
        _tell(data, target, json=json)
        return
    if to not in get_args(Notation):
        raise ConfigError(f"--to {to}: unknown{did_you_mean(to, (*get_args(Notation), GORSE))}")
    risky = risky_cells_of(data) if to in ("csv", "tsv") and not raw else 0
    if risky:
        note(f"note: {counted(risky, 'cell')} that a spreadsheet would run begin with ' now (leave them: --raw)")
    _write(data, target, cast(Notation, to), gzip=gzip, overwrite=overwrite, json=json, neutralise=not raw)


@app.command()
def join(
    sources: list[str] = typer.Argument(metavar="NAME=SRC...", help="Shops to put side by side, each with a name."),
    target: Path = typer.Option(..., "--out", metavar="DEST", help="New folder: interactions, items and users."),
    one_shop: bool = typer.Option(
        False, "--one-shop", help="They are logs of one shop: ids stay, and equal ones are the same shopper or product."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace what stands at DEST."),
    max_bad: int = options.MAX_BAD,
    json: bool = options.JSON,
) -> None:
    """Put several shops side by side as one, to learn from all of them; ids get the shop's name in front."""
    shops = {}
    for source in sources:
        name, given, place = source.partition("=")
        if not given or not place:
            raise ConfigError(f"{source}: write NAME=FOLDER, such as toys=data/toys")
        if name in shops:
            raise ConfigError(f"{source}: a shop called {name!r} is there already; give each its own name")
        shops[name] = read_data(place, format=None, max_bad=max_bad)[0]
    _write(
        merge(shops) if one_shop else join_shops(shops), target, "parquet", gzip=False, overwrite=overwrite, json=json
    )


@app.command()
def describe(
    source: str = typer.Argument(metavar="DIR", help="Folder or file in any known format, or complete-journey."),
    format: str | None = options.FORMAT,
    max_bad: int = options.MAX_BAD,
    json: bool = options.JSON,
) -> None:
    """Print counts, density, text coverage, times and popularity."""
    facts = describe_data(read_data(source, format=format, max_bad=max_bad)[0])
    if json:
        print_json(facts)
    else:
        print_table(["fact", "value"], _flat(facts))


@app.command()
def validate(
    source: str = typer.Argument(metavar="DIR", help="Folder or file in any known format, or complete-journey."),
    texts: bool = typer.Option(
        False,
        "--texts",
        help="Also look for product texts that speak to a model, praise themselves or hide something (notes only).",
    ),
    items: str | None = options.ITEMS,
    items_format: str | None = options.ITEMS_FORMAT,
    items_column: list[str] | None = options.ITEMS_COLUMN,
    column: list[str] | None = options.COLUMN,
    only: list[str] | None = options.ONLY,
    without: list[str] | None = options.WITHOUT,
    guests: str | None = options.GUESTS,
    format: str | None = options.FORMAT,
    json: bool = options.JSON,
) -> None:
    """List every bad row with file, line, column, value, rule and hint; exit 2 if there are any."""
    columns, rows = named_columns(column), chosen_rows(only, without, guests)
    items_columns = named_columns(items_column, of_items=True)
    report = readers.validate(
        source,
        format=format,
        items=items,
        items_format=items_format,
        items_columns=items_columns,
        columns=columns,
        rows=rows,
        progress=bar,
    )
    if texts:
        bad = report.bad_rows
        if items is None and "interactions" in report.rows:
            shop, _ = readers.read(source, format=format, columns=columns, rows=rows, max_bad=bad, progress=bar)
            _note_suspicious(shop.items)
        else:
            feed, of_feed = (source, format) if items is None else (items, items_format)
            products, _ = readers.read_items(feed, format=of_feed, columns=items_columns, max_bad=bad, progress=bar)
            _note_suspicious(products)
    for line in report.notes:
        note(f"note: {line}")
    if json:
        print_json(report.to_dict()["problems"])
    else:
        problems = list(report.problems)
        if problems:
            shown = ["file", "line", "column", "value", "rule", "hint"]
            print_table(shown, [[getattr(one, name) for name in shown] for one in problems[:SHOWN]])
        typer.echo(counted(report.bad_rows, "bad row") if problems else "no bad rows")
        if len(problems) > SHOWN:
            note(f"{len(problems) - SHOWN:,} more; all of them with --json; in all: {', '.join(report.kinds())}")
    if not report.ok:
        raise typer.Exit(2)


def _note_suspicious(items: Entities) -> None:
    """Say which kinds of suspicious product texts there are, how many, and where the first of them stand."""
    found = suspicious(items)
    for (column, kind), rows in found.items():
        first = ", ".join(items.ids(rows[:FIRST]))
        more = f" and {len(rows) - FIRST:,} more" if len(rows) > FIRST else ""
        note(f"note: column '{column}': {counted(len(rows), 'text')} with {kind}: items {first}{more}")
    if not found:
        note("note: no suspicious product text")


@app.command()
def fetch(
    name: str | None = typer.Argument(None, metavar="[NAME]", help="A public data set; without it, all are listed."),
    out: Path = typer.Option(Path("data"), "--out", metavar="DIR", help="Folder of data sets; NAME is made in it."),
    keep: bool = typer.Option(True, "--keep/--discard", help="Keep the downloaded files in DIR/downloads."),
    json: bool = options.JSON,
) -> None:
    """Download a public data set over HTTPS, verify it, and convert it; run again to go on after a cut."""
    if name is None:
        _list_sources(json=json)
        return
    fetched = fetching.fetch(name, out, keep=keep, progress=bar)
    note(f"terms ({fetched.source.page}): {fetched.source.terms}")
    for line in fetched.notes:
        note(f"note: {line}")
    for file, facts in fetched.files.items():
        note(
            f"note: {file}: {facts['bytes']:,} bytes, SHA-256 {facts['sha256']}, compared with {facts['compared_with']}"
        )
    for line in fetched.differences:
        note(f"warning: {line}; figures computed on these data are not comparable with published ones")
    if json:
        print_json(fetched.to_dict())
        return
    counts = ", ".join(counted(count, what.removesuffix("s")) for what, count in fetched.counts.items())
    typer.echo(f"{counts} {'already in' if fetched.already else 'written to'} {fetched.folder}")


def _list_sources(*, json: bool) -> None:
    known = list(fetching.sources().values())
    if json:
        print_json([source.to_dict() for source in known])
        return
    columns = ["name", "users", "items", "interactions", "download", "checksum", "licence", "page"]
    print_table(columns, [[source.name, *source.counts.values(), *_download(source)] for source in known])
    note("terms in full: --json; fetch one: tastemaker data fetch NAME")


def _download(source: fetching.Source) -> list[str]:
    sizes = [file.bytes for file in source.files]
    exact = sum(size for size in sizes if size is not None) / 1e6
    size = f"at most {sum(file.most_megabytes for file in source.files):,} MiB" if None in sizes else f"{exact:.1f} MB"
    published = sum(bool(file.sha256) for file in source.files)
    return [size, f"{published} of {counted(len(sizes), 'file')}", source.licence, source.page]


def _flat(facts: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in facts.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", ", ".join(map(str, value)) or None if isinstance(value, list) else value))
    return rows


def _write(
    data: Dataset,
    target: Path,
    notation: Notation,
    *,
    gzip: bool,
    overwrite: bool,
    json: bool,
    neutralise: bool = True,
) -> None:
    """Write the canonical folder and say what is in it."""
    write(data, target, format=notation, gzip=gzip, overwrite=overwrite, neutralise=neutralise)
    _tell(data, target, json=json)


def _tell(data: Dataset, target: Path, *, json: bool) -> None:
    """Say what is in a folder that was written."""
    facts = {"folder": str(target), "users": data.n_users, "items": data.n_items, "interactions": len(data)}
    if json:
        print_json(facts)
    else:
        written = (counted(len(data), "interaction"), counted(data.n_users, "user"), counted(data.n_items, "item"))
        typer.echo(f"{', '.join(written)} written to {target}")
