"""One shop as it is served: its engine, its rows in the store, and the thread of what changes beside requests."""

from __future__ import annotations

import asyncio
import logging
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
from tastemaker.store.folders import check_folder, model_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tastemaker.serve.engine.asks import Answer, Ask
    from tastemaker.serve.settings import Settings
    from tastemaker.store.records import Item, ModelVersion
    from tastemaker.store.store import Store

log = logging.getLogger("tastemaker.serve")


class Shop:
    """One tenant.

    Args:
        tenant: its name.
        settings: of the service.
        store: None where nothing is stored.

    Attributes:
        engine: answers.
        events: stores events; None without a store.
        stored: its rows; None without a store.
    """

    def __init__(self, tenant: str, settings: Settings, store: Store | None) -> None:
        self.tenant, self.settings = tenant, settings
        self.stored = None if store is None else StoredShop(store, tenant)
        self.engine = Engine(settings, past=self.stored)
        self.events = None if store is None else Events(store, tenant, self.engine)
        self.experiments: list[Experiment] = []
        self.rules_version = 0
        self._revision = 0
        self._sequence = 0
        self._erasures = (0, 0)
        self._following = asyncio.Lock()

    async def begin(self) -> None:
        """Read what the store says before the first request."""
        if self.stored is not None:
            store, tenant = self.stored.store, self.tenant
            self._sequence = await self.engine.background.run(lambda: store.last_sequence(tenant))
        await self.follow()

    async def answer(self, ask: Ask) -> Answer:
        """Answer a request, as the shopper's variant of a running experiment says."""
        return await trials.answer(self.engine, ask, self.experiments)

    async def follow(self) -> None:
        """Take in what was put into the store since: products, rules, experiments, the active model, other's events."""
        stored = self.stored
        if stored is None:
            return
        async with self._following:
            run = self.engine.background.run
            changes, revision = await run(lambda: stored.changes_after(self._revision))
            if changes:
                await self.engine.views.take(changes)
                self._revision = revision
            version, document = await run(lambda: stored.store.get_rules(self.tenant))
            if version != self.rules_version:
                await self._rule(version, document)
            documents = await run(lambda: stored.store.list_experiments(self.tenant))
            self.experiments = _experiments(documents)
            if not stored.store.exclusive:
                await self._others_events(stored)
                await self._others_model(stored)

    async def _others_model(self, stored: StoredShop) -> None:
        """Let the model answer that another process made the active one."""
        active = await self.engine.background.run(lambda: stored.store.active_model(self.tenant))
        now = self.engine.views.now
        if active is None or (now is not None and now.live.version == active.version):
            return
        try:
            live = await self.engine.background.run(lambda: _load(active))
        except TastemakerError as error:
            log.error("model %s cannot be loaded: %s", active.version, error)
        else:
            await self.engine.activate(live)

    async def _others_events(self, stored: StoredShop) -> None:
        """Forget shoppers whose events came in past this process, or of whom one was erased past it."""
        erasures = await self.engine.background.run(lambda: stored.store.erasures(self.tenant))
        if erasures != self._erasures:  # hashes alone are kept, so nobody knows who it was
            self._erasures = erasures
            self.engine.shoppers.forget_all()
        while True:
            rows = await self.engine.background.run(lambda: stored.store.events_after(self.tenant, self._sequence))
            if not rows:
                return
            self._sequence = rows[-1][0]
            for user_id in {event.user_id for _, event in rows}:
                self.engine.shoppers.forget(user_id)

    async def _rule(self, version: int, document: Mapping[str, Any]) -> None:
        try:
            rules = RuleSet.parse(document) if document else None
        except ConfigError as error:
            log.error("rules version %d cannot be read, those before stay in force: %s", version, type(error).__name__)
        else:
            await self.engine.views.rule(rules)
        self.rules_version = version

    async def put_items(self, items: Sequence[Item]) -> int:
        """Put products; they can be listed soon after. Return the catalogue's revision."""
        stored = self.needs_store()
        revision = await self.engine.background.run(lambda: stored.store.put_items(self.tenant, items))
        await self.follow()
        return revision

    def needs_store(self) -> StoredShop:
        """Return the rows of the shop.

        Raises:
            Problem: nothing is stored.
        """
        if self.stored is None:
            raise Problem(409, "this service stores nothing: start it with --store")
        return self.stored

    async def activate(self, version: str) -> None:
        """Load a version of the model and let it answer.

        Raises:
            DataError: there is no such version.
            ArtifactError: it cannot be loaded, or its folder holds another model by now.
        """
        stored = self.needs_store()
        run = self.engine.background.run
        known = {model.version: model for model in await run(lambda: stored.store.list_models(self.tenant))}
        if version not in known:
            raise DataError("there is no such version; see GET /v1/models")
        live = await run(lambda: _load(known[version]))
        await self.engine.activate(live)
        await run(lambda: stored.store.activate_model(self.tenant, version))

    async def roll_back(self) -> str:
        """Let the version answer again that did so before; return it.

        Raises:
            DataError: there is none.
            ArtifactError: it cannot be loaded.
        """
        stored = self.needs_store()
        run = self.engine.background.run
        answering = await run(lambda: stored.store.active_model(self.tenant))
        version = await run(lambda: stored.store.rollback_model(self.tenant))
        live = self.engine.views.before
        try:
            if live is None or live.version != version:
                known = {one.version: one for one in await run(lambda: stored.store.list_models(self.tenant))}
                live = await run(lambda: _load(known[version]))
            await self.engine.activate(live)
        except BaseException:  # the store says what answers, so what answers is noted again
            if answering is not None:
                await run(lambda: stored.store.activate_model(self.tenant, answering.version))
            raise
        return version

    async def begin_with(self, live: Live, folder: Path) -> None:
        """Let a loaded model answer from the start, and note it in the store."""
        await self.engine.activate(live)
        if self.stored is not None:
            store = self.stored.store

            def note() -> None:
                store.put_model(self.tenant, model_in(folder, live.version))
                store.activate_model(self.tenant, live.version)

            await self.engine.background.run(note)


def _load(model: ModelVersion) -> Live:
    """Load a version that the store lists, if its folder still holds the model that was listed."""
    check_folder(model)
    return Live.load(Path(model.folder), model.version)


def _experiments(documents: Mapping[str, Mapping[str, Any]]) -> list[Experiment]:
    found = []
    for name, document in sorted(documents.items()):
        try:
            found.append(Experiment.parse({"name": name, **document}))
        except TastemakerError as error:
            log.error("experiment %r cannot be read: %s", name, type(error).__name__)
    return found
