"""What a catalogue gives away: numbers that follow the log, near-duplicates of held-out products."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker.data.duplicates import has_titles, how_many, near_duplicates
from tastemaker.errors import LeakError
from tastemaker.guards.chance import beyond_chance

if TYPE_CHECKING:
    from tastemaker.data.entities import Entities
    from tastemaker.data.splits import Split
    from tastemaker.types import Bool, Int64

_NUMBERED = re.compile(r"(.*\D)?(\d{1,18})")
RENUMBER = (
    "Renumber the catalogue at random (ties = shuffled) and give items other ids, or use a model that reads neither"
)
FAR_FROM_CHANCE = 4.0
"""Standard deviations from which on a correlation is no accident (two-sided p < 0.0001)."""


def check_ids(split: Split, *, reads_ids: bool = False) -> dict[str, Any]:
    """Notice items whose numbers or ids tell the held-out part, in one of two ways.

    Neighbours: numbered in the order of the log, the target is often the newest item's number + 1 (the leak of P5's
    original ids, jeykigung/P5 issue 3), or - 1 if counted down. What the other neighbour answers says what chance or a
    catalogue sorted by kind would give. Different pairs of items count, so one printer with its ink does not. Order:
    among items that were bought alike often in train, those with low (or high) numbers are held out oftener, as in a
    catalogue with test products first. Ids are compared as numbers among ids of the same prefix.

    Args:
        split: train, validation and test.
        reads_ids: whether a model reads numbers or ids; only then it is a leak.

    Raises:
        LeakError: a model reads ids, and they tell the held-out part.
    """
    facts: dict[str, Any] = {}
    kinds = [("numbers", np.arange(split.train.n_items), np.ones(split.train.n_items, dtype=bool))]
    kinds += [("ids", *_id_numbers(split.train.items))]
    for what, codes, known in kinds:
        ties = "; equal scores go by number: compare with --ties shuffled" if what == "numbers" else ""
        neighbours = _neighbours(split, codes, known, what, reads_ids)
        if neighbours:
            facts[f"item_{what}_follow_log"] = {
                **neighbours,
                "meaning": f"neighbouring {what} answer more questions one way than the other, so numbering follows "
                f"the log, held-out part included; no model here reads it{ties}",
            }
        correlation = _order(split, codes, known, what, reads_ids)
        if correlation is not None:
            facts[f"item_{what}_tell_targets"] = {
                "correlation": correlation,
                "meaning": f"{'low' if correlation < 0 else 'high'} {what} are held out oftener than others that were "
                f"bought alike often in train; no model here reads them{ties}",
            }
    return facts


def check_duplicates(split: Split) -> dict[str, Any]:
    """Refuse near-duplicates of held-out products in training data (item-cold); elsewhere count them.

    Returns:
        How many products are near-duplicates, and the share of test targets that are one of another item in their
        history; or that there are no titles.

    Raises:
        LeakError: the split is item-cold, and a held-out product has a near-duplicate in training data.
    """
    if not has_titles(split.train.items):
        return {"near_duplicates": "not checked: no titles"}
    groups = near_duplicates(split.train.items)
    if split.protocol.get("split") == "item-cold":
        _check_sides(split, groups.astype(np.int64))
    queries, targets = split.test.queries, split.test.targets
    size, n = int(groups.max(initial=0)) + 1, split.train.n_items
    near = np.isin(targets.rows * size + groups[targets.items], queries.rows * size + groups[queries.items])
    itself = np.isin(targets.rows * n + targets.items, queries.rows * n + queries.items)
    return {
        "near_duplicates": how_many(groups),
        "targets_near_duplicate_of_history": round(float((near & ~itself).mean()), 6) if len(near) else 0.0,
    }


def _neighbours(split: Split, codes: Int64, known: Bool, what: str, reads_ids: bool) -> dict[str, float]:
    """Return how often the neighbours of the newest item are the target, where one of them is it beyond chance."""
    queries, targets = split.test.queries, split.test.targets
    asked = np.flatnonzero((queries.lengths > 0) & (targets.lengths > 0))
    newest, target = queries.items[queries.offsets[1:][asked] - 1], targets.items[targets.offsets[asked]]
    step = np.where(known[newest] & known[target], codes[target] - codes[newest], 0)
    pair = newest.astype(np.int64) * split.train.n_items + target
    different = len(np.unique(pair))
    up, down = (len(np.unique(pair[step == one])) for one in (1, -1))
    sign = 1 if up >= down else -1
    if not beyond_chance(max(up, down), different, min(up, down), different):
        return {}
    if reads_ids:
        users, hit = split.test.who()[asked], step == sign
        rows = [
            f"user {split.train.users.ids([user])[0] if user >= 0 else '?'!r}, "
            f"items {' -> '.join(map(repr, split.train.items.ids([old, new])))}"
            for user, old, new in zip(users[hit], newest[hit], target[hit], strict=True)
        ]
        raise LeakError(
            f"item {what} follow the order of the log: the {what[:-1]} {'after' if sign > 0 else 'before'} the newest "
            "one is often the target",
            rows,
            RENUMBER,
        )
    return {
        "questions_answered_by_next": round(float((step == 1).mean()), 6),
        "by_previous": round(float((step == -1).mean()), 6),
    }


def _order(split: Split, codes: Int64, known: Bool, what: str, reads_ids: bool) -> float | None:
    """Return the rank correlation of numbers and test targets among items of equal train popularity, or None.

    Under chance, numbers are in any order within each popularity: mean and variance of the sum of products of centred
    ranks and counts are those of permutations (Mantel 1963, the extension to ordered categories).
    """
    items = np.flatnonzero(known)
    counts = np.bincount(split.test.targets.items, minlength=split.train.n_items)[items].astype(np.float64)
    _, stratum = np.unique(split.refit.popularity[items], return_inverse=True)
    by_code = np.lexsort((codes[items], stratum))
    size = np.bincount(stratum)
    rank = np.empty(len(items))
    rank[by_code] = np.arange(len(items)) - np.repeat(np.cumsum(size) - size, size)
    ranks = rank / np.maximum(size[stratum] - 1, 1) - 0.5
    centred = counts - (np.bincount(stratum, weights=counts) / size)[stratum]
    of_ranks = np.bincount(stratum, weights=(ranks - (np.bincount(stratum, weights=ranks) / size)[stratum]) ** 2)
    of_counts = np.bincount(stratum, weights=centred**2)
    product, variance = float(ranks @ centred), float((of_ranks * of_counts / np.maximum(size - 1, 1)).sum())
    if product**2 <= FAR_FROM_CHANCE**2 * variance:
        return None
    if reads_ids:
        best = items[np.argsort(-centred * np.sign(product) * ranks)[:100]]
        raise LeakError(
            f"{'low' if product < 0 else 'high'} item {what} are held out oftener than others that were bought alike "
            "often in train",
            [f"item {id_!r}" for id_ in split.train.items.ids(best.tolist())],
            RENUMBER,
        )
    return round(product / float(np.sqrt(of_ranks.sum() * of_counts.sum())), 4)


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
                "Put near-duplicates on the same side, as tastemaker.data.splits.item_cold does",
            )


def _id_numbers(items: Entities) -> tuple[Int64, Bool]:
    """Return the rank of each id such as "17" or "item_17" among those of its prefix, and which ids are of this kind.

    Ranks of two prefixes lie far apart, so they are no neighbours.
    """
    found = [_NUMBERED.fullmatch(id_) for id_ in items.frame["id"]]
    numbers = np.array([int(match[2]) if match else 0 for match in found], dtype=np.int64)
    prefixes = np.unique([match[1] or "" if match else "" for match in found], return_inverse=True)[1]
    order = np.lexsort((numbers, prefixes))
    ranks = np.empty(len(found), dtype=np.int64)
    ranks[order] = np.arange(len(found)) + 2 * prefixes[order]
    return ranks, np.array([match is not None for match in found], dtype=bool)
