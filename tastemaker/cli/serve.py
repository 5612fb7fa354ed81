"""`tastemaker serve`: the HTTP service."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from tastemaker.cli.output import note
from tastemaker.errors import ConfigError, MissingExtra


def serve(
    model: Path | None = typer.Argument(
        None, help="Folder of a saved model, which answers from now on; without it the one that is active in the store."
    ),
    store: str | None = typer.Option(
        None,
        "--store",
        metavar="URL",
        envvar="TASTEMAKER_STORE",
        help="Where events, products and keys are kept: a file, or postgresql://USER@HOST/NAME; by default MODEL.db, "
        "and 'none' keeps nothing.",
    ),
    host: str | None = typer.Option(None, "--host", help="Address to listen on; beyond this machine keys are needed."),
    port: int | None = typer.Option(None, "--port", min=0, max=65535, help="Port to listen on; 0 takes a free one."),
    config: Path | None = typer.Option(None, "--config", metavar="FILE", help="TOML file with a table [serve]."),
    key_file: Path | None = typer.Option(
        None, "--key-file", metavar="FILE", help="Access keys, one a line: SECRET [SCOPES] [TENANT]."
    ),
) -> None:
    """Serve recommendations over HTTP until SIGTERM or Ctrl-C."""
    try:
        from tastemaker.serve import running
    except ModuleNotFoundError as error:
        raise MissingExtra("tastemaker serve", (error.name or "").partition(".")[0], "serve") from error
    from tastemaker.serve.settings import read_settings

    settings = read_settings(config, host=host, port=port)
    os.environ.setdefault("OMP_NUM_THREADS", str(settings.threads))  # before numpy and torch begin
    if store is None:
        if model is None:
            raise ConfigError("name the MODEL, or the --store whose active model is to answer")
        store = f"{model}.db"
    running.run(settings, model, store=store, key_file=key_file, say=note)
