"""`tastemaker augment`: texts and interactions written for a shop, kept where they help on validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from tastemaker import config as configuration
from tastemaker import registry
from tastemaker.augment import run
from tastemaker.augment.gate import MEASURE
from tastemaker.cli import options
from tastemaker.cli.loading import read_data
from tastemaker.cli.output import note, print_json, print_table
from tastemaker.data.writers.canonical import check_place, write
from tastemaker.progress import bar


def augment(
    config: str = typer.Argument(help="A TOML file, or a model's name: the pipeline that is to profit."),
    data: str = options.DATA,
    out: Path = typer.Option(..., "--out", metavar="DIR2", help="Folder for the augmented data."),
    kinds: list[str] | None = typer.Option(
        None,
        "--kind",
        metavar="KIND",
        help="Write this: descriptions, keywords, profiles or interactions; give it again for more. All by default.",
    ),
    writer: str | None = typer.Option(
        None, "--writer", metavar="WHO", help="statistics of the training data, or lm: the configuration's model."
    ),
    most: int | None = typer.Option(
        None, "--most", min=1, help="Write texts for at most so many products and shoppers."
    ),
    keep: list[str] | None = typer.Option(
        None, "--keep", metavar="KIND", help="Keep this kind even if it does not help on validation."
    ),
    split: str = typer.Option("leave-one-out", "--split", help="The split under which the data will be used."),
    seed: int = options.SEED,
    overrides: list[str] | None = options.SET,
    format: str | None = options.FORMAT,
    max_bad: int = options.MAX_BAD,
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a folder that was written before."),
    json: bool = options.JSON,
) -> None:
    """Write descriptions, keywords, profiles and synthetic interactions; keep what helps on validation questions."""
    wanted: dict[str, Any] = configuration.read_augment(config, overrides=overrides)
    wanted |= {
        key: value
        for key, value in (("kinds", tuple(kinds or ()) or None), ("writer", writer), ("most", most))
        if value is not None
    }
    settings = configuration.read(config, overrides=overrides, beside="augment")
    registry.build(settings, place=config)
    check_place(out, overwrite=overwrite)
    shop, _ = read_data(data, format=format, max_bad=max_bad)
    found = run.augment(settings, wanted, shop, split=split, keep=keep or (), seed=seed, progress=bar)
    write(found.data, out, overwrite=overwrite, beside=found.files())
    if json:
        print_json({"out": str(out), **found.report})
        return
    judged = found.report["judged"]
    print_table(
        ["with", MEASURE, "gain", "standard error", "helps"],
        [
            ["nothing", judged["without"], None, None, None],
            *(
                [" + ".join(one["kinds"]), one[MEASURE], one["gain"], one["standard_error"], one["helps"]]
                for one in judged["trials"]
            ),
        ],
        title=f"{judged['questions']:,} validation questions",
    )
    for kind, said in found.report["written"].items():
        facts = ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in said.items())
        typer.echo(f"{kind}: {facts}" + ("" if kind in found.report["kept"] else " (switched off)"))
    note(f"wrote {out}; evaluate it under --split {split} --seed {seed}")
