"""What several verbs do first: read data, report what was left out, build a pipeline, split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tastemaker import config, registry
from tastemaker.cli.output import note
from tastemaker.data import readers
from tastemaker.data.split import SPLITS
from tastemaker.errors import ConfigError, did_you_mean
from tastemaker.progress import bar

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.data.split import Split
    from tastemaker.pipeline import Pipeline


def read_data(source: str, *, format: str | None, max_bad: int) -> Dataset:
    """Read data and say on stderr what was noticed and left out."""
    data, report = readers.read(source, format=format, max_bad=max_bad, progress=bar)
    for line in report.notes:
        note(f"note: {line}")
    if report.bad_rows:
        note(f"note: {report.bad_rows} bad rows were left out; see them with tastemaker data validate {source}")
    return data


def build_pipeline(source: str, overrides: list[str] | None) -> Pipeline:
    """Build the pipeline that a configuration file, or a model's name, describes."""
    return registry.build(config.read(source, overrides=overrides), place=source)


def split_data(data: Dataset, name: str) -> Split:
    """Split by the protocol of this name.

    Raises:
        ConfigError: no such protocol.
        DataError: the data do not allow it.
    """
    if name not in SPLITS:
        raise ConfigError(f"--split {name}: unknown{did_you_mean(name, SPLITS)}")
    return SPLITS[name](data)
