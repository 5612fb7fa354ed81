"""Splits of a data set into train, validation and test, each with its protocol in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tastemaker.data.queries import Queries
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.types import Int64


@dataclass(frozen=True, slots=True)
class Holdout:
    """Questions with their answers.

    Attributes:
        queries: what is known when the question is asked.
        targets: the held-out items of each query, as long as `queries`.
    """

    queries: Queries
    targets: Queries

    def __len__(self) -> int:
        return len(self.queries)

    def take(self, rows: slice | Int64) -> Holdout:
        """Return the questions at `rows`."""
        return Holdout(self.queries.take(rows), self.targets.take(rows))

    def sample(self, size: int, *, seed: int = 0) -> Holdout:
        """Return `size` random questions in their old order, or all if there are no more than that."""
        if size >= len(self):
            return self
        rows = np.random.default_rng(seed).choice(len(self), size, replace=False)
        return self.take(np.sort(rows))


@dataclass(frozen=True, slots=True)
class Split:
    """A data set split three ways.

    Attributes:
        train: what models may learn from; the catalogue and the users stay whole.
        refit: train + validation, for the variant that is fitted once more before test.
        validation: questions for choices (hyper-parameters, weights, early stop); history = train.
        test: questions that are looked at once; history = train + validation.
        protocol: the split in words and numbers, for results.
    """

    train: Dataset
    refit: Dataset
    validation: Holdout
    test: Holdout
    protocol: dict[str, Any]


def leave_one_out(data: Dataset) -> Split:
    """Hold out each user's last interaction for test and the last but one for validation.

    Users with fewer than 3 interactions stay in train whole.

    Raises:
        DataError: no user has 3 interactions.
    """
    users = data.log["user"].to_numpy()
    lengths = np.bincount(users, minlength=data.n_users)
    ends = np.cumsum(lengths)
    steps_back = ends[users] - 1 - np.arange(len(users))
    part = np.where((lengths[users] >= 3) & (steps_back < 2), 2 - steps_back, 0)
    return _from_parts(
        data, part, {"split": "leave-one-out", "users_too_short": int(((lengths > 0) & (lengths < 3)).sum())}
    )


def temporal(data: Dataset, *, validation: float = 0.1, test: float = 0.1) -> Split:
    """Split at two points in time: the newest `test` share of interactions is test, the share before it validation.

    Interactions at the very time of a cut go to the later part, so nothing known later is used earlier.

    Raises:
        DataError: times are missing, or a part would be empty.
    """
    if not data.has_timestamps:
        missing = data.log["timestamp"].null_count()
        raise DataError(
            f"{missing} of {len(data)} interactions have no timestamp, so a temporal split is not possible; "
            "use leave-one-out or as-given"
        )
    if not (validation > 0 and test > 0 and validation + test < 1):
        raise DataError(f"temporal split: shares {validation} and {test} must be positive and sum to less than 1")
    times = data.log["timestamp"].to_numpy()
    ordered = np.sort(times)
    cuts = [int(ordered[int(len(ordered) * share)]) for share in (1 - validation - test, 1 - test)]
    part = (times >= cuts[0]).astype(int) + (times >= cuts[1])
    return _from_parts(data, part, {"split": "temporal", "validation_from": cuts[0], "test_from": cuts[1]})


def as_given(data: Dataset) -> Split:
    """Split by the log's own column "split" with the words train, valid and test, or their usual variants.

    Raises:
        DataError: no such column, another word in it, or a part is empty.
    """
    if "split" not in data.log.columns:
        raise DataError("the interactions have no column 'split'; use leave-one-out or temporal")
    words = data.log["split"].cast(pl.String).str.to_lowercase()
    parts = {"train": 0, "training": 0, **dict.fromkeys(("valid", "validation", "val", "dev"), 1), "test": 2}
    other = words.filter(words.is_null() | ~words.is_in(list(parts)))
    if len(other):
        raise DataError(f"column 'split': {len(other)} rows say {other[0]!r}; known words: train, valid, test")
    part = words.replace_strict(parts, return_dtype=pl.Int64).to_numpy()
    order = data.log.select("user", pl.Series("part", part)).with_row_index()
    rows = order.sort("user", "part", maintain_order=True)["index"].to_numpy()
    return _from_parts(
        data.with_log(data.log[rows]), part[rows], {"split": "as-given", "data_fingerprint": data.fingerprint}
    )


SPLITS = {"leave-one-out": leave_one_out, "temporal": temporal, "as-given": as_given}


def _from_parts(data: Dataset, part: Int64, protocol: dict[str, Any]) -> Split:
    """Build a split from the part (0 train, 1 validation, 2 test) of each log row."""
    counts = np.bincount(part, minlength=3)
    for name, count in zip(("train", "validation", "test"), counts, strict=True):
        if not count:
            raise DataError(
                f"{protocol['split']} split: no {name} interactions among {len(data)}"
                + (" (no user has 3 interactions)" if protocol["split"] == "leave-one-out" else "")
            )
    before_validation = data.with_log(data.log.filter(part == 0))
    before_test = data.with_log(data.log.filter(part < 2))
    fingerprint = protocol.pop("data_fingerprint", data.fingerprint)  # of the log as given, where it was put in order
    protocol = {
        **protocol,
        "users": data.n_users,
        "items": data.n_items,
        "train_interactions": int(counts[0]),
        "validation_interactions": int(counts[1]),
        "test_interactions": int(counts[2]),
        "data_fingerprint": fingerprint,
    }
    return Split(
        train=before_validation,
        refit=before_test,
        validation=_holdout(before_validation, data.with_log(data.log.filter(part == 1))),
        test=_holdout(before_test, data.with_log(data.log.filter(part == 2))),
        protocol=protocol,
    )


def _holdout(known: Dataset, held_out: Dataset) -> Holdout:
    """Ask each user who has held-out items, with everything known before as history."""
    targets = held_out.queries()
    rows = np.flatnonzero(targets.lengths > 0)
    return Holdout(known.queries().take(rows), targets.take(rows))
