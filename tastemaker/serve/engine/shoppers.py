"""Shoppers as they are now: what the model was fitted with, and what they did since.

An event that was acknowledged is part of the very next answer: it is added here after it was stored, and before it is
acknowledged.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from dataclasses import dataclass, field
from operator import itemgetter
from sys import intern
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tastemaker.data.event_types import AGAINST, LOOKS, NEUTRAL, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tastemaker.rules import Shopper as RuleShopper
    from tastemaker.serve.engine.live import Live
    from tastemaker.serve.engine.retrieval import Vector
    from tastemaker.serve.engine.room import Room
    from tastemaker.serve.engine.shelf import Shelf
    from tastemaker.serve.engine.workers import Runs
    from tastemaker.store.records import MadeRanking
    from tastemaker.types import Int32

LONGEST = 200
"""Newest products of a history that a model reads."""
MOST = 20_000
"""Interactions of one shopper that are kept, beside looks; nobody but a program has so many."""
MOST_LOOKS = 2_000
"""Looks, and events that say nothing, of one shopper that are kept."""
TOLD = 16
"""Characters of attributes, as JSON, that weigh as much as an interaction: what is nested takes most for each."""
MINOR = NEUTRAL | LOOKS
"""Events that keep a product away only while it is among the newest `LONGEST`, or never."""
EMPTY = np.empty(0, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class Record:
    """What is stored of a shopper.

    Attributes:
        interactions: (item id, event type, milliseconds since 1970), each item and type once, the oldest first.
        attributes: what the shop says about the shopper.
        erased: whether the shopper was erased, so that what the model was fitted with must not be used either.
        made: the ranking that was made ahead; None for none.
    """

    interactions: list[tuple[str, str, int]] = field(default_factory=list)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    erased: bool = False
    made: MadeRanking | None = None


class Past(Protocol):
    """Where shoppers are stored."""

    def record_of(self, user_id: str) -> Record:
        """Return what is stored of a shopper; called in a thread."""
        ...


@dataclass(frozen=True, slots=True)
class Opinions:
    """What the events of a shopper say, by item ids, so that it holds for any model.

    Attributes:
        liked: the newest products of positive events, at most `LONGEST`, oldest first.
        had: further products of positive events that said more than that the shopper looked, oldest first.
        disliked: products that are not wanted; looking at one again does not change that, any other event does.
    """

    liked: list[str]
    had: list[str]
    disliked: list[str]


@dataclass(slots=True)
class Shopper:
    """What one shopper did, by item ids, so that it holds for any model.

    Attributes:
        did: (item id, event type) -> when last, in milliseconds; at most `MOST`.
        minor: the same of looks and events that say nothing; at most `MOST_LOOKS`.
        attributes: what the shop says about the shopper.
        told: what these weigh.
        erased: whether what the model was fitted with must not be used.
        made: the ranking that was made ahead; None for none.
        seen_by: what the fields below belong to.
        history: item numbers for that model, oldest first, at most `LONGEST`.
        new: numbers of liked products that the model does not know, oldest first.
        unwanted: item numbers that are never to be listed.
        had: item numbers that are not to be listed unless the request asks for what was seen; beside the history.
        fitted: item numbers of the history that the model was fitted with.
        ruled: what business rules know of the shopper; None until they ask.
        vector: what the history points at, as the retriever gave it.
    """

    did: dict[tuple[str, str], int] = field(default_factory=dict)
    minor: dict[tuple[str, str], int] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    told: int = 0
    erased: bool = False
    made: MadeRanking | None = None
    seen_by: object = None
    history: Int32 = field(default_factory=lambda: EMPTY)
    new: tuple[int, ...] = ()
    unwanted: frozenset[int] = frozenset()
    had: frozenset[int] = frozenset()
    fitted: Int32 = field(default_factory=lambda: EMPTY)
    ruled: RuleShopper | None = None
    vector: Vector | None = None
    _digest: str = ""

    @property
    def digest(self) -> str:
        """Of all that a list depends on beside model, catalogue and rules; the same only while nothing happens."""
        if not self._digest:
            found = self.opinions()
            told = json.dumps([self.erased, found.had, found.liked, sorted(found.disliked)])
            self._digest = hashlib.blake2b(told.encode(), digest_size=16).hexdigest()
        return self._digest

    def add(self, item_id: str, event_type: str, timestamp: int) -> None:
        """Take in one event; what was derived from the events before is forgotten."""
        self.seen_by, self.vector, self._digest = None, None, ""
        small = plain(event_type) in MINOR
        kept, most = (self.minor, MOST_LOOKS) if small else (self.did, MOST)
        key = (item_id, intern(event_type))
        kept[key] = max(kept.pop(key, 0), timestamp)
        if len(kept) > most:
            del kept[next(iter(kept))]

    @property
    def weight(self) -> int:
        """Number of interactions that are kept; two products of a ranking weigh as much, a reason four times."""
        made = 0 if self.made is None else len(self.made.item_ids) // 2 + 4 * len(self.made.reasons)
        return len(self.did) + len(self.minor) + made + self.told

    def interactions(self) -> list[tuple[tuple[str, str], int]]:
        """Return ((item id, event type), when last), the oldest first."""
        return sorted([*self.did.items(), *self.minor.items()], key=itemgetter(1))

    def opinions(self) -> Opinions:
        """Return what the events say, however long ago they were."""
        liked: dict[str, bool] = {}  # whether the shopper did more than look
        disliked: dict[str, None] = {}
        for (item_id, event_type), _ in self.interactions():
            kind = plain(event_type)
            if kind in AGAINST:
                liked.pop(item_id, None)
                disliked[item_id] = None
            elif kind in LOOKS:
                if item_id not in disliked:
                    liked[item_id] = liked.pop(item_id, False)
            elif kind not in NEUTRAL:
                disliked.pop(item_id, None)
                liked.pop(item_id, None)
                liked[item_id] = True
        ids = list(liked)
        return Opinions(ids[-LONGEST:], [item for item in ids[:-LONGEST] if liked[item]], list(disliked))

    def derive(self, user_id: str, live: Live, shelf: Shelf) -> None:
        """Work out numbers for a model and the catalogue as it is."""
        known, opinions = live.size, self.opinions()
        liked, _ = shelf.numbers(opinions.liked)
        had, _ = shelf.numbers(opinions.had)
        unwanted, _ = shelf.numbers(opinions.disliked)
        row = -1 if self.erased else live.users.number(user_id)
        self.fitted = live.model.histories.history(row) if row >= 0 else EMPTY
        own = liked[liked < known]
        past = np.concatenate([self.fitted[~np.isin(self.fitted, had)], had[had < known]])
        past = past[~np.isin(past, own) & ~np.isin(past, unwanted)]
        self.history = np.concatenate([past, own])[-LONGEST:].astype(np.int32)
        self.new = tuple(liked[liked >= known].tolist())
        self.unwanted = frozenset(unwanted.tolist())
        everything = np.concatenate([past, had[had >= known], liked])
        self.had = frozenset(everything[~np.isin(everything, self.history)].tolist())
        self.vector, self.ruled, self.seen_by = None, None, shelf


class Shoppers:
    """The shoppers of one shop who were seen lately; used from the event loop alone.

    Of each at most `MOST` interactions and `MOST_LOOKS` looks are kept, of all shops together as many as there is room
    for; whoever asked longest ago goes first. So neither one shopper of 100,000 events nor many of them fill the
    memory: an interaction takes about 250 bytes.

    Args:
        past: stored events; None where nothing is stored.
        workers: threads that read them.
        room: that all shops share.

    Attributes:
        weight: interactions of all who are kept.
    """

    def __init__(self, past: Past | None, workers: Runs, room: Room) -> None:
        self._past, self._workers, self._room = past, workers, room
        self._known: OrderedDict[str, Shopper] = OrderedDict()
        self.weight = 0
        self._closed = False
        room.enter(self)
        self._reading: dict[str, asyncio.Task[Shopper]] = {}
        self._outdated: set[str] = set()  # of those that are being read: something happened meanwhile

    @property
    def count(self) -> int:
        """How many shoppers are kept."""
        return len(self._known)

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
            reading.add_done_callback(_looked_at)
        return await asyncio.shield(reading)

    def happened(self, user_id: str, events: Sequence[tuple[str, str, int]]) -> None:
        """Take in events that were stored: (item id, event type, time), in their order."""
        if user_id in self._reading:
            self._outdated.add(user_id)
        shopper = self._known.get(user_id)
        if shopper is not None:
            before = shopper.weight
            for event in events:
                shopper.add(*event)
            self._took(0, shopper.weight - before)

    def ranked(self, made: MadeRanking) -> None:
        """Take in a ranking that was stored for a shopper who is here."""
        if made.user_id in self._reading:
            self._outdated.add(made.user_id)
        shopper = self._known.get(made.user_id)
        if shopper is not None and not shopper.erased:
            before = shopper.weight
            shopper.made = made
            self._took(0, shopper.weight - before)

    def forget(self, user_id: str) -> None:
        """Drop a shopper, who is read anew when asked for again."""
        if user_id in self._reading:
            self._outdated.add(user_id)
        shopper = self._known.pop(user_id, None)
        if shopper is not None:
            self._gave(1, shopper.weight)

    def forget_all(self) -> None:
        """Drop all shoppers, who are read anew when asked for again."""
        self._outdated.update(self._reading)
        self._gave(len(self._known), self.weight)
        self._known.clear()

    def drop_oldest(self) -> None:
        """Drop the shopper who asked longest ago."""
        _, gone = self._known.popitem(last=False)
        self._gave(1, gone.weight)

    def close(self) -> None:
        """Keep nobody from now on, and leave the room to others; whoever is being read is returned all the same."""
        if not self._closed:
            self.forget_all()
            self._room.leave(self)
            self._closed = True

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
        if not self._closed:
            self._known[user_id] = shopper
            self._took(1, shopper.weight)
        return shopper

    def _took(self, shoppers: int, weight: int) -> None:
        self.weight += weight
        self._room.change(shoppers, weight)
        self._room.make(self)

    def _gave(self, shoppers: int, weight: int) -> None:
        self.weight -= weight
        self._room.change(-shoppers, -weight)


def _shopper_of(past: Past, user_id: str) -> Shopper:
    record = past.record_of(user_id)
    told = len(json.dumps(dict(record.attributes), ensure_ascii=False)) // TOLD
    shopper = Shopper(attributes=record.attributes, told=told, erased=record.erased, made=record.made)
    for interaction in record.interactions:
        shopper.add(*interaction)
    return shopper


def _looked_at(reading: asyncio.Task[Shopper]) -> None:
    """Take notice of how a reading ended, also where all who asked gave up before."""
    if not reading.cancelled():
        reading.exception()
