"""Splits of a data set into train, validation and test, each with its protocol in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import polars as pl

from tastemaker.data.splits.cold import item_cold, user_cold
from tastemaker.data.splits.holdout import Split, questions, require_interactions
from tastemaker.data.synthetic import sets_synthetic_aside
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tastemaker.data.dataset import Dataset
    from tastemaker.types import Int64


@sets_synthetic_aside
def leave_one_out(data: Dataset) -> Split:
    """Hold out each user's last interaction for test and the last but one for validation.

    Users with fewer than 3 interactions stay in train whole.

    Raises:
        DataError: no user has 3 interactions.
    """
    require_interactions(data)
    users = data.log["user"].to_numpy()
    lengths = np.bincount(users, minlength=data.n_users)
    ends = np.cumsum(lengths)
    steps_back = ends[users] - 1 - np.arange(len(users))
    part = np.where((lengths[users] >= 3) & (steps_back < 2), 2 - steps_back, 0)
    return _from_parts(
        data, part, {"split": "leave-one-out", "users_too_short": int(((lengths > 0) & (lengths < 3)).sum())}
    )


@sets_synthetic_aside
def temporal(data: Dataset, *, validation: float = 0.1, test: float = 0.1) -> Split:
    """Split at two points in time: the newest `test` share of interactions is test, the share before it validation.

    Interactions at the very time of a cut go to the later part, so nothing known later is used earlier.

    Raises:
        DataError: times are missing, or a part would be empty.
    """
    require_interactions(data)
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


@sets_synthetic_aside
def as_given(data: Dataset) -> Split:
    """Split by the log's own column "split" with the words train, valid and test, or their usual variants.

    Histories keep the order of time; at the same time, and where times are missing, train comes before validation.
    Where no row is for validation, each shopper's newest training row is, if the shopper has 2 of them.

    Raises:
        DataError: no such column, another word in it, or a part is empty.
    """
    require_interactions(data)
    if "split" not in data.log.columns:
        raise DataError("the interactions have no column 'split'; use leave-one-out or temporal")
    words = data.log["split"].cast(pl.String).str.strip_chars().str.to_lowercase()
    parts = {"train": 0, "training": 0, **dict.fromkeys(("valid", "validation", "val", "dev"), 1), "test": 2}
    other = words.filter(words.is_null() | ~words.is_in(list(parts)))
    if len(other):
        raise DataError(f"column 'split': {len(other)} rows say {other[0]!r}; known words: train, valid, test")
    log = data.log.with_columns(words.replace_strict(parts, return_dtype=pl.Int64).alias("part"))
    for part, name in ((0, "train"), (2, "test")):
        if not (log["part"] == part).any():
            raise DataError(f"column 'split': no row says {name}; add such rows, or use leave-one-out or temporal")
    log = log.sort("user", *(["timestamp"] if data.has_timestamps else []), "part", maintain_order=True)
    protocol: dict[str, Any] = {"split": "as-given", "data_fingerprint": data.fingerprint}
    if not (log["part"] == 1).any():
        log = _with_newest_as_validation(log)
        protocol["validation_rows"] = "none given: the newest train row of each shopper with at least 2"
    return _from_parts(data.with_log(log.drop("part")), log["part"].to_numpy(), protocol)


def _with_newest_as_validation(log: pl.DataFrame) -> pl.DataFrame:
    """Mark the newest training row of each shopper with at least 2 of them as validation.

    Raises:
        DataError: no shopper has 2 training rows.
    """
    train = pl.col("part") == 0
    newest = train & (train.cum_sum(reverse=True).over("user") == 1) & (train.sum().over("user") >= 2)
    marked = log.with_columns(pl.when(newest).then(1).otherwise("part").alias("part"))
    if not (marked["part"] == 1).any():
        raise DataError(
            "column 'split': no row says valid, and no shopper has 2 rows that say train, so the newest of them cannot "
            "be taken for validation; mark some rows as valid"
        )
    return marked


class Splitter(Protocol):
    """A way to split; what is drawn at random depends on `seed` alone."""

    def __call__(self, data: Dataset, *, seed: int = 0) -> Split:
        """Split `data`."""
        ...


def _without_chance(method: Callable[[Dataset], Split]) -> Splitter:
    """Give a split that draws nothing the signature of those that do."""

    def split(data: Dataset, *, seed: int = 0) -> Split:
        return method(data)

    return split


SPLITS: dict[str, Splitter] = {
    "leave-one-out": _without_chance(leave_one_out),
    "temporal": _without_chance(temporal),
    "as-given": _without_chance(as_given),
    "user-cold": user_cold,
    "item-cold": item_cold,
}
"""Name -> split; all take `seed`."""


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
        validation=questions(before_validation, data.with_log(data.log.filter(part == 1))),
        test=questions(before_test, data.with_log(data.log.filter(part == 2))),
        protocol=protocol,
    )
