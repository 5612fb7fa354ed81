"""Held-out interactions where they must not be: in training data, histories, tuning pairs, the validation choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tastemaker.data.variants import in_history
from tastemaker.errors import LeakError
from tastemaker.guards.rows import in_words

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.data.holdout import Holdout, Split
    from tastemaker.types import Bool, Int32, Int64

NO_REPEATS_FROM = 1000
"""Interactions after a shopper's first without one repeat, from which on a repeat is taken for impossible."""
CHOICE = "Choices would be made on what is to be measured: make validation questions from what comes before test"
REPEATED = "if these are purchases of the same product again, use repeats = exclude or novel"


def check_split(split: Split) -> dict[str, Any]:
    """Refuse held-out interactions in training data or histories, and test interactions in the validation choice.

    An interaction is known by user, item and time. Where times are missing, user and item have to do: a target may not
    be in the training data more often than in the history, nor the reverse; and it may be in neither if repeats are
    ruled out, by the protocol or because train has none at all.

    Raises:
        LeakError: an interaction is on both sides.
    """
    _check_questions_differ(split)
    logs = {"train": split.train, "train + validation": split.refit}
    for name, part, known in (
        ("validation", split.validation, {"train": split.train}),
        ("test", split.test, logs),
    ):
        for log_name, log in known.items():
            _check_log(split, name, part, log, log_name)
        _check_histories(split, name, part, known=list(known.values())[-1])
    _check_choice(split)
    _check_cold(split)
    return {"test_questions_with_later_training_data": _later_training(split)}


