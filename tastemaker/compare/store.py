"""Finished jobs of a comparison on disk: one folder a job, written whole or not at all, so a killed run goes on."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tastemaker import artifact
from tastemaker.configurable import under
from tastemaker.data.readers import refuse_among_data
from tastemaker.drafts import PREFIX
from tastemaker.errors import ArtifactError, DataError
from tastemaker.json_values import finite
from tastemaker.metrics import Ratio

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tastemaker.evaluate import Evaluation
    from tastemaker.types import Float32

RUNS = "runs"
MINUTE = 60
"""Seconds after which a draft is what a killed run left: none takes that long to write."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one job found under one variant.

    Attributes:
        facts: `Evaluation.to_dict()`.
        values: measure -> one value a question, or a ratio.
        items: the lists, int32 [B, k].
    """

    facts: dict[str, Any]
    values: dict[str, Float32 | Ratio]
    items: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Finished:
    """What one job left behind.

    Attributes:
        outcomes: one a variant.
        examples: for each example shopper the listed "items" and the "reasons" for them.
    """

    outcomes: list[Outcome]
    examples: list[dict[str, Any]]


def make_ready(folder: Path) -> None:
    """Make the folder of runs, try whether it can be written to, and clear away what killed runs left there.

    Raises:
        DataError: it cannot be written to, or holds a data set.
    """
    refuse_among_data(folder)
    runs = folder / RUNS
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=runs):
            pass
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}; choose another folder") from error
    for left in runs.glob(f"{PREFIX}*"):
        with suppress(FileNotFoundError):  # another process removes it too
            if time.time() - left.stat().st_mtime > MINUTE:
                shutil.rmtree(left, ignore_errors=True)


def clear(place: Path) -> None:
    """Remove a run that cannot be read, so that it can be done again."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def write(
    folder: Path,
    job: dict[str, Any],
    evaluations: Sequence[Evaluation],
    *,
    examples: list[dict[str, Any]],
) -> None:
    """Keep what a job found; a figure that is no number, such as the loss of a diverged fit, is kept as null."""
    arrays: dict[str, NDArray[Any]] = {}
    for number, one in enumerate(evaluations):
        arrays[f"{number}.items"] = one.lists.items
        arrays |= {f"{number}.per_query.{name}": values for name, values in one.per_query.items()}
        for name, ratio in one.ratios.items():
            arrays |= {f"{number}.above.{name}": ratio.numerators, f"{number}.below.{name}": ratio.denominators}
    manifest = {
        "job": job,
        "outcomes": [one.to_dict() for one in evaluations],
        "examples": examples,
    }
    artifact.write(folder, json.loads(json.dumps(finite(manifest))), arrays)


def read(folder: Path) -> Finished | None:
    """Return what a job found, or None where it is not there or any part is damaged, so that it is done again."""
    try:
        manifest, arrays, _ = artifact.read(folder)
        outcomes = []
        for number, facts in enumerate(manifest["outcomes"]):
            mine = under(arrays, str(number))
            above, below = under(mine, "above"), under(mine, "below")
            ratios = {name: Ratio(above[name], below[name]) for name in above}
            outcomes.append(Outcome(facts, {**under(mine, "per_query"), **ratios}, mine["items"]))
        return Finished(outcomes, manifest["examples"])
    except (ArtifactError, OSError, KeyError, TypeError, ValueError):
        return None
