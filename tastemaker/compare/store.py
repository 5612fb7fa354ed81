"""Finished jobs of a comparison on disk: one folder a job, written whole or not at all, so a killed run goes on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tastemaker import artifact
from tastemaker.configurable import under
from tastemaker.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tastemaker.evaluate import Evaluation


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one job found under one variant.

    Attributes:
        facts: `Evaluation.to_dict()`.
        per_query: measure -> one value a question.
        items: the lists, int32 [B, k].
    """

    facts: dict[str, Any]
    per_query: dict[str, NDArray[Any]]
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


def write(
    folder: Path,
    job: dict[str, Any],
    evaluations: Sequence[Evaluation],
    *,
    examples: list[dict[str, Any]],
) -> None:
    """Keep what a job found."""
    arrays: dict[str, NDArray[Any]] = {}
    for number, one in enumerate(evaluations):
        arrays[f"{number}.items"] = one.lists.items
        arrays |= {f"{number}.per_query.{name}": values for name, values in one.per_query.items()}
    manifest = {
        "job": job,
        "outcomes": [one.to_dict() for one in evaluations],
        "examples": examples,
    }
    artifact.write(folder, json.loads(json.dumps(manifest)), arrays)


def read(folder: Path) -> Finished | None:
    """Return what a job found, or None where it is not there or was damaged and has to be done again."""
    try:
        manifest, arrays, _ = artifact.read(folder)
    except ArtifactError:
        return None
    outcomes = []
    for number, facts in enumerate(manifest["outcomes"]):
        mine = under(arrays, str(number))
        outcomes.append(Outcome(facts, under(mine, "per_query"), mine["items"]))
    return Finished(outcomes, manifest["examples"])
