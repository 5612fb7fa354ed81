"""`tastemaker experiment`: list experiments, say who is in which variant, results, and off-policy replay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import typer

from tastemaker import saved
from tastemaker.cli import options
from tastemaker.cli.output import note, print_json, print_table, write_text
from tastemaker.cli.protocol import MOVE_OPTION, check_device
from tastemaker.cli.stores import STORE_OPTION, TENANT_OPTION, opened
from tastemaker.cli.times import milliseconds, now
from tastemaker.data.checks.problems import counted
from tastemaker.documents import read_document
from tastemaker.errors import ConfigError, did_you_mean
from tastemaker.experiments import Experiment, assign, check_together
from tastemaker.experiments.attribution import Crediting, attribute
from tastemaker.experiments.records import read_lines
from tastemaker.experiments.replay import replay as replay_log
from tastemaker.experiments.replaying import Reward, Target, logged_places
from tastemaker.experiments.results import results as results_of
from tastemaker.experiments.sources import FolderSource, Source, StoreSource, parse_experiments
from tastemaker.experiments.targets import targets_of
from tastemaker.experiments.uncertainty import needed_shoppers
from tastemaker.progress import bar
from tastemaker.store import VARIABLE

if TYPE_CHECKING:
    from tastemaker.experiments.replay import Replayed
    from tastemaker.experiments.results import Results
    from tastemaker.experiments.uncertainty import Estimate

app = typer.Typer(help="Experiments: variants, results with intervals, and off-policy replay.", no_args_is_help=True)

LOG_OPTION = typer.Option(
    None, "--log", metavar="DIR", help="Folder with impressions.jsonl, events.jsonl and experiments.toml or .json."
)
SINCE_OPTION = typer.Option(None, "--since", metavar="TIME", help="Only lists from then on, e.g. 2026-11-27T18:00Z.")
UNTIL_OPTION = typer.Option(None, "--until", metavar="TIME", help="Only lists before then.")
WINDOW_OPTION = typer.Option(7.0, "--window", metavar="DAYS", min=0.001, help="How long an event counts for a list.")


@app.command("list")
def list_experiments(
    log: Path | None = LOG_OPTION,
    store: str | None = STORE_OPTION,
    tenant: str = TENANT_OPTION,
    json: bool = options.JSON,
) -> None:
    """List the experiments with their variants and shares."""
    with _source(log, store, tenant) as source:
        found = source.experiments()
    if json:
        print_json([one.model_dump(mode="json") for one in found])
        return
    rows = []
    for one in found:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in one.shares.items())
        rows.append(
            [one.name, one.kind, one.runs(now()), shares, f"{one.traffic[0]:g} to {one.traffic[1]:g}", one.layer]
        )
    print_table(["experiment", "kind", "runs", "variants", "traffic", "layer"], rows)


@app.command("put")
def put_experiments(
    file: Path = typer.Argument(metavar="FILE", help="[[experiment]] tables in TOML, or JSON if it ends in .json."),
    store: str | None = STORE_OPTION,
    tenant: str = TENANT_OPTION,
) -> None:
    """Put the experiments of a file into a store; those of the same names are replaced, others stay."""
    from tastemaker.serve.trials import check_settings

    given = parse_experiments(read_document(file), place=str(file))
    for one in given:
        check_settings(one)
    with opened(store, write=True, create=True, upgrade=True) as there:
        names = {one.name for one in given}
        check_together([*(one for one in StoreSource(there, tenant).experiments() if one.name not in names), *given])
        for one in given:
            there.put_experiment(tenant, one.name, one.model_dump(mode="json"))
    typer.echo(f"put: {', '.join(one.name for one in given)}")


@app.command("assign")
def assign_shoppers(
    name: str = typer.Argument(metavar="NAME", help="An experiment."),
    users: list[str] = typer.Argument(metavar="USER...", help="Ids of shoppers."),
    log: Path | None = LOG_OPTION,
    store: str | None = STORE_OPTION,
    tenant: str = TENANT_OPTION,
    json: bool = options.JSON,
) -> None:
    """Say which variant shoppers are in; none for those who take no part."""
    with _source(log, store, tenant) as source:
        experiment = _named(source, name)
    found = {user: assign(experiment, user) for user in users}
    if json:
        print_json(found)
    else:
        print_table(["user", "variant"], list(found.items()))


@app.command("size")
def size(
    rate: float = typer.Option(..., "--rate", help="Share of the control's shoppers who do it, e.g. 0.04."),
    lift: float = typer.Option(..., "--lift", help="Difference to find, as a part of the rate, e.g. 0.1."),
    power: float = typer.Option(0.8, "--power", help="Probability of finding it."),
    share: float = typer.Option(0.5, "--share", help="Part of the shoppers who are in the variant."),
    json: bool = options.JSON,
) -> None:
    """Say how many shoppers an experiment needs, both variants together, to find a difference between two shares."""
    needed = needed_shoppers(rate, lift, power=power, share=share)
    if json:
        print_json({"shoppers": needed})
    else:
        typer.echo(f"{needed:,} shoppers")


@app.command("results")
def results(
    name: str = typer.Argument(metavar="NAME", help="An experiment."),
    log: Path | None = LOG_OPTION,
    store: str | None = STORE_OPTION,
    tenant: str = TENANT_OPTION,
    since: str | None = SINCE_OPTION,
    until: str | None = UNTIL_OPTION,
    window: float = WINDOW_OPTION,
    planned: int = typer.Option(
        10_000, "--planned", min=1, help="Shoppers at which the intervals of any time are narrowest; set it beforehand."
    ),
    seed: int = options.SEED,
    json: bool = options.JSON,
) -> None:
    """Compare the variants of an experiment with its control: clicks, purchases, revenue, with intervals."""
    start, end = milliseconds(since, "--since"), milliseconds(until, "--until")
    with _source(log, store, tenant) as source:
        experiment = _named(source, name)
        credited = attribute(
            source.impressions(start, end),
            source.events(),
            experiment=name,
            since=start,
            until=end,
            crediting=Crediting(window_days=window),
        )
    found = results_of(experiment, credited, seed=seed, planned=planned)
    if json:
        print_json(found.to_dict())
    else:
        _print_results(found)


@app.command("replay")
def replay(
    targets: Path = typer.Option(
        ...,
        "--targets",
        metavar="FILE",
        help="JSON lines: request_id with the item_ids that another policy would show.",
    ),
    log: Path | None = LOG_OPTION,
    store: str | None = STORE_OPTION,
    tenant: str = TENANT_OPTION,
    experiment: str | None = typer.Option(None, "--experiment", metavar="NAME", help="Only lists of this experiment."),
    reward: str = typer.Option("click", "--reward", help="What counts: click, purchase or revenue."),
    clip: float | None = typer.Option(None, "--clip", min=1.0, help="Largest weight; bounds variance, adds bias."),
    since: str | None = SINCE_OPTION,
    until: str | None = UNTIL_OPTION,
    window: float = WINDOW_OPTION,
    seed: int = options.SEED,
    json: bool = options.JSON,
) -> None:
    """Estimate what another policy would have earned, from logged lists that have propensities."""
    if reward not in get_args(Reward):
        raise ConfigError(f"--reward {reward}: unknown{did_you_mean(reward, get_args(Reward))}")
    start, end = milliseconds(since, "--since"), milliseconds(until, "--until")
    with _source(log, store, tenant) as source:
        lists = list(source.impressions(start, end))
        credited = attribute(
            lists,
            source.events(),
            experiment=experiment,
            since=start,
            until=end,
            crediting=Crediting(window_days=window),
        )
    kind: Any = reward
    places, left_out = logged_places(lists, credited, read_lines(targets, Target), reward=kind)
    found = replay_log(places, clip=clip, seed=seed)
    if json:
        print_json({**found.to_dict(), "left_out": left_out, "reward": reward})
        return
    if left_out:
        note(f"note: {left_out:,} lists have no propensities or no target and are left out")
    _print_replay(found, reward)


@app.command("targets")
def targets(
    model: Path = typer.Argument(metavar="MODEL", help="Folder of a saved model, fitted before the first logged list."),
    out: Path = typer.Option(
        ..., "--out", metavar="FILE", help="JSON lines for tastemaker experiment replay --targets."
    ),
    log: Path | None = LOG_OPTION,
    store: str | None = STORE_OPTION,
    tenant: str = TENANT_OPTION,
    since: str | None = SINCE_OPTION,
    until: str | None = UNTIL_OPTION,
    device: str | None = MOVE_OPTION,
) -> None:
    """Write what a saved model would have shown at each logged request, from the histories of that moment."""
    start, end = milliseconds(since, "--since"), milliseconds(until, "--until")
    check_device(device)
    loaded = saved.load(model, device=device)
    with _source(log, store, tenant) as source:
        found = targets_of(loaded, source.impressions(start, end), source.events(), progress=bar)
    lines = [one.model_dump_json(exclude_none=True) for one in found.targets]
    write_text(out, "".join(f"{line}\n" for line in lines))
    note(f"wrote {len(lines):,} lists to {out}; {found.left_out:,} without propensities are left out")
    if found.knows_the_future:
        note(
            f"warning: the saved histories of {counted(found.knows_the_future, 'shopper')} hold products that they met "
            "only after their first logged list; fit the model on what was known before, or its value is overstated"
        )


def _print_results(found: Results) -> None:
    rows = []
    for row in found.rows:
        gap = row.against_control
        rows.append(
            [
                row.measure,
                row.variant,
                row.shoppers,
                row.estimate.value,
                _interval(row.estimate),
                _interval(gap.absolute) if gap else None,
                _percent(gap.relative) if gap else None,
                row.p_adjusted,
                _bounds(*gap.anytime) if gap else None,
            ]
        )
    columns = [
        "measure",
        "variant",
        "shoppers",
        "value",
        "95 % interval",
        "difference",
        "lift",
        "p (Holm)",
        "at any time",
    ]
    print_table(columns, rows, title=f"{found.experiment}: against {found.control}")
    print_table(["counted", ""], [[name, count] for name, count in found.counts.items()])
    for line in found.notes:
        note(f"note: {line}")


def _print_replay(found: Replayed, reward: str) -> None:
    rows = [["logged", found.logged.value, _interval(found.logged), None]]
    for name, value in found.estimates.items():
        rows.append([name, value.value, _interval(value), _interval(found.gains[name])])
    print_table([f"{reward} a list", "value", "95 % interval", "gain over what was logged"], rows)
    facts = {
        "lists": found.lists,
        "shoppers": found.shoppers,
        "effective places": found.effective,
        "largest weight": found.largest_weight,
        "mean weight": found.mean_weight.value,
    }
    print_table(["weights", ""], [[name, value] for name, value in facts.items()])
    for line in found.notes:
        note(f"note: {line}")


def _interval(one: Estimate) -> str | None:
    return _bounds(one.low, one.high)


def _bounds(low: float, high: float) -> str | None:
    return f"{low:.4f} .. {high:.4f}" if low == low and high == high else None


def _percent(one: Estimate) -> str | None:
    return f"{one.value:+.1%} ({one.low:+.1%} .. {one.high:+.1%})" if one.low == one.low else None


@contextmanager
def _source(log: Path | None, store: str | None, tenant: str) -> Iterator[Source]:
    """Open the folder or the store that is named; --log goes before a store of the environment.

    Raises:
        ConfigError: neither is named.
    """
    if log is not None:
        yield FolderSource(log)
    elif store is not None:
        with opened(store, write=False) as there:
            yield StoreSource(there, tenant)
    else:
        raise ConfigError(f"name a folder with --log DIR or a store with --store URL (or {VARIABLE})")


def _named(source: Source, name: str) -> Experiment:
    found = {one.name: one for one in source.experiments()}
    if name not in found:
        raise ConfigError(
            f"no experiment is called '{name}'{did_you_mean(name, found) if found else '; there is none'}"
        )
    return found[name]
