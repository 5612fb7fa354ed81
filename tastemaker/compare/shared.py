"""What all jobs of a comparison must do alike: reading, splitting, item vectors for measures, example shoppers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tastemaker.data import readers
from tastemaker.evaluate import prepare
from tastemaker.metrics import Catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tastemaker.data.checks.problems import Report
    from tastemaker.data.dataset import Dataset
    from tastemaker.data.splits import Holdout, Split
    from tastemaker.progress import Progress
    from tastemaker.types import Float32

EXAMPLES, EXAMPLE_LENGTH = 5, 5
"""Shoppers shown in the report, and products shown of each list."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A data set as it was read.

    Attributes:
        source: where it was read from.
        data: what is in it.
        report: what was assumed and left out.
    """

    source: str
    data: Dataset
    report: Report

    def facts(self) -> dict[str, Any]:
        """Return what a result says of its data, as JSON values."""
        data, report = self.data, self.report
        return {
            "source": self.source,
            "fingerprint": data.fingerprint,
            "users": data.n_users,
            "items": data.n_items,
            "interactions": len(data),
            "format": report.format,
            "rows": report.rows,
            "bad_rows": report.bad_rows,
            "left_out": {table: count for table, count in report.left_out.items() if count},
        }

    def notes(self) -> list[str]:
        """Return what was assumed and left out, in words."""
        left_out = self.report.left_out_words()
        lines = [*self.report.notes, *([left_out] if left_out else [])]
        return [line if line.startswith(self.source) else f"{self.source}: {line}" for line in lines]


@dataclass(frozen=True)
class Shop:
    """A data set as it was read, and as it is split.

    Attributes:
        data: as it was read.
        split: with ties and repeats as the protocol wants them.
    """

    data: Dataset
    split: Split

    def catalogue(self, vectors: Float32 | None) -> Catalogue:
        """Return what measures know about items.

        Args:
            vectors: text vectors in the order of `data.items`, or None; the split may number items otherwise.
        """
        items = self.split.train.items
        order = self.data.items.numbers(items.frame["id"])
        return Catalogue.of(self.split.train, vectors=None if vectors is None else vectors[order])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that is known and asked: every column of the data, the parts of the split, its questions."""
        split = self.split
        state = hashlib.sha256(f"{self.data.fingerprint}{split.train.users.digest}{split.train.items.digest}".encode())
        for part in (split.train, split.refit):
            state.update(f"{len(part)}".encode())
            state.update(part.log["user"].to_numpy().tobytes() + part.log["item"].to_numpy().tobytes())
        for holdout in (split.validation, split.test):
            for queries in (holdout.queries, holdout.targets):
                state.update(f"{len(queries)}, {len(queries.items)}".encode())
                state.update(queries.offsets.tobytes() + queries.items.tobytes())
            state.update(holdout.who().tobytes())
        return state.hexdigest()


def read(source: Mapping[str, Any], *, progress: Progress) -> Reading:
    """Read a data set; `source` has the fields of a `Source`."""
    path = source["path"]
    return Reading(path, *readers.read(path, format=source["format"], max_bad=source["max_bad"], progress=progress))


def shop(data: Dataset, decides: Mapping[str, Any]) -> Shop:
    """Split data as a job wants it; `decides` has "split", "ties", "repeats" and "options" of `Job.to_dict`."""
    choices = {name: decides[name] for name in ("split", "ties", "repeats")}
    return Shop(data, prepare(data, **choices, seed=decides["options"]["seed"]))


def shops(data: Sequence[Dataset], decides: Mapping[str, Any]) -> list[Shop]:
    """Split the shop that is asked as the job wants it, and one that is only learnt from leave-one-out."""
    asked, *others = data
    return [shop(asked, decides), *(shop(other, {**decides, "split": "leave-one-out"}) for other in others)]


def example_questions(split: Split, *, seed: int) -> Holdout:
    """Return the questions of the example shoppers: the same for every model."""
    return split.test.sample(EXAMPLES, seed=seed)
