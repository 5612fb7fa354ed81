"""The command `tastemaker`: gathers the verbs and turns errors into exit codes."""

from __future__ import annotations

import os
import sys

import typer

from tastemaker import __version__
from tastemaker.cli import (
    attack,
    augment,
    benchmark,
    codes,
    compare,
    data,
    db,
    demo,
    doctor,
    evaluate,
    events,
    experiment,
    fit,
    item,
    key,
    model,
    models,
    precompute,
    prompts,
    recommend,
    rules,
    search,
    serve,
    tune,
    user,
    weights,
)
from tastemaker.cli.output import note
from tastemaker.errors import TastemakerError

app = typer.Typer(
    name="tastemaker",
    help="Recommendations for online shops in which language models and collaborative filtering work together.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(demo.demo)
app.add_typer(data.app, name="data")
app.command("fit")(fit.fit)
app.command("transfer")(tune.transfer)
app.command("tune")(tune.tune)
app.command("recommend")(recommend.recommend)
app.command("serve")(serve.serve)
app.command("precompute")(precompute.precompute)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("benchmark")(benchmark.benchmark)
app.command("search")(search.search)
app.command("attack")(attack.attack)
app.command("augment")(augment.augment)
app.add_typer(rules.app, name="rules")
app.add_typer(experiment.app, name="experiment")
app.command("models")(models.models)
app.command("codes")(codes.codes)
app.command("prompts")(prompts.prompts)
app.add_typer(weights.app, name="weights")
app.add_typer(events.app, name="events")
app.add_typer(user.app, name="user")
app.add_typer(item.app, name="item")
app.add_typer(key.app, name="key")
app.add_typer(model.app, name="model")
app.add_typer(db.app, name="db")
app.command("doctor")(doctor.doctor)


def _version(show: bool) -> None:
    if show:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Hold options of the command itself."""


def run() -> None:
    """Run the command line; a mistake of the caller is one line on stderr and exit code 2."""
    try:
        app()
    except TastemakerError as error:
        note("error: " + "; ".join(str(error).splitlines()))
        sys.exit(2)
    except BrokenPipeError:  # the reader of stdout went away, e.g. `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
