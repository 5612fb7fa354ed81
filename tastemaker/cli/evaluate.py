"""`tastemaker evaluate`: measure a pipeline under one stated protocol."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy
import polars
import scipy
import typer

import tastemaker
from tastemaker import config as config_file
from tastemaker import evaluate as evaluation
from tastemaker import rating, registry
from tastemaker.cli.loading import build_pipeline, read_data, split_data
from tastemaker.cli.output import (
    DATA_OPTION,
    FORMAT_OPTION,
    JSON_OPTION,
    MAX_BAD_OPTION,
    SEED_OPTION,
    SET_OPTION,
    as_json,
    note,
    print_json,
    print_table,
    write_text,
)
from tastemaker.errors import ConfigError
from tastemaker.progress import bar
from tastemaker.rating import NeighbourRater
from tastemaker.report import verdict
from tastemaker.text.render import item_texts

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset

DEFAULT_SPLIT = "leave-one-out"
DEFAULT_KS = [5, 10]


def evaluate(
    config: str = typer.Argument(help="A TOML file, or a model's name such as transitions."),
    data: str = DATA_OPTION,
    split: str = typer.Option(DEFAULT_SPLIT, "--split", help="leave-one-out, temporal or as-given."),
    ks: list[int] = typer.Option(DEFAULT_KS, "-k", min=1, help="List length; give it again for more."),
    unmasked: bool = typer.Option(False, "--unmasked", help="Leave products of the history in the lists."),
    refit: bool = typer.Option(False, "--refit", help="Fit once more on train + validation before test."),
    sample: int | None = typer.Option(None, "--sample", min=1, help="Use this many random test shoppers."),
    ratings: bool = typer.Option(
        False, "--rating", help="Measure predicted ratings (MAE, RMSE) over neighbours 5..30."
    ),
    out: Path | None = typer.Option(None, "--out", metavar="FILE", help="Also write the JSON to a file."),
    seed: int = SEED_OPTION,
    overrides: list[str] | None = SET_OPTION,
    format: str | None = FORMAT_OPTION,
    max_bad: int = MAX_BAD_OPTION,
    json: bool = JSON_OPTION,
) -> None:
    """Fit on train, rank all items for held-out shoppers, and print measures with intervals and the full protocol."""
    if ratings:
        _refuse_ranking_options(split=split, ks=ks, unmasked=unmasked, refit=refit, sample=sample)
        settings = config_file.read(config, overrides=overrides)
        pipeline = registry.build(settings, place=config)
        shop, read = read_data(data, format=format, max_bad=max_bad)
        result = _evaluate_ratings(settings, shop, place=config, seed=seed)
    else:
        pipeline = build_pipeline(config, overrides)
        shop, read = read_data(data, format=format, max_bad=max_bad)
        result = evaluation.evaluate(
            pipeline,
            split_data(shop, split),
            ks=tuple(sorted(set(ks))),
            masking=not unmasked,
            refit=refit,
            sample=sample,
            seed=seed,
            progress=bar,
        ).to_dict()
    result = {**result, "data": read, "config": registry.settings_of(pipeline), "made_by": made_by()}
    if out is not None:
        write_text(out, as_json(result) + "\n")
    if json:
        print_json(result)
    elif ratings:
        _print_ratings(result)
    else:
        _print_measures(result)


def made_by() -> dict[str, Any]:
    """Return the command line and the versions that made a result."""
    return {
        "command": ["tastemaker", *sys.argv[1:]],
        "tastemaker": tastemaker.__version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "polars": polars.__version__,
    }


def _refuse_ranking_options(*, split: str, ks: list[int], unmasked: bool, refit: bool, sample: int | None) -> None:
    """Refuse options that mean nothing for predicted ratings."""
    given = {
        "--split": split != DEFAULT_SPLIT,
        "-k": ks != DEFAULT_KS,
        "--unmasked": unmasked,
        "--refit": refit,
        "--sample": sample is not None,
    }
    for option, used in given.items():
        if used:
            raise ConfigError(f"--rating: {option} has no meaning for predicted ratings; leave it out")


def _evaluate_ratings(settings: dict[str, Any], shop: Dataset, *, place: str, seed: int) -> dict[str, Any]:
    """Measure the one neighbour model of `settings`: plain, and where items have texts also enriched by them.

    Raises:
        ConfigError: it is no model that predicts ratings from neighbours.
    """
    stages = settings["stage"]
    name = str(stages[0].get("model"))
    if len(stages) > 1 or not hasattr(registry.model_class(name), "predict_over"):
        raise ConfigError(f"--rating: needs one stage that predicts ratings, user_knn or item_knn; got {name}")

    def model(alpha: float) -> NeighbourRater:
        stage = {"feedback": "ratings", **stages[0], "alpha": alpha}
        built = registry.build({**settings, "stage": [stage]}, place=place).stages[0].recommender
        return cast(NeighbourRater, built)

    given = stages[0].get("alpha")
    has_texts = any(item_texts(shop.items))
    alphas = () if given == 1 or not has_texts else (float(given),) if given is not None else rating.ALPHAS
    return rating.evaluate_ratings(shop, {name: model}, alphas=alphas, seed=seed, progress=bar)


def _print_measures(result: dict[str, Any]) -> None:
    rows = [[name, found["value"], _interval(found)] for name, found in result["metrics"].items()]
    print_table(["measure", "value", "95 % interval"], rows)
    if len(result["stages"]) > 1:
        name = max((name for name in result["metrics"] if name.startswith("ndcg@")), key=lambda n: int(n[5:]))
        rows = []
        for number, stage in enumerate(result["stages"]):
            change = stage.get("change", {}).get(name)
            rows.append(
                [
                    f"{number}: {stage['model']}",
                    stage["metrics"][name]["value"],
                    "-" if change is None else f"{change['value']:+.4f} ({_interval(change)})",
                    stage["report"].get("weight"),
                ]
            )
        print_table(["after stage", name, "change by this stage", "weight"], rows)
    for stage in result["stages"]:
        if "chosen_on_validation" in stage["report"]:
            typer.echo(verdict(stage["report"]))
        failed = {key: count for key, count in stage["report"].get("counts", {}).items() if key.startswith("failed")}
        if failed:
            note(f"warning: {stage['model']} kept the retriever's order: {failed}")
    typer.echo("protocol: " + ", ".join(f"{key}={value}" for key, value in result["protocol"].items()))


def _print_ratings(result: dict[str, Any]) -> None:
    rows = [[name, None, None, found["mae"], found["rmse"], None] for name, found in result["baselines"].items()]
    for model in result["models"]:
        rows += [
            [model["model"], model["alpha"], row["neighbours"], row["mae"], row["rmse"], row["fallback_share"]]
            for row in model["rows"]
        ]
    print_table(["model", "alpha", "neighbours", "MAE", "RMSE", "predicted by fall-back"], rows)
    typer.echo("protocol: " + ", ".join(f"{key}={value}" for key, value in result["protocol"].items()))


def _interval(found: dict[str, float | None]) -> str:
    if found["low"] is None or found["high"] is None:
        return "-"
    return f"{found['low']:.4f} .. {found['high']:.4f}"
