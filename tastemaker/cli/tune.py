"""`tastemaker transfer` and `tastemaker tune`: a saved model on another catalogue, as it is or learning on.

The catalogue is another shop's, or that of the model's own shop today.

`tune` also takes a configuration whose language models are to be tuned. That is `fit` for such a configuration: tuning
is part of what a stage learns, so either verb gives the same model; `tune` refuses a configuration that tunes nothing.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tastemaker import artifact, evaluate, saved
from tastemaker.cli import options
from tastemaker.cli.fit import fit_and_save
from tastemaker.cli.loading import build_pipeline, check_out, read_data, split_data
from tastemaker.cli.output import note, print_json
from tastemaker.cli.protocol import DEVICE_OPTION, MOVE_OPTION, check_device
from tastemaker.cli.training import CHECKPOINTS_OPTION, CURVES_OPTION, THREADS_OPTION, Training
from tastemaker.data import origins
from tastemaker.errors import ArtifactError, ConfigError
from tastemaker.progress import bar

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.data.queries import Queries
    from tastemaker.pipeline import Pipeline
    from tastemaker.recommender import Recommender

MODEL_ARGUMENT = typer.Argument(metavar="MODEL", help="Folder of a saved model.")
OUT_OPTION = typer.Option(..., "--out", metavar="NEW", help="Folder for the new model; MODEL stays as it is.")
SPLIT_OPTION = typer.Option(
    "leave-one-out",
    "--split",
    help="What is held back of DIR, as for fit; none uses every purchase, for production.",
)


def transfer(
    model: Path = MODEL_ARGUMENT,
    data: str = options.DATA,
    out: Path = OUT_OPTION,
    split: str = SPLIT_OPTION,
    format: str | None = options.FORMAT,
    max_bad: int = options.MAX_BAD,
    device: str | None = MOVE_OPTION,
    json: bool = options.JSON,
) -> None:
    """Let a saved model rank another catalogue without learning: another shop's (zero-shot), or its own of today."""
    check_device(device)
    started = time.perf_counter()
    loaded = _loaded(model, out, device)
    shop, read = read_data(data, format=format, max_bad=max_bad)
    histories, protocol = _asked(shop, split)
    known = int((loaded.pipeline.items.numbers(shop.items.frame["id"], unknown="mark") >= 0).sum())
    for line in loaded.pipeline.transfer(shop.items):
        note(f"note: {line}")
    facts = {"transferred_from": loaded.facts, "protocol": protocol, "data": read, "data_fingerprint": shop.fingerprint}
    saved.save(out, saved.SavedModel(loaded.pipeline, shop.users, histories, facts))
    word = f"ranks the {len(shop.items):,} products of {data}, {known:,} of which it knew by id,"
    _tell(out, loaded.pipeline, facts, started, word=word, json=json)


def tune(
    model: Path = typer.Argument(
        metavar="MODEL|CONFIG", help="Folder of a saved model, or a TOML file with a table [stage.tuning]."
    ),
    data: str = options.DATA,
    out: Path = OUT_OPTION,
    split: str = SPLIT_OPTION,
    share: float = typer.Option(1.0, "--share", help="Learn from this random share of the shoppers only."),
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
    """Let a saved model go on learning from a shop, or tune the language models of a configuration on it."""
    training = Training(device, threads, checkpoints, sinks)
    if model.is_file():
        fit_and_save(
            _to_tune(model, overrides, share, device=device),
            data=data,
            out=out,
            split=split,
            seed=seed,
            format=format,
            max_bad=max_bad,
            training=training,
            json=json,
        )
        return
    if not (model / artifact.MANIFEST).is_file():
        raise ArtifactError(
            f"{model}: not a saved model (no {artifact.MANIFEST}), nor a configuration: "
            "that is a TOML file with a table [stage.tuning]"
        )
    if overrides:
        raise ConfigError("--set: changes a configuration; a saved model keeps its settings")
    started = time.perf_counter()
    training.check()
    loaded = _loaded(model, out, device)
    shop, read = read_data(data, format=format, max_bad=max_bad)
    pipeline = loaded.pipeline
    if split == "none":
        if share < 1:
            raise ConfigError("--share: is for measuring how little data do; --split none learns from all of them")
        if pipeline.items.digest != shop.items.digest:
            pipeline.transfer(shop.items)
        with training.aids() as aids:
            anew, epochs = evaluate.tune_on_all(pipeline, shop, aids=aids, seed=seed, progress=bar)
        histories, protocol = _asked(shop, split)
        protocol |= {"fitted_anew": anew, "epochs": epochs}
        learnt = shop
    else:
        parts = split_data(shop, split, seed=seed).with_facts(data_fingerprint=shop.fingerprint)
        adaptation = evaluate.Adaptation(loaded.facts, evaluate.check_share(share))
        with training.aids() as aids:
            said = adaptation.apply(pipeline, parts, aids=aids, seed=seed, progress=bar)
        histories, protocol = parts.refit.real().queries(), {**parts.protocol, **said}
        learnt = parts.train
    facts = {
        "tuned_from": loaded.facts,
        "protocol": protocol,
        "data": read,
        **origins.origin(shop),
        "train_fingerprint": learnt.fingerprint,
        "seed": seed,
    }
    saved.save(out, saved.SavedModel(pipeline, shop.users, histories, facts))
    training.done()
    _tell(out, pipeline, facts, started, word="tuned", json=json)


def _to_tune(config: Path, overrides: list[str] | None, share: float, *, device: str | None = None) -> Pipeline:
    """Build the pipeline of a configuration that tunes something.

    Raises:
        ConfigError: it tunes nothing, or --share is given.
    """
    if share < 1:
        raise ConfigError("--share: is for a saved model; set share in the table [stage.tuning]")
    pipeline = build_pipeline(str(config), overrides, device=device)
    if not any(_tunes(stage.recommender) for stage in pipeline.stages):
        raise ConfigError(
            f"{config}: no stage has a table [stage.tuning], nor a member [stage.member.tuning]; "
            "add one, or use tastemaker fit"
        )
    return pipeline


def _tunes(model: Recommender) -> bool:
    """Say whether a model or one of its members has a language model to tune."""
    return bool(getattr(model.config, "tuning", None)) or any(map(_tunes, getattr(model, "members", ())))


def _loaded(model: Path, out: Path, device: str | None) -> saved.SavedModel:
    check_out(out)
    if out.resolve() == model.resolve():
        raise ConfigError(f"--out {out}: is the model itself; write the new one elsewhere")
    return saved.load(model, device=device)


def _asked(shop: Dataset, split: str) -> tuple[Queries, dict[str, Any]]:
    """Return the histories to answer for, and the protocol."""
    if split == "none":
        return shop.real().queries(), {"split": "none", "interactions": len(shop)}
    parts = split_data(shop, split)
    return parts.refit.real().queries(), parts.protocol


def _tell(out: Path, pipeline: Pipeline, facts: dict[str, Any], started: float, *, word: str, json: bool) -> None:
    seconds = round(time.perf_counter() - started, 3)
    stages = [stage.recommender.name for stage in pipeline.stages]
    if json:
        print_json({"model": str(out), "stages": stages, "seconds": seconds, **facts})
    else:
        typer.echo(f"{' -> '.join(stages)} {word} in {seconds} s and saved to {out}")
