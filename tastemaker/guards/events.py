"""Held-out interactions where they must not be: in training data, histories, tuning pairs, the validation choice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tastemaker.data.splits.variants import in_history
from tastemaker.errors import LeakError
from tastemaker.guards.repeats import Purchases, copies, count, shared
from tastemaker.guards.rows import in_words

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.data.splits import Holdout, Split
    from tastemaker.types import Int32, Int64

CHOICE = "Choices would be made on what is to be measured: make validation questions from what comes before test"
REPEATED = "if these are purchases of the same product again, use repeats = exclude or novel"


def check_split(split: Split) -> dict[str, Any]:
    """Refuse held-out interactions in training data or histories, and test interactions in the validation choice.

    A target that the training data have and its own history lacks is a leak: by user, item and time, or by user and
    item where times are missing. A target that both have is a purchase made again, or a copy; it is taken for a copy if
    the protocol rules repeats out, or if there are more of them than the shoppers' customs explain (`repeats.copies`).
    Synthetic interactions were proposed from training data, and may well name a target: they are not looked at.

    Raises:
        LeakError: an interaction is on both sides.
    """
    split = replace(split, train=split.train.real(), refit=split.refit.real())
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
    return {
        "test_targets_recorded_twice": _same_events(split),
        "test_questions_of_unknown_shoppers": int((split.test.who() < 0).sum()),
        "test_questions_with_later_training_data": _later_training(split),
    }


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
    targets, known = _targets(part), _purchases(log)
    in_log = count(targets, known)
    absent = in_log > count(Purchases(part.targets.rows, targets.things), _history(part))
    if _repeats_ruled_out(split):
        leaked = in_log > 0
    elif part.times is None:
        leaked = absent | copies(targets, known)
    else:
        events, logged = _events((targets, part.times), _timed(log))
        leaked = (absent & (count(events, logged) > 0)) | copies(targets, known) | copies(events, logged)
    if leaked.any():
        raise LeakError(
            f"{name} targets are interactions of {log_name} as well",
            in_words(split, targets.owners[leaked], part.targets.items[leaked]),
            f"Take them out of {log_name}" + ("" if _repeats_ruled_out(split) else f"; {REPEATED}"),
        )


def _check_histories(split: Split, name: str, part: Holdout, *, known: Dataset) -> None:
    """Refuse targets in their own history that were not bought before."""
    rows, items = part.targets.rows, part.targets.items.astype(np.int64)
    users = part.who()[rows].astype(np.int64)
    targets, history = Purchases(rows, items), _history(part)
    if _repeats_ruled_out(split):
        leaked = in_history(part)
    else:
        more = count(targets, history) > count(Purchases(users, items), _purchases(known))
        leaked = (more & np.isin(users, known.log["user"].unique().to_numpy())) | copies(targets, history)
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
    validation, test = split.validation, split.test
    some, others, log = _targets(validation), _targets(test), _purchases(split.train)
    if _repeats_ruled_out(split):
        leaked = count(some, others) > 0
    elif validation.times is not None and test.times is not None:
        leaked = shared(*_events((some, validation.times), (others, test.times), _timed(split.train)))
    else:
        leaked = shared(some, others, log)
    histories = Purchases(validation.who()[validation.queries.rows].astype(np.int64), _history(validation).things)
    suspects = np.unique(np.stack(others, axis=1)[count(others, histories) > 0], axis=0)
    suspects = suspects[np.isin(suspects[:, 0], split.train.log["user"].unique().to_numpy())]
    theirs = Purchases(suspects[:, 0], suspects[:, 1])
    suspects = suspects[count(theirs, histories) > count(theirs, log)]
    users, items = np.concatenate([np.stack(some, axis=1)[leaked], suspects]).T
    if len(users):
        raise LeakError("test interactions are among the validation questions", in_words(split, users, items), CHOICE)


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


def _same_events(split: Split) -> int | None:
    """Count test targets that the shopper also bought before at that very time: two rows of one basket, say."""
    if split.test.times is None:
        return None
    events, logged = _events((_targets(split.test), split.test.times), _timed(split.refit))
    return int((count(events, logged) > 0).sum())


def _repeats_ruled_out(split: Split) -> bool:
    """Say whether the protocol keeps bought products from being targets."""
    return split.protocol.get("repeats") in ("exclude", "novel")


def _log_keys(log: Dataset) -> Int64:
    """Return one number for user and item of each interaction."""
    users, items = _log_pairs(log)
    return users.astype(np.int64) * log.n_items + items


def _log_pairs(log: Dataset) -> tuple[Int32, Int32]:
    return log.log["user"].to_numpy(), log.log["item"].to_numpy()


def _history_pairs(part: Holdout) -> tuple[Int32, Int32]:
    return part.who()[part.queries.rows], part.queries.items


def _keys(part: Holdout, n: int) -> Int64:
    """Return one number for user and item of each target of a known user."""
    keys = part.who()[part.targets.rows].astype(np.int64) * n + part.targets.items
    return keys[keys >= 0]


def _purchases(log: Dataset) -> Purchases:
    users, items = _log_pairs(log)
    return Purchases(users.astype(np.int64), items.astype(np.int64))


def _timed(log: Dataset) -> tuple[Purchases, Int64]:
    """Return the purchases that have a time, and these times."""
    timed = log.with_log(log.log.filter(pl.col("timestamp").is_not_null()))
    return _purchases(timed), timed.log["timestamp"].to_numpy()


def _events(*tables: tuple[Purchases, Int64]) -> list[Purchases]:
    """Number products at a time through all tables, so that equal numbers mean the same product at the same time."""
    items, times = (np.concatenate(parts) for parts in zip(*((one.things, when) for one, when in tables), strict=True))
    moments, moment = np.unique(times, return_inverse=True)
    things = np.unique(items * len(moments) + moment, return_inverse=True)[1].astype(np.int64)
    parts = np.split(things, np.cumsum([len(when) for _, when in tables])[:-1])
    return [Purchases(one.owners, part) for (one, _), part in zip(tables, parts, strict=True)]


def _targets(part: Holdout) -> Purchases:
    return Purchases(part.who()[part.targets.rows].astype(np.int64), part.targets.items.astype(np.int64))


def _history(part: Holdout) -> Purchases:
    """Return the histories, each question its own owner."""
    return Purchases(part.queries.rows, part.queries.items.astype(np.int64))
