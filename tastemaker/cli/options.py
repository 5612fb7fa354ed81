"""Options that several verbs share."""

from __future__ import annotations

import typer

JSON = typer.Option(False, "--json", help="Print JSON instead of a table.")
SET = typer.Option(None, "--set", metavar="KEY=VALUE", help="Change a setting, e.g. stage.0.recency=0.5.")
FORMAT = typer.Option(None, "--format", help="Format of the data; found out from the content by default.")
MAX_BAD = typer.Option(0, "--max-bad", min=0, help="Go on with at most this many bad rows, leaving them out.")
ITEMS = typer.Option(None, "--items", metavar="FEED", help="Product feed or other source of the items.")
ITEMS_FORMAT = typer.Option(None, "--items-format", help="Format of FEED; found out from the content by default.")
ITEMS_COLUMN = typer.Option(
    None,
    "--items-column",
    metavar="NAME=HEADER",
    help="Which column of a table of products is which, e.g. title=Titel; item_group_id=HEADER rolls variants up.",
)
COLUMN = typer.Option(
    None, "--column", metavar="NAME=HEADER", help="Which column of the order log is which, e.g. user_id=Email."
)
ONLY = typer.Option(
    None,
    "--only",
    metavar="HEADER=VALUE",
    help="Keep rows of the order log where this column holds VALUE, e.g. Status=Versendet; of one column several.",
)
WITHOUT = typer.Option(
    None,
    "--without",
    metavar="HEADER=VALUE",
    help="Leave rows of the order log out where this column holds VALUE, e.g. Status=Test, or nothing: Customer=.",
)
GUESTS = typer.Option(
    None,
    "--guests",
    metavar="HEADER",
    help="Where no shopper is named, each value of this column is one, e.g. the order's number.",
)
SEED = typer.Option(0, "--seed", min=0, help="Seed of everything random.")
DATA = typer.Option(..., "--data", metavar="DIR", help="Folder or file with interactions and items.")
