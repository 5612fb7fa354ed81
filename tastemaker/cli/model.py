"""`tastemaker model`: which saved model of a store answers."""

from __future__ import annotations

from pathlib import Path

import typer

from tastemaker import artifact
from tastemaker.cli import options
from tastemaker.cli.output import note
from tastemaker.cli.stores import STORE_OPTION, TENANT_OPTION, opened, print_records, when
from tastemaker.store.folders import in_words, model_in

app = typer.Typer(help="List, promote and roll back the models of a store.", no_args_is_help=True)


@app.command(name="list")
def list_(store: str | None = STORE_OPTION, tenant: str = TENANT_OPTION, json: bool = options.JSON) -> None:
    """List models with their state."""
    with opened(store, write=False) as source:
        models = source.list_models(tenant)
    columns = {
        "version": lambda one: one.version,
        "state": lambda one: one.state,
        "model": in_words,
        "created": lambda one: when(one.created_at),
        "folder": lambda one: one.folder,
    }
    print_records(models, columns, json=json)


@app.command()
def promote(
    model: str = typer.Argument(metavar="MODEL", help="Folder of a saved model, or a version that is listed."),
    version: str | None = typer.Option(None, "--version", help="Name for a folder; that of the folder by default."),
    store: str | None = STORE_OPTION,
    tenant: str = TENANT_OPTION,
) -> None:
    """Let a model answer: services on PostgreSQL take it up; with SQLite, `serve` answers with its own MODEL."""
    folder = Path(model)
    with opened(store, write=True, create=True, upgrade=True) as target:
        if folder.is_dir():
            artifact.read(folder)  # every file of it
            version = version or folder.resolve().name
            target.put_model(tenant, model_in(folder, version))
        before = target.activate_model(tenant, version or model)
    name = version or model
    if before == name:
        note(f"{name} answers already")
    else:
        note(f"{name} answers now" + (f"; before it {before}" if before else ""))


@app.command()
def rollback(store: str | None = STORE_OPTION, tenant: str = TENANT_OPTION) -> None:
    """Let the model answer that did so before."""
    with opened(store, write=True) as target:
        version = target.rollback_model(tenant)
    note(f"{version} answers again")
