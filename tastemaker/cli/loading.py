"""What several verbs do first: read data, report what was left out, build a pipeline, split."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tastemaker import artifact, config, registry, saved
from tastemaker.cli.output import note
from tastemaker.data import readers
from tastemaker.data.checks.columns import KINDS
from tastemaker.data.readers.canonical import GROUP, QUANTITY
from tastemaker.data.readers.orders import ALL, Rows
from tastemaker.data.splits import SPLITS
from tastemaker.errors import ArtifactError, ConfigError, did_you_mean
from tastemaker.progress import bar
from tastemaker.store.folders import in_words, model_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.splits import Split
    from tastemaker.pipeline import Pipeline
    from tastemaker.saved import SavedModel


def read_data(
    source: str,
    *,
    format: str | None,
    max_bad: int,
    items: str | None = None,
    items_format: str | None = None,
    items_columns: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    rows: Rows = ALL,
) -> tuple[Dataset, dict[str, Any]]:
    """Read data, say on stderr what was noticed and left out, and return that as facts for results too."""
    data, report = readers.read(
        source,
        format=format,
        items=items,
        items_format=items_format,
        items_columns=items_columns,
        columns=columns,
        rows=rows,
        max_bad=max_bad,
        progress=bar,
    )
    for line in report.notes:
        note(f"note: {line}")
    words = report.left_out_words()
    if words:
        kinds = f": {', '.join(report.kinds())}" if report.bad_rows else ""
        note(f"note: {words} (bad rows: {report.bad_rows:,}{kinds}); see them with {report.command()}")
    left_out = {table: count for table, count in report.left_out.items() if count}
    facts = {"format": report.format, "rows": report.rows, "bad_rows": report.bad_rows, "left_out": left_out}
    return data, facts


def named_columns(pairs: list[str] | None, *, of_items: bool = False) -> dict[str, str]:
    """Return canonical name -> header of the order log, or of the products, from "user_id=Email" and the like.

    Raises:
        ConfigError: no such column can be named, or one is named twice.
    """
    named: dict[str, str] = {}
    option, example = ("--items-column", "title=Titel") if of_items else ("--column", "user_id=Email")
    names = (*KINDS["items"], GROUP) if of_items else (*KINDS["interactions"], QUANTITY)
    for pair in pairs or ():
        name, given, header = pair.partition("=")
        if name not in names or not given or not header:
            known = ", ".join(names)
            raise ConfigError(f"{option} {pair}: write NAME=HEADER, such as {example}, with a name of: {known}")
        if name in named:
            raise ConfigError(f"{option} {pair}: {name} is {named[name]!r} already")
        named[name] = header
    return named


def chosen_rows(only: list[str] | None, without: list[str] | None, guests: str | None) -> Rows:
    """Return which rows of an order log count, from "Status=Versendet" and the like.

    Raises:
        ConfigError: one has no "=", or no header in front of it.
    """
    return Rows(only=_pairs("--only", only), without=_pairs("--without", without), guests=guests)


def _pairs(option: str, pairs: list[str] | None) -> tuple[tuple[str, str], ...]:
    split = [pair.partition("=") for pair in pairs or ()]
    for header, given, value in split:
        if not header or not given:
            raise ConfigError(f"{option} {header}{given}{value}: write HEADER=VALUE, such as Status=Test")
    return tuple((header, value) for header, _, value in split)


def check_out(out: Path) -> None:
    """Refuse a folder that a saved model cannot take; say what it replaces.

    Raises:
        ArtifactError: something else stands or lies there.
    """
    artifact.check_place(out)
    try:
        there = model_in(out, "")
    except ArtifactError:
        return
    moment = datetime.fromtimestamp((out / artifact.MANIFEST).stat().st_mtime, UTC)
    note(
        f"note: {out} holds a saved model ({in_words(there)}, {moment:%Y-%m-%d %H:%M} UTC), which will be replaced; "
        "a service that lists it cannot go back to it then"
    )


def build_pipeline(source: str, overrides: list[str] | None, *, device: str | None = None) -> Pipeline:
    """Build the pipeline that a configuration file, or a model's name, describes, on `device` where it names none."""
    settings = config.read(source, overrides=overrides)
    return registry.build(registry.on_device(settings, device), place=source)


def built_or_saved(
    source: str, overrides: list[str] | None, *, device: str | None = None
) -> tuple[Pipeline, SavedModel | None]:
    """Build the pipeline of a configuration, or load the one of a saved model's folder, which then comes with it.

    Raises:
        ConfigError: settings are to be changed of a saved model.
    """
    if not os.path.isdir(source):  # of any string, also one that is no path
        return build_pipeline(source, overrides, device=device), None
    if overrides:
        raise ConfigError("--set: a saved model keeps its settings; give its configuration to change them")
    loaded = saved.load(Path(source), device=device)
    return loaded.pipeline, loaded


def split_data(data: Dataset, name: str, *, seed: int = 0) -> Split:
    """Split by the protocol of this name; `seed` is that of random splits.

    Raises:
        ConfigError: no such protocol.
        DataError: the data do not allow it.
    """
    if name not in SPLITS:
        raise ConfigError(f"--split {name}: unknown{did_you_mean(name, SPLITS)}")
    return SPLITS[name](data, seed=seed)
