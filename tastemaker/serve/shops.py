"""One shop as it is served: its engine, its rows in the store, and the thread of what changes beside requests."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tastemaker.errors import ConfigError, DataError, TastemakerError
from tastemaker.experiments.definition import Experiment
from tastemaker.rules import RuleSet
from tastemaker.serve import trials
from tastemaker.serve.backing import StoredShop
from tastemaker.serve.engine.engine import Engine
from tastemaker.serve.engine.live import Live
from tastemaker.serve.problems import Problem
from tastemaker.serve.recording import Events
from tastemaker.serve.versions import Fault, newest_sound
from tastemaker.store.folders import check_folder, model_in

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from tastemaker.serve.engine.asks import Answer, Ask
    from tastemaker.serve.engine.calling.pools import Pools
    from tastemaker.serve.engine.room import Room
    from tastemaker.serve.settings import Settings
    from tastemaker.store.records import Item, ModelVersion
    from tastemaker.store.store import Store

    Step = Callable[[StoredShop, Mapping[str, int]], Awaitable[bool]]

log = logging.getLogger("tastemaker.serve")
OF_SHOPPERS = ("events", "users", "users_removed", "erasures")
"""Counters of the store that say that something is known of shoppers that was not before."""
MANY = 20_000
"""Rows of others beyond which all shoppers are forgotten instead of each that is named."""
TRY_AGAIN = 30.0
"""Seconds after which a model that could not be loaded is tried again."""


class Shop:
    """One tenant.

    Args:
        tenant: its name.
        settings: of the service.
        store: None where nothing is stored.
        pools: threads, which other shops use too.
        room: memory for shoppers, which other shops use too.

    Attributes:
        engine: answers.
        events: stores events; None without a store.
        stored: its rows; None without a store.
        fault: why the active version of its model does not answer; None where it does, or there is none.
        under_way: requests and jobs that are being worked on.
        used: when it was last asked for, on the clock of `time.perf_counter`.
    """

    def __init__(self, tenant: str, settings: Settings, store: Store | None, pools: Pools, room: Room) -> None:
        self.tenant, self.settings = tenant, settings
        self.stored = None if store is None else StoredShop(store, tenant)
        self.engine = Engine(settings, pools, room, past=self.stored)
        self.events = None if store is None else Events(store, tenant, self.engine)
        self.experiments: list[Experiment] = []
        self.rules_version = 0
        self.fault: Fault | None = None
        self.under_way = 0
        self.used = 0.0
        self._revision = 0
        self._sequence = 0
        self._seen: dict[str, int] = {}  # counters of the store, as of what was taken in
        self._next_try = 0.0  # for a model that could not be loaded, on the clock of time.monotonic
        self._following = asyncio.Lock()

    async def begin(self) -> None:
        """Read what the store says before the first request."""
        if self.stored is None:
            return
        seen = await self._revisions(self.stored)
        self._sequence = seen.get("events", 0)
        self._seen = {name: seen.get(name, 0) for name in (*OF_SHOPPERS, "models", "rankings")}
        await self.follow()

    @property
    def busy(self) -> bool:
        """Whether something is under way in the shop, so that it must not be closed."""
        return bool(self.under_way or self.engine.in_flight or self.engine.views.indexing or self._following.locked())

    def close(self) -> None:
        """Leave the memory for shoppers to other shops; called where nothing is under way any more."""
        self.engine.shoppers.close()

    @property
    def revision(self) -> int:
        """Revision of the catalogue that answers."""
        return self._revision

    async def answer(self, ask: Ask) -> Answer:
        """Answer a request, as the shopper's variant of a running experiment says."""
        return await trials.answer(self.engine, ask, self.experiments)

    async def _revisions(self, stored: StoredShop) -> dict[str, int]:
        return (await self.engine.background.run(lambda: stored.store.revisions([self.tenant])))[self.tenant]

    async def follow(self, *kinds: str, revisions: Mapping[str, int] | None = None) -> None:
        """Take in what was put into the store since: products, rules, experiments, the active model, shoppers, events.

        What cannot be taken in keeps nothing else out; the first such error is raised at the end.

        Args:
            kinds: counters of the store that alone are looked at; none looks at all.
            revisions: the counters, if they were read already.
        """
        stored = self.stored
        if stored is None:
            return
        async with self._following:
            now = await self._revisions(stored) if revisions is None else revisions
            faults: list[Exception] = []
            for names, step in self._steps(stored):
                wanted = not kinds or any(name in kinds for name in names)
                if not wanted or all(now.get(name, 0) == self._seen.get(name, 0) for name in names):
                    continue
                try:
                    if await step(stored, now):
                        self._seen |= {name: now.get(name, 0) for name in names}
                except Exception as error:
                    faults.append(error)
            if faults:
                raise faults[0]

    def behind(self, revisions: Mapping[str, int]) -> bool:
        """Say whether the counters of the store tell of something that was not taken in yet."""
        if self.stored is None:
            return False
        counters = [name for names, _ in self._steps(self.stored) for name in names]
        return any(revisions.get(name, 0) != self._seen.get(name, 0) for name in counters)

    def _steps(self, stored: StoredShop) -> list[tuple[Sequence[str], Step]]:
        """Return counters of the store, and what takes in what they count: True once it is done."""
        steps: list[tuple[Sequence[str], Step]] = [
            (("items",), self._others_items),
            (("rules",), self._others_rules),
            (("experiments",), self._others_experiments),
        ]
        if not stored.store.exclusive:
            steps += [(OF_SHOPPERS, self._others_shoppers), (("models",), self._others_model)]
            steps.append((("rankings",), self._others_rankings))
        return steps

    async def _others_items(self, stored: StoredShop, now: Mapping[str, int]) -> bool:
        del now
        changes, revision = await self.engine.background.run(lambda: stored.changes_after(self._revision))
        await self.engine.views.take(changes)
        self._revision = revision
        return True

    async def _others_rules(self, stored: StoredShop, now: Mapping[str, int]) -> bool:
        del now
        version, document = await self.engine.background.run(lambda: stored.store.get_rules(self.tenant))
        if version == self.rules_version:
            return True
        try:
            rules = RuleSet.parse(document) if document else None
        except ConfigError as error:
            log.error("rules version %d cannot be read, those before stay in force: %s", version, type(error).__name__)
        else:
            await self.engine.views.rule(rules)
        self.rules_version = version
        return True

    async def _others_experiments(self, stored: StoredShop, now: Mapping[str, int]) -> bool:
        del now
        documents = await self.engine.background.run(lambda: stored.store.list_experiments(self.tenant))
        self.experiments = _experiments(documents)
        return True

    async def _others_model(self, stored: StoredShop, now: Mapping[str, int]) -> bool:
        """Let the model answer that another process made the active one; one that cannot be loaded is tried again."""
        del now
        active = await self.engine.background.run(lambda: stored.store.active_model(self.tenant))
        view = self.engine.views.now
        if active is None or (view is not None and view.live.version == active.version):
            self._note(None)
            return True
        if time.monotonic() < self._next_try:
            return False
        try:
            await self._answer_with(await self._loaded(active))
        except TastemakerError as error:
            self._next_try = time.monotonic() + TRY_AGAIN
            log.error("model %s cannot be loaded: %s", active.version, error)
            self._note(Fault(active.version, str(error), None if view is None else view.live.version))
            return False
        return True

    async def _others_shoppers(self, stored: StoredShop, now: Mapping[str, int]) -> bool:
        """Forget shoppers of whom something was stored past this process: events, attributes, an erasure."""
        store, run, shoppers = stored.store, self.engine.background.run, self.engine.shoppers
        seen = self._seen
        nameless = any(now.get(name, 0) != seen.get(name, 0) for name in ("erasures", "users_removed"))
        if nameless or sum(now.get(name, 0) - seen.get(name, 0) for name in ("events", "users")) > MANY:
            shoppers.forget_all()  # nobody says who was erased, or too many would have to be named
            self._sequence = now.get("events", 0)
            return True
        users = seen.get("users", 0)
        while rows := await run(partial(store.users_after, self.tenant, users)):
            users = rows[-1][0]
            for _, user_id in rows:
                shoppers.forget(user_id)
        while events := await run(lambda: store.events_after(self.tenant, self._sequence)):
            self._sequence = events[-1][0]
            own = self.events.own if self.events is not None else frozenset[str]()
            for user_id in {event.user_id for _, event in events if event.event_id not in own}:
                shoppers.forget(user_id)
        return True

    async def _others_rankings(self, stored: StoredShop, now: Mapping[str, int]) -> bool:
        """Forget shoppers for whom a ranking was made past this process; they are read with it when they come."""
        after = self._seen.get("rankings", 0)
        if now.get("rankings", 0) - after > MANY:
            self.engine.shoppers.forget_all()
            return True
        while rows := await self.engine.background.run(partial(stored.store.rankings_after, self.tenant, after)):
            after = rows[-1][0]
            for _, user_id in rows:
                self.engine.shoppers.forget(user_id)
        return True

    async def put_items(self, items: Sequence[Item]) -> int:
        """Put products; they can be listed soon after. Return the catalogue's revision."""
        stored = self.needs_store()
        revision = await self.engine.background.run(lambda: stored.store.put_items(self.tenant, items))
        await self.follow("items")
        return revision

    def needs_store(self) -> StoredShop:
        """Return the rows of the shop.

        Raises:
            Problem: nothing is stored.
        """
        if self.stored is None:
            raise Problem(409, "this service stores nothing: start it with --store")
        return self.stored

    async def begin_active(self) -> None:
        """Let the active version of the model answer; if it cannot be loaded, the newest before it that can be.

        Where other processes write to the store, one of them may mend that: the active version is tried again.
        """
        stored = self.stored
        if stored is None:
            return
        versions = await self.engine.background.run(lambda: stored.store.answering_models(self.tenant))
        live, fault = await newest_sound(versions, self._loaded)
        if live is not None:
            await self.engine.activate(live)
        self._note(fault)
        if fault is not None:
            self._next_try = time.monotonic() + TRY_AGAIN
            self._seen["models"] = -1

    async def _answer_with(self, live: Live) -> None:
        """Let a loaded model answer, which is the active one."""
        await self.engine.activate(live)
        self._note(None)

    def _note(self, fault: Fault | None) -> None:
        self.fault, self.engine.views.fault = fault, "" if fault is None else str(fault)

    async def activate(self, version: str) -> None:
        """Load a version of the model and let it answer; where that cannot be noted, what answered before goes on.

        Raises:
            DataError: there is no such version.
            ArtifactError: it cannot be loaded, or its folder holds another model by now.
            StoreError: the store cannot be written.
        """
        stored = self.needs_store()
        run = self.engine.background.run
        known = {model.version: model for model in await run(lambda: stored.store.list_models(self.tenant))}
        if version not in known:
            raise DataError("there is no such version; see GET /v1/models")
        with self.occupied():
            live = await self._loaded(known[version])
            view, fault = self.engine.views.now, self.fault
            await self._answer_with(live)
            try:
                await run(lambda: stored.store.activate_model(self.tenant, version))
            except BaseException:  # the store says what answers
                if view is not None:
                    await self.engine.activate(view.live)
                    self._note(fault)
                raise

    @contextmanager
    def occupied(self) -> Iterator[None]:
        """Keep the shop from being closed."""
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1

    async def _loaded(self, model: ModelVersion) -> Live:
        """Return a model ready to answer: one that answers or did before, if it is still what its folder holds.

        Raises:
            ArtifactError: it cannot be loaded, or its folder holds another model by now.
        """
        views = self.engine.views
        await self.engine.background.run(lambda: check_folder(model))
        for live in (None if views.now is None else views.now.live, views.before):
            if live is not None and live.version == model.version:
                return live
        return await self.engine.loading.run(lambda: Live.load(Path(model.folder), model.version))

    async def roll_back(self) -> str:
        """Let the version answer again that did so before; return it.

        Raises:
            DataError: there is none.
            ArtifactError: it cannot be loaded.
        """
        stored = self.needs_store()
        run = self.engine.background.run
        with self.occupied():
            answering = await run(lambda: stored.store.active_model(self.tenant))
            version = await run(lambda: stored.store.rollback_model(self.tenant))
            try:
                models = {one.version: one for one in await run(lambda: stored.store.list_models(self.tenant))}
                await self._answer_with(await self._loaded(models[version]))
            except BaseException:  # the store says what answers, so what answers is noted again
                if answering is not None:
                    await run(lambda: stored.store.activate_model(self.tenant, answering.version))
                raise
            return version

    async def begin_with(self, live: Live, folder: Path) -> None:
        """Let a loaded model answer from the start, and note it in the store."""
        await self._answer_with(live)
        if self.stored is not None:
            store = self.stored.store

            def note() -> None:
                store.put_model(self.tenant, model_in(folder, live.version))
                store.activate_model(self.tenant, live.version)

            await self.engine.background.run(note)


def _experiments(documents: Mapping[str, Mapping[str, Any]]) -> list[Experiment]:
    found = []
    for name, document in sorted(documents.items()):
        try:
            found.append(Experiment.parse({"name": name, **document}))
        except TastemakerError as error:
            log.error("experiment %r cannot be read: %s", name, type(error).__name__)
    return found
