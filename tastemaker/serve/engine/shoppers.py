"""Shoppers as they are now: what the model was fitted with, and what they did since.

An event that was acknowledged is part of the very next answer: it is added here after it was stored, and before it is
acknowledged.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

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


class Past(Protocol):
    """Where the stored events of shoppers come from."""

    def events_of(self, user_id: str) -> tuple[list[tuple[str, str]], bool]:
        """Return (item id, event type) of a shopper's newest events, oldest first, and whether the shopper was erased.

        Called in a thread.
        """
        ...


@dataclass(slots=True)
class Shopper:
    """What one shopper did, by item ids, so that it holds for any model.

    Attributes:
        liked: ids of the products of positive events, oldest first; of repeats the newest stays.
        disliked: ids of the products that are not wanted.
        erased: whether what the model was fitted with must not be used.
        seen_by: the model that the fields below belong to.
        history: item numbers for that model, oldest first.
        unlisted: item numbers that are not to be listed, beside the history.
        vector: what the history points at, as the retriever gave it.
        new: numbers of liked products that the model does not know.
    """

    liked: list[str] = field(default_factory=list)
    disliked: set[str] = field(default_factory=set)
    erased: bool = False
    seen_by: object = None
    history: Int32 = field(default_factory=lambda: EMPTY)
    unlisted: tuple[int, ...] = ()
    vector: Vector | None = None
    new: tuple[int, ...] = ()

    def add(self, item_id: str, event_type: str) -> None:
        """Take in one event; what was derived from the events before is forgotten."""
        self.seen_by, self.vector = None, None
        if event_type in NEUTRAL:
            return
        if event_type in AGAINST:
            self.disliked.add(item_id)
            return
        self.disliked.discard(item_id)
        if item_id in self.liked:
            self.liked.remove(item_id)
        self.liked.append(item_id)
        del self.liked[:-LONGEST]

    def derive(self, user_id: str | None, model: SavedModel, shelf: Shelf) -> None:
        """Work out numbers for a model and the catalogue as it is."""
        known = len(model.pipeline.items)
        numbers, _ = shelf.numbers(self.liked)
        own = numbers[numbers < known]
        before = EMPTY
        if user_id is not None and not self.erased:
            row = int(model.users.numbers([user_id], unknown="mark")[0])
            if row >= 0:
                before = model.histories.history(row)
        unwanted, _ = shelf.numbers(sorted(self.disliked))
        before = before[~np.isin(before, own) & ~np.isin(before, unwanted)]
        self.history = np.concatenate([before, own])[-LONGEST:].astype(np.int32)
        self.new = tuple(numbers[numbers >= known].tolist())
        self.unlisted = tuple(unwanted.tolist())
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

    def happened(self, user_id: str, events: Sequence[tuple[str, str]]) -> None:
        """Take in events that were stored: (item id, event type), in their order."""
        if user_id in self._reading:
            self._outdated.add(user_id)
        shopper = self._known.get(user_id)
        if shopper is not None:
            for item_id, event_type in events:
                shopper.add(item_id, event_type)

    def forget(self, user_id: str) -> None:
        """Drop a shopper, who is read anew when asked for again."""
        if user_id in self._reading:
            self._outdated.add(user_id)
        self._known.pop(user_id, None)

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
    events, erased = past.events_of(user_id)
    shopper = Shopper(erased=erased)
    for item_id, event_type in events:
        shopper.add(item_id, event_type)
    return shopper
