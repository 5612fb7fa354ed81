"""`tastemaker rules`: what a rule document does to a catalogue."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from tastemaker.cli import options
from tastemaker.cli.loading import read_data
from tastemaker.cli.output import note, print_json, print_table
from tastemaker.cli.stores import STORE_OPTION, TENANT_OPTION, URL_OPTION, opened, service_at
from tastemaker.cli.times import milliseconds, now
from tastemaker.config import value_of
from tastemaker.data.checks.problems import counted
from tastemaker.errors import ConfigError
from tastemaker.rules import CatalogueColumns, Context, RuleSet, Shopper, plan
from tastemaker.rules.check import Checked, check
from tastemaker.store.errors import StoreBusy

app = typer.Typer(help="Business rules: what may be shown to whom, and what is moved or pinned.", no_args_is_help=True)

AT_OPTION = typer.Option(None, "--at", metavar="TIME", help="The time, e.g. 2026-11-27T18:00+01:00; now by default.")


@app.command("check")
def check_rules(
    file: Path = typer.Argument(metavar="FILE", help="Rules in TOML, or in JSON if the name ends in .json."),
    data: str | None = typer.Option(
        None, "--data", metavar="DIR", help="Also count the products that each rule touches in this shop."
    ),
    at: str | None = AT_OPTION,
    format: str | None = options.FORMAT,
    max_bad: int = options.MAX_BAD,
    json: bool = options.JSON,
) -> None:
    """Check a rule document; with --data, say how many products each rule touches and what it probably did not mean."""
    rules = RuleSet.read(file)
    moment = milliseconds(at, "--at")
    if data is None:
        if json:
            print_json([{"rule": rule.name, "kind": rule.kind, "enabled": rule.enabled} for rule in rules.rules])
        else:
            print_table(["rule", "action", "enabled"], [[rule.name, rule.kind, rule.enabled] for rule in rules.rules])
            note("no mistakes; with --data DIR the products that each rule touches are counted")
        return
    shop, _ = read_data(data, format=format, max_bad=max_bad)
    found = check(rules, CatalogueColumns(shop.items.frame), now=now() if moment is None else moment)
    if json:
        print_json(asdict(found))
        return
    _print(found)


@app.command("why")
def why_not(
    file: Path = typer.Argument(metavar="FILE", help="Rules in TOML, or in JSON if the name ends in .json."),
    item: str = typer.Argument(metavar="ITEM", help="Id of a product."),
    data: str = options.DATA,
    user: list[str] | None = typer.Option(
        None, "--user", metavar="KEY=VALUE", help="An attribute of the shopper, e.g. region=DE or age=34."
    ),
    strategy: str = typer.Option("", "--strategy", metavar="NAME", help="The place in the shop that asks."),
    at: str | None = AT_OPTION,
    format: str | None = options.FORMAT,
    max_bad: int = options.MAX_BAD,
    json: bool = options.JSON,
) -> None:
    """Say whether a product may be shown to a shopper, which rules hide it if not, and which rules hold at all."""
    rules = RuleSet.read(file)
    moment = milliseconds(at, "--at")
    shop, _ = read_data(data, format=format, max_bad=max_bad)
    number = int(shop.items.numbers([item])[0])
    attributes = dict(_attribute(one) for one in user or [])
    context = Context(now() if moment is None else moment, strategy)
    made = plan(rules, CatalogueColumns(shop.items.frame), Shopper(attributes), context)
    causes = made.why(number)
    if json:
        print_json({"item_id": item, "allowed": not causes, "hidden_by": causes, "rules_that_hold": made.rules})
        return
    typer.echo(f"{item} may be shown" if not causes else f"{item} is hidden by: {', '.join(causes)}")
    note(f"rules that hold: {', '.join(made.rules) or 'none'}")


def _attribute(text: str) -> tuple[str, Any]:
    key, given, value = text.partition("=")
    if not given or not key:
        raise ConfigError(f"--user {text}: must look like region=DE")
    return key, value_of(value)


@app.command("put")
def put_rules(
    file: Path = typer.Argument(metavar="FILE", help="Rules in TOML, or in JSON if the name ends in .json."),
    store: str | None = STORE_OPTION,
    url: str | None = URL_OPTION,
    tenant: str = TENANT_OPTION,
) -> None:
    """Put rules in force: into a store as its newest version, or with --url through the service that runs on it."""
    rules = RuleSet.read(file)
    if url is not None:
        with service_at(url) as shop:
            version = shop.put_rules(rules.to_dict())
    else:
        try:
            kept = opened(store, write=True, create=True, upgrade=True)
        except StoreBusy as error:
            raise StoreBusy(f"{error}; --url ADDRESS puts rules through the service") from error
        with kept:
            version = kept.put_rules(tenant, rules.to_dict(), "command line")
    typer.echo(f"version {version}: {counted(len(rules.rules), 'rule')}")


@app.command("show")
def show_rules(store: str | None = STORE_OPTION, url: str | None = URL_OPTION, tenant: str = TENANT_OPTION) -> None:
    """Print the newest rules of a store or a service as JSON; what is printed can be checked and put again."""
    if url is not None:
        with service_at(url) as shop:
            version, document = shop.rules()
    else:
        with opened(store, write=False) as kept:
            version, document = kept.get_rules(tenant)
    note(f"version {version}")
    print_json(document)


def _print(found: Checked) -> None:
    rows = [[one.rule, one.kind, one.holds, one.products, one.hides] for one in found.rules]
    print_table(["rule", "action", "holds", "products", "hides"], rows)
    typer.echo(f"a shopper of whom nothing is known may be shown {found.allowed:,} of {found.products:,} products")
    for one in found.rules:
        for warning in one.warnings:
            note(f"warning: {one.rule}: {warning}")
    for warning in found.warnings:
        note(f"warning: {warning}")
