"""`tastemaker fit`: learn a pipeline and save it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tastemaker import evaluate, saved
from tastemaker.cli import options
from tastemaker.cli.loading import build_pipeline, check_out, read_data, split_data
from tastemaker.cli.output import note, print_json
from tastemaker.cli.protocol import DEVICE_OPTION
from tastemaker.cli.training import CHECKPOINTS_OPTION, CURVES_OPTION, THREADS_OPTION, Training
from tastemaker.data import origins
from tastemaker.progress import bar
from tastemaker.report import verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.queries import Queries
    from tastemaker.pipeline import Pipeline
    from tastemaker.recommender import Aids


def fit(
    config: str = typer.Argument(help="A TOML file, or a model's name such as transitions."),
    data: str = options.DATA,
    out: Path = typer.Option(..., "--out", metavar="MODEL", help="Folder for the saved model."),
    split: str = typer.Option(
        "leave-one-out",
        "--split",
        help="What is held back: leave-one-out, temporal or as-given hold back test and validation, so that recommend "
        "gives the lists that evaluate measures; none learns from everything, for production.",
    ),
    seed: int = options.SEED,
    overrides: list[str] | None = options.SET,
    format: str | None = options.FORMAT,
    max_bad: int = options.MAX_BAD,
    device: str | None = DEVICE_OPTION,
    threads: str | None = THREADS_OPTION,
    checkpoints: Path | None = CHECKPOINTS_OPTION,
    sinks: list[str] | None = CURVES_OPTION,
    json: bool = options.JSON,
) -> None:
    """Fit a pipeline on data and save it as a folder."""
    fit_and_save(
        build_pipeline(config, overrides, device=device),
        data=data,
        out=out,
        split=split,
        seed=seed,
        format=format,
        max_bad=max_bad,
        training=Training(device, threads, checkpoints, sinks),
        json=json,
    )


def fit_and_save(
    pipeline: Pipeline,
    *,
    data: str,
    out: Path,
    split: str,
    seed: int,
    format: str | None,
    max_bad: int,
    training: Training,
    json: bool,
) -> None:
    """Fit a pipeline on data, save it as a folder, and tell of it."""
    check_out(out)
    training.check()
    shop, read = read_data(data, format=format, max_bad=max_bad)
    started = time.perf_counter()
    with training.aids() as aids:
        histories, learnt = _fit(pipeline, shop, split, aids=aids, seed=seed)
    facts = {**learnt, "data": read, **origins.origin(shop), "seed": seed}
    saved.save(out, saved.SavedModel(pipeline, shop.users, histories, facts))
    training.done()
    seconds = round(time.perf_counter() - started, 3)
    stages = [stage.recommender.name for stage in pipeline.stages]
    reports = [stage.recommender.report() for stage in pipeline.stages]
    for name, said in zip(stages, reports, strict=True):
        for model, reason in _not_judged(name, said):
            note(f"note: {model}: trained for all epochs, as {reason}")
    if json:
        print_json({"model": str(out), "stages": stages, "reports": reports, "seconds": seconds, **facts})
    else:
        for name, said in zip(stages, reports, strict=True):
            if "chosen_on_validation" in said:
                typer.echo(verdict(said, model=name))
        typer.echo(f"{' -> '.join(stages)} fitted in {seconds} s and saved to {out}")


def _fit(pipeline: Pipeline, shop: Dataset, split: str, *, aids: Aids, seed: int) -> tuple[Queries, dict[str, Any]]:
    """Fit as the split says; return the histories that recommend is to answer, and facts of what was learnt from."""
    if split == "none":
        evaluate.fit_on_all(pipeline, shop, aids=aids, seed=seed, progress=bar)
        return shop.real().queries(), {
            "protocol": {"split": "none", "interactions": len(shop)},
            "train_fingerprint": shop.fingerprint,
        }
    parts = split_data(shop, split, seed=seed)
    evaluate.fit(pipeline, parts, aids=aids, seed=seed, progress=bar)
    note(
        f"note: fitted on the train part of a {split} split, so that recommend and evaluate agree; "
        "for production, learn from everything with --split none"
    )
    return parts.refit.real().queries(), {
        "protocol": {**parts.protocol, "choices": evaluate.choices_of(pipeline, parts.validation)},
        "train_fingerprint": parts.train.fingerprint,
    }


def _not_judged(name: str, report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the networks of a stage that no validation question could stop, members too, each with the reason."""
    if "not_judged" in report:
        yield name, report["not_judged"]
    for member in report.get("members", ()):
        yield from _not_judged(f"{name}, {member['model']}", member["report"])
