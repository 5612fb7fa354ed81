"""`tastemaker attack`: how far product texts that manipulate lift products, before and after defence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tastemaker import attacks as attacking
from tastemaker.attacks.texts import chosen
from tastemaker.cli import options
from tastemaker.cli.loading import built_or_saved, read_data, split_data
from tastemaker.cli.output import as_json, made_by, note, print_json, print_table, write_text
from tastemaker.cli.protocol import DEVICE_OPTION, check_device
from tastemaker.evaluate import fitting
from tastemaker.progress import bar
from tastemaker.recommender import Aids
from tastemaker.registry import settings_of
from tastemaker.report import attack_page

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.data.queries import Queries
    from tastemaker.pipeline import Pipeline


def attack(
    config: str = typer.Argument(
        help="A TOML file, a model's name such as text_knn, or the folder of a saved model, which is not refitted."
    ),
    data: str = options.DATA,
    split: str = typer.Option(
        "leave-one-out", "--split", help="What a configuration is fitted on: the training part of this split."
    ),
    items: int = typer.Option(50, "--items", min=1, help="Products whose sellers attack, at most."),
    users: int = typer.Option(50, "--users", min=1, help="Shoppers who are asked, each about one product."),
    k: int = typer.Option(10, "-k", min=1, help="Length of the lists in which a product is seen."),
    kinds: list[str] | None = typer.Option(None, "--kind", help="Only attacks of this kind; may be repeated."),
    per_kind: int | None = typer.Option(
        None, "--per-kind", min=1, help="So many attacks of each kind, drawn at random. By default all."
    ),
    page: Path | None = typer.Option(None, "--report", metavar="FILE", help="Also write an HTML page."),
    out: Path | None = typer.Option(None, "--out", metavar="FILE", help="Also write the JSON to a file."),
    device: str | None = DEVICE_OPTION,
    seed: int = options.SEED,
    overrides: list[str] | None = options.SET,
    format: str | None = options.FORMAT,
    max_bad: int = options.MAX_BAD,
    json: bool = options.JSON,
) -> None:
    """Poison the texts of some products, rank again for some shoppers, and measure what that wins the sellers."""
    tried = chosen(kinds, per_kind=per_kind, seed=seed)
    check_device(device)
    pipeline, loaded = built_or_saved(config, overrides, device=device)
    shop, read = read_data(data, format=format, max_bad=max_bad)
    if loaded is None:
        train, queries = _fitted(pipeline, shop, split=split, device=device, seed=seed)
    else:
        train, queries = shop, loaded.histories
    for stage in pipeline.stages:
        if stage.recommender.lm is not None and stage.recommender.report().get("weight") == 0:
            note(
                f"warning: the language model of {stage.recommender.name} was given the weight 0, so it has no say and "
                "nothing can be won from it; set a weight, e.g. --set stage.1.weight=0.5"
            )
    asked = attacking.Asked(shoppers=users, targets=items, k=k, seed=seed)
    result = attacking.measure(pipeline, train, queries, tried, asked=asked, progress=bar)
    result |= {"config": settings_of(pipeline), "data": read, "made_by": made_by()}
    if out is not None:
        write_text(out, as_json(result) + "\n")
    if page is not None:
        write_text(page, attack_page(result))
    if json:
        print_json(result)
    else:
        _print(result)


def _fitted(pipeline: Pipeline, shop: Dataset, *, split: str, device: str | None, seed: int) -> tuple[Dataset, Queries]:
    """Fit on the training part and return it with the histories of the test questions."""
    parts = split_data(shop, split, seed=seed)
    fitting.fit(pipeline, parts, aids=Aids(device=device or "cpu"), seed=seed, progress=bar)
    return parts.train, parts.test.queries


def _print(result: dict[str, Any]) -> None:
    """Print kinds of attacks, then the protocol."""
    k = result["protocol"]["k"]
    columns = ["kind", "attacks", "places won before", "after", f"top-{k} won before", "after", "most above retriever"]
    rows = [
        [
            one["kind"],
            one["attacks"],
            *(_places(one[condition]["rank_gain"]) for condition in ("before", "after")),
            *(_share(one[condition]["exposure_gain"]) for condition in ("before", "after")),
            f"{one['before']['most']} / {one['after']['most']}",
            one["before"]["unanswered"] + one["after"]["unanswered"],
            f"{one['flagged']:.0%}",
        ]
        for one in result["kinds"]
    ]
    print_table([*columns, "unanswered", "flagged"], rows)
    print_table(["protocol", ""], [[name.replace("_", " "), str(value)] for name, value in result["protocol"].items()])


def _places(measured: dict[str, float | None]) -> str:
    """Return places won, "+12.3"."""
    return "-" if measured["value"] is None else f"{measured['value']:+.1f}"


def _share(measured: dict[str, float | None]) -> str:
    """Return a share of lists with its interval, "12% [8, 16]"."""
    value, low, high = (measured[name] for name in ("value", "low", "high"))
    if value is None:
        return "-"
    bounds = "" if low is None or high is None else f" [{low:.0%}, {high:.0%}]"
    return f"{value:.0%}{bounds}"
