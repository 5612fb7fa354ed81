"""`tastemaker user`: the rights of a shopper, to see what is stored and to have it erased."""

from __future__ import annotations

from pathlib import Path

import typer

from tastemaker.cli import options
from tastemaker.cli.output import as_json, note, print_json, print_table, write_text
from tastemaker.cli.stores import STORE_OPTION, TENANT_OPTION, opened, plain, when

app = typer.Typer(help="Export or erase what a store knows about a shopper.", no_args_is_help=True)


@app.command()
def export(
    user: str = typer.Argument(metavar="USER", help="Id of the shopper."),
    out: Path | None = typer.Option(None, "--out", metavar="FILE", help="Write there instead of to stdout."),
    store: str | None = STORE_OPTION,
    tenant: str = TENANT_OPTION,
) -> None:
    """Print all that is stored about a shopper, as JSON lines."""
    with opened(store, write=False) as source:
        rows = list(source.export_user(tenant, user))
    if out is not None:
        write_text(out, "".join(f"{as_json(row, indent=None)}\n" for row in rows))
    else:
        for row in rows:
            print_json(row, indent=None)
    note(f"{len(rows):,} rows")


@app.command()
def delete(
    user: str = typer.Argument(metavar="USER", help="Id of the shopper."),
    store: str | None = STORE_OPTION,
    tenant: str = TENANT_OPTION,
    json: bool = options.JSON,
) -> None:
    """Erase a shopper from the store and its files, for good, and print a receipt that names nobody.

    Events that come later are refused. Backups and exports made earlier still hold the shopper.
    """
    with opened(store, write=True) as target:
        receipt = target.erase_user(tenant, user)
    if json:
        print_json(plain(receipt))
        return
    print_table(
        ["erased at", *receipt.counts, "files"],
        [[when(receipt.erased_at), *(str(count) for count in receipt.counts.values()), receipt.pages]],
    )
    if not any(receipt.counts.values()):
        note("note: nothing was stored of this id; is it written as in the events?")
    note(f"receipt {receipt.digest}")
