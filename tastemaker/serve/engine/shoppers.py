"""Shoppers as they are now: what the model was fitted with, and what they did since.

An event that was acknowledged is part of the very next answer: it is added here after it was stored, and before it is
acknowledged.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tastemaker.saved import SavedModel
    from tastemaker.serve.engine.retrieval import Vector
    from tastemaker.serve.engine.shelf import Shelf
    from tastemaker.serve.engine.workers import Workers
    from tastemaker.types import Int32

LONGEST = 200
"""Newest items of a history that are used."""
AGAINST = frozenset({"dislike", "thumbs_down", "hide", "not_interested", "return"})
"""Events by which a shopper says that a product is not wanted."""
NEUTRAL = frozenset({"impression", "remove_from_cart"})
"""Events that say nothing about taste."""
EMPTY = np.empty(0, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class Record:
    """What is stored of a shopper.

    Attributes:
        events: (item id, event type, milliseconds since 1970), oldest first.
        attributes: what the shop says about the shopper.
        erased: whether the shopper was erased, so that what the model was fitted with must not be used either.
    """

    events: list[tuple[str, str, int]] = field(default_factory=list)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    erased: bool = False


class Past(Protocol):
    """Where shoppers are stored."""

    def record_of(self, user_id: str) -> Record:
        """Return what is stored of a shopper; called in a thread."""
        ...


@dataclass(slots=True)
class Shopper:
    """What one shopper did, by item ids, so that it holds for any model.

    Attributes:
        events: as stored, the newest at the end.
        liked: ids of the products of positive events, oldest first; of repeats the newest stays.
        disliked: ids of the products that are not wanted.
        attributes: what the shop says about the shopper.
        erased: whether what the model was fitted with must not be used.
        seen_by: what the fields below belong to.
        before: numbers of the products that the model was fitted with.
        history: item numbers for that model, oldest first.
        unlisted: item numbers that are not to be listed, beside the history.
        new: numbers of liked products that the model does not know, oldest first.
        vector: what the history points at, as the retriever gave it.
    """

    events: list[tuple[str, str, int]] = field(default_factory=list)
    liked: list[str] = field(default_factory=list)
    disliked: set[str] = field(default_factory=set)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    erased: bool = False
    seen_by: object = None
    before: Int32 = field(default_factory=lambda: EMPTY)
    history: Int32 = field(default_factory=lambda: EMPTY)
    unlisted: frozenset[int] = frozenset()
    new: tuple[int, ...] = ()
    vector: Vector | None = None

    def add(self, item_id: str, event_type: str, timestamp: int) -> None:
        """Take in one event; what was derived from the events before is forgotten."""
        self.seen_by, self.vector = None, None
        self.events.append((item_id, event_type, timestamp))
        del self.events[:-LONGEST]
        kind = event_type.lower().replace("-", "_")
        if kind in NEUTRAL:
            return
        if item_id in self.liked:
            self.liked.remove(item_id)
        if kind in AGAINST:
            self.disliked.add(item_id)
            return
        self.disliked.discard(item_id)
        self.liked.append(item_id)
        del self.liked[:-LONGEST]

    def derive(self, user_id: str, model: SavedModel, shelf: Shelf) -> None:
        """Work out numbers for a model and the catalogue as it is."""
        known = len(model.pipeline.items)
        numbers, _ = shelf.numbers(self.liked)
        own = numbers[numbers < known]
        self.before = EMPTY
        if not self.erased:
            row = int(model.users.numbers([user_id], unknown="mark")[0])
            if row >= 0:
                self.before = model.histories.history(row)[-LONGEST:]
        unwanted, _ = shelf.numbers(sorted(self.disliked))
        kept = self.before[~np.isin(self.before, own) & ~np.isin(self.before, unwanted)]
        self.history = np.concatenate([kept, own])[-LONGEST:].astype(np.int32)
        self.new = tuple(numbers[numbers >= known].tolist())
        self.unlisted = frozenset([*unwanted.tolist(), *self.new])
        self.vector = None


class Shoppers:
    """The shoppers who were seen lately; used from the event loop alone.

    Args:
        past: stored events; None where nothing is stored.
        workers: threads that read them.
        most: shoppers that are kept.
    """

    def __init__(self, past: Past | None, workers: Workers, *, most: int = 100_000) -> None:
        self._past, self._workers, self._most = past, workers, most
        self._known: OrderedDict[str, Shopper] = OrderedDict()
        self._reading: dict[str, asyncio.Task[Shopper]] = {}
        self._outdated: set[str] = set()  # of those that are being read: something happened meanwhile

    def here(self, user_id: str) -> Shopper | None:
        """Return a shopper who is known already, without looking further."""
        shopper = self._known.get(user_id)
        if shopper is not None:
            self._known.move_to_end(user_id)
        elif self._past is None:
            shopper = self._keep(user_id, Shopper())
        return shopper

    async def get(self, user_id: str) -> Shopper:
        """Return a shopper; one who is not known is read from the store, once for all who ask meanwhile."""
        shopper = self.here(user_id)
        if shopper is not None:
            return shopper
        reading = self._reading.get(user_id)
        if reading is None:
            reading = self._reading[user_id] = asyncio.get_running_loop().create_task(self._read(user_id))
        return await asyncio.shield(reading)

    def happened(self, user_id: str, events: Sequence[tuple[str, str, int]]) -> None:
        """Take in events that were stored: (item id, event type, time), in their order."""
        if user_id in self._reading:
            self._outdated.add(user_id)
        shopper = self._known.get(user_id)
        if shopper is not None:
            for event in events:
                shopper.add(*event)

    def forget(self, user_id: str) -> None:
        """Drop a shopper, who is read anew when asked for again."""
        if user_id in self._reading:
            self._outdated.add(user_id)
        self._known.pop(user_id, None)

    def forget_all(self) -> None:
        """Drop all shoppers, who are read anew when asked for again."""
        self._outdated.update(self._reading)
        self._known.clear()

    async def _read(self, user_id: str) -> Shopper:
        past = self._past
        try:
            while past is not None:
                self._outdated.discard(user_id)
                shopper = await self._workers.run(lambda: _shopper_of(past, user_id))
                if user_id not in self._outdated:
                    return self._keep(user_id, shopper)
            return self._keep(user_id, Shopper())
        finally:
            self._outdated.discard(user_id)
            self._reading.pop(user_id, None)

    def _keep(self, user_id: str, shopper: Shopper) -> Shopper:
        self._known[user_id] = shopper
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return shopper


def _shopper_of(past: Past, user_id: str) -> Shopper:
    record = past.record_of(user_id)
    shopper = Shopper(attributes=record.attributes, erased=record.erased)
    for event in record.events:
        shopper.add(*event)
    return shopper
