"""The view that answers now, and how the next one is made: beside the requests, then exchanged in one step."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from tastemaker.errors import NotFitted
from tastemaker.serve.engine import business
from tastemaker.serve.engine.live import Live, View
from tastemaker.serve.engine.shelf import Change, Shelf
from tastemaker.serve.engine.texts import Texts
from tastemaker.serve.engine.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.rules import RuleSet
    from tastemaker.serve.engine.retrieval import Retriever
    from tastemaker.serve.settings import Settings

log = logging.getLogger("tastemaker.serve")


class Views:
    """Makes views, one at a time.

    Args:
        settings: of the service.

    Attributes:
        now: what answers; None before the first model.
        before: the model that answered before, for going back.
        rules: the business rules in force.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.now: View | None = None
        self.before: Live | None = None
        self.rules: RuleSet | None = None
        self._changes: dict[str, Change] = {}
        self._texts: dict[str, Texts | None] = {}  # by version
        self._making = Workers(1, waiting=1024, name="views")
        self._indexing = Workers(1, waiting=64, name="indexes")
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def current(self) -> View:
        """Return what answers now.

        Raises:
            NotFitted: no model is active.
        """
        if self.now is None:
            raise NotFitted("no model is active; activate one with POST /v1/models/VERSION:activate")
        return self.now

    def retrievers(self) -> list[Retriever]:
        """Return the retrievers of the models that answer, or answered last."""
        lives = [] if self.now is None else [self.now.live]
        lives += [] if self.before is None else [self.before]
        texts = [one for live in lives if (one := self._texts.get(live.version)) is not None]
        return [*(live.retriever for live in lives), *(one.retriever for one in texts)]

    async def activate(self, live: Live) -> None:
        """Make another model answer."""
        async with self._lock:
            changes, rules, texts = list(self._changes.values()), self.rules, self._texts.get(live.version)
            view = await self._making.run(lambda: _view(live, texts, Shelf(live.pipeline.items, changes), rules))
            if self.now is None or self.now.live.version != live.version:
                self.before = None if self.now is None else self.now.live
            self.now = view
            kept = {one.version for one in (live, self.before) if one is not None}
            self._texts = {version: one for version, one in self._texts.items() if version in kept}
        if live.version not in self._texts:
            self._texts[live.version] = None
            task = asyncio.get_running_loop().create_task(self._index(live))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def take(self, changes: Sequence[Change]) -> None:
        """Take in changes of the catalogue."""
        async with self._lock:
            for change in changes:
                self._changes[change.item_id] = change
            view = self.now
            if view is not None and changes:
                rules = self.rules
                self.now = await self._making.run(
                    lambda: _view(view.live, view.texts, view.shelf.with_changes(changes), rules)
                )

    async def rule(self, rules: RuleSet | None) -> None:
        """Put business rules in force."""
        async with self._lock:
            self.rules = rules
            view = self.now
            if view is not None:
                self.now = await self._making.run(lambda: _view(view.live, view.texts, view.shelf, rules))

    async def settled(self) -> None:
        """Wait until the indexes of the model that answers are there."""
        await asyncio.gather(*self._tasks)

    async def _index(self, live: Live) -> None:
        """Make what takes its time, beside the requests: text index, nearest-neighbour indexes, explainer."""
        try:
            texts = await self._indexing.run(lambda: Texts.of(live.pipeline, live.retriever))
            async with self._lock:
                self._texts[live.version] = texts
                view = self.now
                if view is not None and view.live is live:
                    rules = self.rules
                    self.now = await self._making.run(lambda: _view(live, texts, view.shelf, rules))
            await self._indexing.run(lambda: self._speed_up(live, texts))
        except Exception:  # a service without an index still answers
            log.exception("model %s: its indexes could not be made", live.version)

    def _speed_up(self, live: Live, texts: Texts | None) -> None:
        retrievers = [live.retriever]
        if texts is not None and not texts.own:
            retrievers.append(texts.retriever)
        for retriever in retrievers:
            if retriever.embeds and len(retriever.table) >= self._settings.index_from:
                retriever.make_index(self._settings.index_folder, probes=self._settings.index_probes)
        live.warm_up()
        _ = live.explainer, live.wishes


def _view(live: Live, texts: Texts | None, shelf: Shelf, rules: RuleSet | None) -> View:
    new = None if texts is None else texts.new_on(shelf)
    return View(live, shelf, texts, new, business.compiled(rules, shelf))
