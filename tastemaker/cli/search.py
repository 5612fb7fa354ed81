"""`tastemaker search`: try settings of a pipeline on validation questions, and write down the best."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from tastemaker import config as config_file
from tastemaker import registry
from tastemaker import search as searching
from tastemaker.cli import options, protocol
from tastemaker.cli.loading import read_data
from tastemaker.cli.output import as_json, made_by, note, print_json, print_table, write_text
from tastemaker.errors import ConfigError
from tastemaker.evaluate.protocol import require_known
from tastemaker.progress import bar
from tastemaker.search.store import require_optuna

if TYPE_CHECKING:
    from tastemaker.search import Space, Trial

SHOWN = 10
"""Trials in the printed table."""


def search(
    config: str = typer.Argument(help="A TOML file, or a model's name such as transitions."),
    data: str = options.DATA,
    tried: list[str] | None = typer.Option(
        None,
        "--try",
        metavar="KEY=VALUES",
        help="Values (stage.0.dim=32,64) or a range (stage.0.reg=1..100:log) to try; KEY alone means the usual range; "
        "may be repeated. Without it: [search] of the file, else the usual settings.",
    ),
    trials: int = typer.Option(30, "--trials", min=1, help="Settings to try, those of earlier runs included."),
    timeout: float | None = typer.Option(
        None, "--timeout", metavar="MINUTES", min=0, help="Begin no further trial after so many minutes."
    ),
    out: Path = typer.Option(
        Path("search-out"), "--out", metavar="DIR", help="Folder for the study and the best; run again to go on."
    ),
    measure: str = typer.Option("ndcg@10", "--measure", help="What is made larger, on validation questions."),
    split: str = protocol.SPLIT_OPTION,
    masking: str = typer.Option(
        "masked", "--masking", help="masked leaves products of the history out of the lists; unmasked."
    ),
    repeats: str = protocol.REPEATS_OPTION,
    sample: int | None = typer.Option(None, "--sample", min=1, help="Judge on this many random validation shoppers."),
    no_pruning: bool = typer.Option(False, "--no-pruning", help="Let every trial train to its end."),
    device: str | None = protocol.DEVICE_OPTION,
    seed: int = options.SEED,
    overrides: list[str] | None = options.SET,
    format: str | None = options.FORMAT,
    max_bad: int = options.MAX_BAD,
    json: bool = options.JSON,
) -> None:
    """Search for settings that serve validation shoppers best; the test part is not read."""
    require_optuna()
    masked = protocol.Choices.of(masking=masking, ties="file", refit="no").maskings
    if len(masked) > 1:
        raise ConfigError("--masking both: a search makes one figure larger; choose masked or unmasked")
    require_known(split=split, ties="file", repeats=repeats)
    protocol.check_device(device)
    settings = config_file.read(config, overrides=overrides)
    calibrates = registry.build(settings, place=config).wants_calibration
    plan = searching.Plan(
        settings=settings,
        space=space_of(config, settings, tried or []),
        measure=searching.Measure.of(measure),
        seed=seed,
        prunes=not no_pruning,
        device=device,
    )
    shop, read = read_data(data, format=format, max_bad=max_bad)
    asked = searching.Asked.of(
        shop,
        split=split,
        repeats=cast(Any, repeats),
        masked=masked[0],
        calibrates=calibrates,
        sample=sample,
        seed=seed,
    )
    announce(plan, asked)
    done, ended = searching.search(
        plan,
        asked,
        out,
        trials=trials,
        seconds=None if timeout is None else 60 * timeout,
        on_trial=lambda trial: note(_line(trial, plan.measure)),
        progress=bar,
    )
    found = {**searching.result_of(plan, asked, done, ended=ended), "data": read, "made_by": made_by()}
    _write(found, out)
    if json:
        print_json(found)
    else:
        _print(found)
    if found["best"] is not None:
        choices = {"--split": split, "--masking": masking, "--repeats": repeats}
        usual = {"--split": "leave-one-out", "--masking": "masked", "--repeats": "count"}
        words = [word for name, given in choices.items() if given != usual[name] for word in (name, given)]
        command = shlex.join(["tastemaker", "evaluate", str(out / "best.toml"), "--data", data, *words])
        for line in found["notes"]:
            note(f"note: {line}")
        note(f"next: {command}")
    if ended == "stopped":
        note("stopped; the same command goes on with the trial that was running")
        raise typer.Exit(130)
    if found["best"] is None:
        note("error: no trial ran to its end, so there is no best configuration")
        raise typer.Exit(1)


def space_of(source: str, settings: dict[str, Any], tried: list[str]) -> Space:
    """Return what is tried: --try beside the file's [search], or the usual settings where there is neither.

    Raises:
        ConfigError: an unknown setting, values that it cannot take, or nothing to try.
    """
    table = searching.flat(config_file.read_search(source), place=f"{source}.search")
    given = {key: (value, f"{source}.search.{key}") for key, value in table.items()}
    named: set[str] = set()
    for words in tried:
        key, equals, text = (part.strip() for part in words.partition("="))
        if key in named:
            raise ConfigError(f"--try {words}: {key} is tried twice")
        named.add(key)
        given[key] = (text if equals else None, f"--try {words}")
    if not given:
        usual = searching.default_space(settings)
        if not usual:
            raise ConfigError(f"{source}: has no usual settings to try; name some, e.g. --try stage.0.keep=20,50,100")
        return usual
    return {key: _values(key, value, settings, place=place) for key, (value, place) in given.items()}


def _values(key: str, given: Any, settings: dict[str, Any], *, place: str) -> searching.Values:  # noqa: ANN401
    """Return what is tried for one setting; `given` is None where the usual range is meant."""
    if given is not None:
        return searching.checked(key, searching.parse(key, given, place=place), settings, place=place)
    values = searching.usual_values(settings, key, place=place)
    if values is None:
        raise ConfigError(f"{place}: there is no usual range for it; write {key}=VALUES, e.g. {key}=1,2,3")
    return values


def announce(plan: searching.Plan, asked: searching.Asked) -> None:
    """Say before the first trial what is tried, on what, and what may end a trial early."""
    for key, values in plan.space.items():
        note(f"trying {key}: {values.words}")
    facts = asked.facts
    note(
        f"each trial is fitted on train ({facts['train_interactions']:,} interactions) and measured by {plan.measure} "
        f"on {facts['questions']:,} validation questions; the test part is not read"
    )
    if plan.given is None:
        note("note: the configuration as it stands is not among what is tried, so no trial measures it")
    if plan.prunes and plan.watched is None:
        note("note: what is tried belongs to several parts, so no trial is ended early by one part's learning curve")


def _line(trial: Trial, measure: searching.Measure) -> str:
    """Return one line about a trial that ended."""
    words = " ".join(f"{key}={_short(value)}" for key, value in trial.settings.items())
    again = "" if trial.same_as is None else f", as trial {trial.same_as}"
    if trial.value is not None:
        outcome = f"{measure} {trial.value:.4f}"
    elif trial.error is not None:
        outcome = f"failed: {trial.error}"
    else:
        outcome = f"ended early after epoch {max(trial.curve)}"
    return f"trial {trial.number}: {outcome} ({trial.seconds:.1f} s{again}): {words}"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _write(found: dict[str, Any], out: Path) -> None:
    """Write what was found beside the study."""
    write_text(out / "search.json", as_json(found) + "\n")
    write_text(out / "trials.csv", searching.trials_csv(found))
    if found["best"] is not None:
        write_text(out / "best.toml", searching.best_toml(found, command=shlex.join(found["made_by"]["command"])))


def _print(found: dict[str, Any]) -> None:
    """Print what failed, the best trials, and what mattered."""
    measure, trials = found["measure"], found["trials"]
    errors = sorted({one["error"] for one in trials if one["error"] is not None})
    for error in errors:
        numbers = ", ".join(str(one["number"]) for one in trials if one["error"] == error)
        note(f"warning: failed: trial {numbers}: {error}")
    ranked = sorted((one for one in trials if one["value"] is not None), key=lambda one: -one["value"])
    rows = [
        [one["number"], one["value"], one["standard_error"], *(_short(value) for value in one["settings"].values())]
        for one in [one for one in ranked if one["same_as"] is None][:SHOWN]
    ]
    counts = ", ".join(f"{count} {state}" for state, count in found["counts"].items() if count)
    if not rows:
        return
    print_table(
        ["trial", f"{measure}, validation", "standard error", *found["space"]],
        rows,
        title=f"best of {len(trials)} trials ({counts})",
    )
    if found["importance"]:
        rows = [[key, share] for key, share in found["importance"].items()]
        print_table(["setting", "share of how values differ"], rows, title="what mattered (fANOVA)")
    if found["as_it_stands"] is not None and found["best"] is not None:
        gain = found["best"]["value"] - found["as_it_stands"]
        words = f"the best adds {gain:.4f}" if gain > 0 else "nothing that was tried is better"
        typer.echo(f"the configuration as it stands has {found['as_it_stands']:.4f}; {words}")
    if found["within_noise"]:
        others = "1 other setting is" if found["within_noise"] == 1 else f"{found['within_noise']} other settings are"
        typer.echo(f"{others} less than one standard error below the best")
