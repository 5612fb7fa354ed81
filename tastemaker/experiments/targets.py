"""What a saved model would have shown at logged requests: the shopper's history as it was then, ranked anew."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tastemaker.data.queries import Queries
from tastemaker.errors import DataError
from tastemaker.experiments.attribution import plain
from tastemaker.experiments.replaying import Target
from tastemaker.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tastemaker.experiments.records import EventRecord, ImpressionRecord
    from tastemaker.saved import SavedModel
    from tastemaker.types import Int32

NO_TASTE = ("impression", "remove-from-cart", "dislike", "thumbs-down", "hide", "not-interested", "return")
"""Event types that add nothing to a history."""
LONGEST = 200
"""Newest products of a history that are used."""
BLOCK = 1_000
"""Requests ranked at once."""


@dataclass(frozen=True)
class Retold:
    """What a model would have shown.

    Attributes:
        targets: one for each logged list with propensities.
        left_out: lists without propensities.
        knows_the_future: shoppers in whose saved history stands a product that the log has them meet only after their
            first list: the model was probably fitted on what came after, and its targets are too good.
    """

    targets: tuple[Target, ...]
    left_out: int
    knows_the_future: int


def targets_of(
    model: SavedModel,
    impressions: Iterable[ImpressionRecord],
    events: Iterable[EventRecord],
    *,
    progress: Progress = silent,
) -> Retold:
    """Rank anew at every logged request that has propensities, with what was known of the shopper at that moment.

    A history is the saved one of the shopper, then the products of their events before the list was shown, oldest
    first; of repeats the newest stays.

    Args:
        model: fitted on what was known before the first list.
        impressions: logged lists.
        events: what shoppers did.
        progress: shows how far it is.

    Raises:
        DataError: no list has propensities.
    """
    lists = list(impressions)
    kept = [one for one in lists if one.propensities is not None and one.item_ids]
    if not kept:
        raise DataError("targets: no list has propensities, so nothing can be replayed; see docs/experiments.md")
    met: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for event in events:
        if plain(event.event_type) not in NO_TASTE:
            met[event.user_id].append((event.timestamp, event.item_id))
    for known in met.values():
        known.sort(key=lambda one: one[0])
    items = model.pipeline.items
    found: list[Target] = []
    for start in progress(range(0, len(kept), BLOCK), label="ranking"):
        block = kept[start : start + BLOCK]
        histories = [_history(one, met, model) for one in block]
        k = min(max(len(one.item_ids) for one in block), len(items))
        ranking = model.pipeline.rank(Queries.from_lists(histories), k)
        for row, one in enumerate(block):
            listed = ranking.items[row][: len(one.item_ids)]
            ids = tuple(items.ids(listed[listed >= 0]))
            found.append(Target(request_id=one.request_id, item_ids=ids))
    return Retold(tuple(found), len(lists) - len(kept), _knowing(kept, met, model))


def _history(one: ImpressionRecord, met: dict[str, list[tuple[int, str]]], model: SavedModel) -> Int32:
    if one.user_id is None:
        return np.empty(0, dtype=np.int32)
    known = met.get(one.user_id, [])
    before = known[: bisect_left(known, one.timestamp, key=lambda event: event[0])]
    numbers = model.pipeline.items.numbers([item for _, item in before], unknown="mark")
    whole = [*_saved(one.user_id, model).tolist(), *numbers[numbers >= 0].tolist()]
    newest_first = dict.fromkeys(reversed(whole))
    return np.asarray(list(newest_first)[:LONGEST][::-1], dtype=np.int32)


def _saved(user: str, model: SavedModel) -> Int32:
    row = int(model.users.numbers([user], unknown="mark")[0])
    return model.histories.history(row) if row >= 0 else np.empty(0, dtype=np.int32)


def _knowing(kept: list[ImpressionRecord], met: dict[str, list[tuple[int, str]]], model: SavedModel) -> int:
    first: dict[str, int] = {}
    for one in kept:
        if one.user_id is not None:
            first[one.user_id] = min(one.timestamp, first.get(one.user_id, one.timestamp))
    count = 0
    for user, moment in first.items():
        saved = set(model.pipeline.items.ids(_saved(user, model)))
        earlier = {item for when, item in met.get(user, []) if when < moment}
        count += any(item in saved for when, item in met.get(user, []) if when >= moment and item not in earlier)
    return count
