"""What a catalogue gives away: numbers that follow the log, near-duplicates of held-out products."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker.data.duplicates import near_duplicates
from tastemaker.errors import LeakError
from tastemaker.guards.chance import beyond_chance

if TYPE_CHECKING:
    from tastemaker.data.entities import Entities
    from tastemaker.data.holdout import Split
    from tastemaker.types import Int64

_TRAILING_NUMBER = re.compile(r"(\D*)(\d{1,18})")


def check_ids(split: Split, *, reads_ids: bool = False) -> dict[str, Any]:
    """Notice items that are numbered in the order of the log, held-out part included.

    Then the target is often the newest item's number + 1 (the leak of P5's original ids, jeykigung/P5 issue 3). The
    item's number - 1 is as near, so it says what chance or a catalogue sorted by kind would give.

    Args:
        split: train, validation and test.
        reads_ids: whether a model reads numbers or ids; only then it is a leak.

    Raises:
        LeakError: a model reads ids, and they follow the log.
    """
    queries, targets = split.test.queries, split.test.targets
    asked = np.flatnonzero((queries.lengths > 0) & (targets.lengths > 0))
    newest, target = queries.items[queries.offsets[1:][asked] - 1], targets.items[targets.offsets[asked]]
    facts: dict[str, Any] = {}
    for what, key, codes in (
        ("numbers", "item_numbers_follow_log", np.arange(split.train.n_items)),
        ("ids", "item_ids_follow_log", _id_numbers(split.train.items)),
    ):
        if codes is None:
            continue
        step = codes[target] - codes[newest]
        after, before = int((step == 1).sum()), int((step == -1).sum())
        if not beyond_chance(after, len(asked), before, len(asked)):
            continue
        if reads_ids:
            users = split.test.who()[asked]
            raise LeakError(
                f"item {what} follow the order of the log, so the {what[:-1]} after the newest one is often the target",
                [
                    f"user {split.train.users.ids([user])[0] if user >= 0 else '?'!r}, "
                    f"items {' -> '.join(map(repr, split.train.items.ids([old, new])))}"
                    for user, old, new in zip(users[step == 1], newest[step == 1], target[step == 1], strict=True)
                ],
                "Renumber the catalogue at random (ties = shuffled) and give items other ids, "
                "or use a model that reads neither",
            )
        facts[key] = {
            "questions_answered_by_next": round(after / len(asked), 6),
            "by_previous": round(before / len(asked), 6),
            "meaning": "numbering follows the log, held-out part included; no model here reads it"
            + ("; equal scores go by number: see ties shuffled" if what == "numbers" else ""),
        }
    return facts


def check_duplicates(split: Split) -> dict[str, Any]:
    """Refuse near-duplicates of held-out products in training data (item-cold); elsewhere count them.

    Returns:
        The share of test targets that are near-duplicates of another item in their history.

    Raises:
        LeakError: the split is item-cold, and a held-out product has a near-duplicate in training data.
    """
    groups = near_duplicates(split.train.items)
    if split.protocol.get("split") == "item-cold":
        _check_sides(split, groups.astype(np.int64))
    queries, targets = split.test.queries, split.test.targets
    size, n = int(groups.max(initial=0)) + 1, split.train.n_items
    near = np.isin(targets.rows * size + groups[targets.items], queries.rows * size + groups[queries.items])
    itself = np.isin(targets.rows * n + targets.items, queries.rows * n + queries.items)
    return {"targets_near_duplicate_of_history": round(float((near & ~itself).mean()), 6) if len(near) else 0.0}


def _check_sides(split: Split, groups: Int64) -> None:
    """Refuse held-out items whose group has another item in the training data."""
    for part, log, name in ((split.validation, split.train, "train"), (split.test, split.refit, "train + validation")):
        new = np.unique(part.targets.items)
        old = np.unique(log.log["item"].to_numpy())
        old = old[~np.isin(old, new)]
        twin_of = dict(zip(groups[old].tolist(), old.tolist(), strict=True))
        pairs = [(item, twin_of[groups[item]]) for item in new.tolist() if groups[item] in twin_of]
        if pairs:
            raise LeakError(
                f"held-out products have near-duplicates in {name}",
                [" ~ ".join(f"item {id_!r}" for id_ in split.train.items.ids(pair)) for pair in pairs],
                "Put near-duplicates on the same side, as tastemaker.data.cold.item_cold does",
            )


def _id_numbers(items: Entities) -> Int64 | None:
    """Return the numbers in ids such as "17" or "item_17"; None unless all ids are of one such kind."""
    found = [_TRAILING_NUMBER.fullmatch(id_) for id_ in items.frame["id"]]
    prefixes = {match[1] if match else None for match in found}
    if len(prefixes) != 1 or None in prefixes:
        return None
    return np.array([int(match[2]) for match in found if match], dtype=np.int64)
