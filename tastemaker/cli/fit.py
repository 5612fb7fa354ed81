"""`tastemaker fit`: learn a pipeline and save it."""

from __future__ import annotations

import time
from pathlib import Path

import typer

from tastemaker import artifact, evaluate, saved
from tastemaker.cli.loading import build_pipeline, read_data, split_data
from tastemaker.cli.output import (
    DATA_OPTION,
    FORMAT_OPTION,
    JSON_OPTION,
    MAX_BAD_OPTION,
    SEED_OPTION,
    SET_OPTION,
    note,
    print_json,
)
from tastemaker.progress import bar
from tastemaker.report import verdict


def fit(
    config: str = typer.Argument(help="A TOML file, or a model's name such as transitions."),
    data: str = DATA_OPTION,
    out: Path = typer.Option(..., "--out", metavar="MODEL", help="Folder for the saved model."),
    split: str = typer.Option(
        "leave-one-out",
        "--split",
        help="What is held back: leave-one-out, temporal or as-given hold back test and validation, so that recommend "
        "gives the lists that evaluate measures; none learns from everything, for production.",
    ),
    seed: int = SEED_OPTION,
    overrides: list[str] | None = SET_OPTION,
    format: str | None = FORMAT_OPTION,
    max_bad: int = MAX_BAD_OPTION,
    json: bool = JSON_OPTION,
) -> None:
    """Fit a pipeline on data and save it as a folder."""
    artifact.check_place(out)
    pipeline = build_pipeline(config, overrides)
    shop, read = read_data(data, format=format, max_bad=max_bad)
    started = time.perf_counter()
    if split == "none":
        evaluate.fit_on_all(pipeline, shop, seed=seed, progress=bar)
        histories, protocol = shop.queries(), {"split": "none", "interactions": len(shop)}
    else:
        parts = split_data(shop, split)
        evaluate.fit(pipeline, parts, seed=seed, progress=bar)
        histories, protocol = parts.refit.queries(), parts.protocol
        note(
            f"note: fitted on the train part of a {split} split, so that recommend and evaluate agree; "
            "for production, learn from everything with --split none"
        )
    facts = {"protocol": protocol, "data": read, "data_fingerprint": shop.fingerprint, "seed": seed}
    saved.save(out, saved.SavedModel(pipeline, shop.users, histories, facts))
    seconds = round(time.perf_counter() - started, 3)
    stages = [stage.recommender.name for stage in pipeline.stages]
    if json:
        reports = [stage.recommender.report() for stage in pipeline.stages]
        print_json({"model": str(out), "stages": stages, "reports": reports, "seconds": seconds, **facts})
    else:
        for stage in pipeline.stages:
            facts_of_stage = stage.recommender.report()
            if "chosen_on_validation" in facts_of_stage:
                typer.echo(verdict(facts_of_stage))
        typer.echo(f"{' -> '.join(stages)} fitted in {seconds} s and saved to {out}")
