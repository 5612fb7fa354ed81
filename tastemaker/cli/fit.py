"""`tastemaker fit`: learn a pipeline and save it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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
from tastemaker.cli.protocol import DEVICE_OPTION, check_device
from tastemaker.data import origins
from tastemaker.errors import ConfigError
from tastemaker.neural import curves
from tastemaker.progress import bar
from tastemaker.recommender import Aids
from tastemaker.report import verdict

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.data.queries import Queries
    from tastemaker.pipeline import Pipeline


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
    device: str = DEVICE_OPTION,
    threads: str | None = typer.Option(
        None,
        "--threads",
        metavar="N|measure",
        help="Threads that networks are trained with. measure tries which number is quickest and reports it; given "
        "that number, the result is the same bit for bit.",
    ),
    checkpoints: Path | None = typer.Option(
        None,
        "--checkpoints",
        metavar="DIR",
        help="Keep the state of networks here after each epoch; if the command is killed, the same command goes on.",
    ),
    sinks: list[str] | None = typer.Option(
        None,
        "--curves",
        metavar="KIND:PLACE",
        help="Where learning curves go while they grow: jsonl:FILE, tensorboard:DIR or mlflow:ADDRESS; give it again "
        "for more.",
    ),
    json: bool = JSON_OPTION,
) -> None:
    """Fit a pipeline on data and save it as a folder."""
    artifact.check_place(out)
    check_device(device)
    aids = Aids(folder=checkpoints, device=device, threads=_threads(threads))
    pipeline = build_pipeline(config, overrides)
    shop, read = read_data(data, format=format, max_bad=max_bad)
    started = time.perf_counter()
    try:
        with curves.opened(sinks or ()) as on_epoch:
            histories, learnt = _fit(pipeline, shop, split, aids=replace(aids, on_epoch=on_epoch), seed=seed)
    except KeyboardInterrupt:
        if checkpoints is not None:
            note(f"stopped; the same command goes on from {checkpoints}")
        raise
    facts = {**learnt, "data": read, **origins.origin(shop), "seed": seed}
    saved.save(out, saved.SavedModel(pipeline, shop.users, histories, facts))
    if checkpoints is not None:
        evaluate.forget_checkpoints(checkpoints)
    seconds = round(time.perf_counter() - started, 3)
    stages = [stage.recommender.name for stage in pipeline.stages]
    reports = [stage.recommender.report() for stage in pipeline.stages]
    for name, said in zip(stages, reports, strict=True):
        if "not_judged" in said:
            note(f"note: {name}: trained for all epochs, as {said['not_judged']}")
    if json:
        print_json({"model": str(out), "stages": stages, "reports": reports, "seconds": seconds, **facts})
    else:
        for said in reports:
            if "chosen_on_validation" in said:
                typer.echo(verdict(said))
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


def _threads(word: str | None) -> int | Literal["measure"] | None:
    """Read the number of threads.

    Raises:
        ConfigError: neither a number of at least 1 nor "measure".
    """
    if word is None:
        return None
    if word == "measure":
        return "measure"
    if not word.isdecimal() or int(word) < 1:
        raise ConfigError(f"--threads {word}: must be a number of at least 1, or measure")
    return int(word)
