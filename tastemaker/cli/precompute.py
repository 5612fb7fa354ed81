"""`tastemaker precompute`: rankings and reasons made ahead of the requests."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import typer

from tastemaker.cli import options
from tastemaker.cli.output import note, print_json, print_table
from tastemaker.cli.stores import STORE_OPTION, TENANT_OPTION, lines_of, opened
from tastemaker.errors import DataError, MissingExtra
from tastemaker.progress import bar, silent

if TYPE_CHECKING:
    from tastemaker.serve.precomputing.run import Whom


def precompute(
    model: Path = typer.Argument(help="Folder of the saved model that answers, or will."),
    store: str | None = STORE_OPTION,
    tenant: str = TENANT_OPTION,
    shoppers: str = typer.Option(
        "active",
        "--shoppers",
        metavar="active|known|all|FILE",
        help="Those with stored events, who came last first; those that the model was fitted with; both; or the ids "
        "that stand in a file, one a line.",
    ),
    limit: int | None = typer.Option(None, "--limit", min=1, help="The first so many of them only."),
    depth: int | None = typer.Option(None, "--depth", min=1, max=500, help="Products of a ranking; 50 by default."),
    reasons: int | None = typer.Option(
        None, "--reasons", min=0, max=100, help="For how many of these the language model phrases the reason."
    ),
    workers: int = typer.Option(1, "--workers", min=1, help="Processes that rank, one thread and a copy each."),
    config: Path | None = typer.Option(None, "--config", metavar="FILE", help="TOML file with a table [serve]."),
    again: bool = typer.Option(False, "--again", help="Make also those anew that still hold."),
    json: bool = options.JSON,
) -> None:
    """Let every stage rank for many shoppers, and keep it for requests, which then need no language model.

    A ranking is served as long as nothing new is known of its shopper and the same model answers. What holds is passed
    over, so the command may be ended at any time and run again, from cron as well. While a service writes to an SQLite
    store no other process can: set precompute = true in its [serve] table instead, or keep the store in PostgreSQL.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch begin
    try:
        from tastemaker.serve.precomputing import making, run
    except ModuleNotFoundError as error:
        raise MissingExtra("tastemaker precompute", (error.name or "").partition(".")[0], "serve") from error
    from tastemaker.serve.settings import read_settings

    settings = read_settings(config, precompute_depth=depth, precompute_reasons=reasons)
    began = time.perf_counter()
    with opened(store, write=True, upgrade=True) as kept:
        version, counts = run.precompute(
            kept,
            tenant,
            model,
            _shoppers(shoppers, get_args(run.Whom)),
            settings,
            limit=limit,
            workers=workers,
            again=again,
            progress=silent if json else bar,
        )
    seconds = time.perf_counter() - began
    found = {name.replace(" ", "_"): counts[name] for name in making.OUTCOMES}
    if json:
        print_json({"model_version": version, **found, "seconds": round(seconds, 3)})
        return
    print_table(["rankings", "shoppers"], [[name, counts[name]] for name in making.OUTCOMES if counts[name]])
    note(f"{counts['made']:,} rankings of {version} made in {seconds:,.1f} s")


def _shoppers(given: str, names: tuple[str, ...]) -> Whom | list[str]:
    """Return whom an option names.

    Raises:
        DataError: the file cannot be read.
    """
    if given in names:
        return given  # type: ignore[return-value]  # one of them
    with lines_of(given) as lines:
        try:
            return [line for raw in lines if (line := raw.decode("utf-8").strip())]
        except UnicodeDecodeError as error:
            raise DataError(f"{given}: not UTF-8; save it as UTF-8, one id a line") from error