def check_pairs(pairs: tuple[Int32, Int32], split: Split, *, what: str, refit: bool = False) -> None:
    """Refuse held-out interactions among what a model was tuned on.

    Args:
        pairs: user and item numbers, alike long: tuning pairs, or the interactions behind a codebook.
        split: train, validation and test.
        what: what they are, for the message.
        refit: whether the validation part may be known.

    Raises:
        LeakError: a pair is a held-out interaction and not also one of the training data.
    """
    n = split.train.n_items
    given = np.unique(pairs[0].astype(np.int64) * n + pairs[1])
    held_out = [_keys(split.test, n)] if refit else [_keys(split.validation, n), _keys(split.test, n)]
    secret = np.setdiff1d(np.concatenate(held_out), _log_keys(split.refit if refit else split.train))
    leaked = np.intersect1d(given, secret)
    if len(leaked):
        raise LeakError(
            f"held-out interactions among the {what}",
            in_words(split, leaked // n, leaked % n),
            f"Make the {what} from {'split.refit' if refit else 'split.train'} only",
        )


def _check_log(split: Split, name: str, part: Holdout, log: Dataset, log_name: str) -> None:
    """Refuse targets that are interactions of the log."""
    n, targets = log.n_items, part.targets
    users = part.who()[targets.rows].astype(np.int64)
    if part.times is not None:
        events = pl.DataFrame({"user": users.astype(np.int32), "item": targets.items, "timestamp": part.times})
        events = events.with_columns(pl.col("timestamp").cast(pl.Int64))
        both = events.join(log.log, on=["user", "item", "timestamp"], how="semi")
        leaked_users, leaked_items = both["user"].to_numpy(), both["item"].to_numpy()
    else:
        logged = _count(_log_keys(log), users * n + targets.items)
        asked = _count(part.queries.rows * n + part.queries.items, targets.rows * n + targets.items)
        more = (logged > asked) & (users >= 0)
        leaked_users, leaked_items = users[more], targets.items[more]
    if len(leaked_users):
        raise LeakError(
            f"{name} targets are interactions of {log_name} as well",
            in_words(split, leaked_users, leaked_items),
            f"Take them out of one side; {REPEATED}",
        )


def _check_histories(split: Split, name: str, part: Holdout, *, known: Dataset) -> None:
    """Refuse targets in their own history that were not bought before."""
    n = known.n_items
    repeated = in_history(part)
    rows, items = part.targets.rows[repeated], part.targets.items[repeated]
    users = part.who()[rows].astype(np.int64)
    if _repeats_ruled_out(split) or (part.times is None and _has_no_repeats(split.train)):
        leaked = np.ones(len(rows), dtype=bool)
    else:
        in_log = _count(_log_keys(known), users * n + items)
        asked = _count(part.queries.rows * n + part.queries.items, rows * n + items)
        leaked = (asked > in_log) & np.isin(users, known.log["user"].unique().to_numpy())
    if leaked.any():
        raise LeakError(
            f"{name} targets are in their own history",
            in_words(split, users[leaked], items[leaked], questions=rows[leaked]),
            f"End each history before its target; {REPEATED}",
        )


def _check_questions_differ(split: Split) -> None:
    """Refuse a validation part that is the test part."""
    one, other = split.validation, split.test
    pairs = ((one.queries, other.queries), (one.targets, other.targets))
    same = [np.array_equal(a.offsets, b.offsets) and np.array_equal(a.items, b.items) for a, b in pairs]
    if len(other) and all(same):
        rows = other.targets.rows
        raise LeakError(
            "validation asks the very questions of test",
            in_words(split, other.who()[rows], other.targets.items, questions=rows),
            CHOICE,
        )


def _check_choice(split: Split) -> None:
    """Refuse test interactions among validation targets and in validation histories."""
    n, validation, test = split.train.n_items, split.validation, split.test
    held_out = _keys(test, n)
    shared = np.zeros(len(validation.targets.items), dtype=bool)
    targets = validation.who()[validation.targets.rows].astype(np.int64) * n + validation.targets.items
    if validation.times is not None and test.times is not None:
        events = np.stack([targets, validation.times], axis=1)
        tested = np.stack([_keys(test, n, known_only=False), test.times], axis=1)
        shared = _rows_in(events, tested) & (targets >= 0)
    elif _repeats_ruled_out(split) or _has_no_repeats(split.train):
        shared = np.isin(targets, held_out)
    histories = validation.who()[validation.queries.rows].astype(np.int64) * n + validation.queries.items
    suspects = np.intersect1d(histories[histories >= 0], held_out)
    suspects = suspects[np.isin(suspects // n, split.train.log["user"].unique().to_numpy())]
    suspects = suspects[_count(histories, suspects) > _count(_log_keys(split.train), suspects)]
    leaked = np.concatenate([targets[shared], suspects])
    if len(leaked):
        rows = in_words(split, leaked // n, leaked % n)
        raise LeakError("test interactions are among the validation questions", rows, CHOICE)


def _check_cold(split: Split) -> None:
    """Refuse held-out shoppers or products in training data, where the protocol says that they are cold."""
    validation, test = split.validation, split.test
    if split.protocol.get("split") == "user-cold":
        cure = "Keep every interaction of held-out shoppers out of training data"
        for log, where, strangers in (
            (split.train, "train", np.union1d(validation.who(), test.who())),
            (split.refit, "train + validation", test.who()),
        ):
            users, items = _log_pairs(log)
            known = np.isin(users, strangers)
            if known.any():
                rows = in_words(split, users[known], items[known])
                raise LeakError(f"interactions of held-out shoppers are in {where}", rows, cure)
    if split.protocol.get("split") == "item-cold":
        cure = "Keep every interaction with held-out products out of training data and histories"
        new = np.union1d(validation.targets.items, test.targets.items)
        for (users, items), where, cold in (
            (_log_pairs(split.train), "train", new),
            (_log_pairs(split.refit), "train + validation", test.targets.items),
            (_history_pairs(validation), "validation histories", new),
            (_history_pairs(test), "test histories", test.targets.items),
        ):
            known = np.isin(items, cold)
            if known.any():
                raise LeakError(f"held-out products are in {where}", in_words(split, users[known], items[known]), cure)


def _later_training(split: Split) -> int | None:
    """Count test questions whose shopper has interactions in the training data that are newer than the target."""
    part = split.test
    if part.times is None:
        return None
    newest = split.refit.log.group_by("user").agg(pl.col("timestamp").max())
    latest = np.full(split.refit.n_users + 1, np.iinfo(np.int64).min)  # the last place is for unknown users
    latest[newest["user"].to_numpy()] = newest["timestamp"].fill_null(latest[-1]).to_numpy()
    earliest = np.full(len(part), np.iinfo(np.int64).max)
    np.minimum.at(earliest, part.targets.rows, part.times)
    return int((latest[part.who()] > earliest).sum())


def _repeats_ruled_out(split: Split) -> bool:
    """Say whether the protocol keeps bought products from being targets."""
    return split.protocol.get("repeats") in ("exclude", "novel")


def _has_no_repeats(train: Dataset) -> bool:
    """Say whether so many purchases hold not one repeat that a repeat is impossible."""
    keys = _log_keys(train)
    chances = len(keys) - len(train.log["user"].unique())
    return chances >= NO_REPEATS_FROM and len(np.unique(keys)) == len(keys)


def _log_keys(log: Dataset) -> Int64:
    """Return one number for user and item of each interaction."""
    users, items = _log_pairs(log)
    return users.astype(np.int64) * log.n_items + items


def _log_pairs(log: Dataset) -> tuple[Int32, Int32]:
    return log.log["user"].to_numpy(), log.log["item"].to_numpy()


def _history_pairs(part: Holdout) -> tuple[Int32, Int32]:
    return part.who()[part.queries.rows], part.queries.items


def _keys(part: Holdout, n: int, *, known_only: bool = True) -> Int64:
    """Return one number for user and item of each target; a negative one for an unknown user, unless left out."""
    keys = part.who()[part.targets.rows].astype(np.int64) * n + part.targets.items
    return keys[keys >= 0] if known_only else keys


def _count(keys: Int64, wanted: Int64) -> Int64:
    """Return how often each wanted key is among the keys."""
    distinct, counts = np.unique(keys, return_counts=True)
    if not len(distinct):
        return np.zeros(len(wanted), dtype=np.int64)
    places = np.minimum(np.searchsorted(distinct, wanted), len(distinct) - 1)
    return np.where(distinct[places] == wanted, counts[places], 0)


def _rows_in(rows: Int64, table: Int64) -> Bool:
    """Return which rows [n, 2] are among those of the table [m, 2]."""
    _, numbers = np.unique(np.concatenate([rows, table]), axis=0, return_inverse=True)
    return np.isin(numbers[: len(rows)], numbers[len(rows) :])
