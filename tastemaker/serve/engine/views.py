"""The view that answers now, and how the next one is made: beside the requests, then exchanged in one step."""

from __future__ import annotations

import asyncio
import logging
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tastemaker import pace
from tastemaker.errors import NotFitted
from tastemaker.serve.engine import business
from tastemaker.serve.engine.live import Live, View
from tastemaker.serve.engine.shelf import Change
from tastemaker.serve.engine.texts import Texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.rules import RuleSet
    from tastemaker.serve.engine.retrieval import Retriever
    from tastemaker.serve.engine.shelf import Shelf
    from tastemaker.serve.engine.workers import Runs
    from tastemaker.serve.settings import Settings

log = logging.getLogger("tastemaker.serve")


class Views:
    """Makes views, one at a time.

    A product that breaks the making of a view is left as it was before, hidden if it was put as hidden, and noted; all
    others are taken in.

    Args:
        settings: of the service.
        making: threads that make views.
        indexing: threads that make indexes.

    Attributes:
        now: what answers; None before the first model.
        before: the model that answered before, for going back.
        fault: why the model that should answer does not, in words; "" where it does, or there is none.
        rules: the business rules in force.
        refused: products that could not be taken in as they were put -> what was raised.
        refusals: how often that happened.
    """

    def __init__(self, settings: Settings, *, making: Runs, indexing: Runs) -> None:
        self._settings, self._making, self._indexing = settings, making, indexing
        self.now: View | None = None
        self.before: Live | None = None
        self.fault = ""
        self.rules: RuleSet | None = None
        self.refused: dict[str, str] = {}
        self.refusals = 0
        self._changes: dict[str, Change] = {}
        self._lock, self._index_lock = asyncio.Lock(), asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def current(self) -> View:
        """Return what answers now.

        Raises:
            NotFitted: no model is active.
        """
        if self.now is None:
            raise NotFitted(self.fault or "no model is active; activate one with POST /v1/models/VERSION:activate")
        return self.now

    def retrievers(self) -> list[Retriever]:
        """Return the retrievers of the models that answer, or answered last."""
        lives = [] if self.now is None else [self.now.live]
        lives += [] if self.before is None else [self.before]
        texts = [live.texts for live in lives if live.texts is not None]
        return [*(live.retriever for live in lives), *(one.retriever for one in texts)]

    async def activate(self, live: Live) -> None:
        """Make another model answer.

        The first one answers at once, and its indexes are made meanwhile; a later one answers once it has them.
        """
        first = self.now is None
        if not first:
            await self._index(live)
        async with self._lock:
            changes, rules = list(self._changes.values()), self.rules
            made = await self._making.run(lambda: _made(live, live.shelf, rules, changes))
            self._take_over(made)
            if self.now is None or self.now.live.version != live.version:
                self.before = None if self.now is None else self.now.live
            self.now = made.view
        if first:
            task = asyncio.get_running_loop().create_task(self._index(live))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def take(self, changes: Sequence[Change]) -> None:
        """Take in changes of the catalogue."""
        async with self._lock:
            view, rules = self.now, self.rules
            if view is not None and changes:
                made = await self._making.run(lambda: _made(view.live, view.shelf, rules, changes))
                self._take_over(made)
                self.now = made.view
            else:
                self._changes |= {change.item_id: change for change in changes}

    async def rule(self, rules: RuleSet | None) -> None:
        """Put business rules in force."""
        async with self._lock:
            view, changes = self.now, list(self._changes.values())
            if view is not None:
                live, shelf = view.live, view.shelf

                def make() -> Made:
                    try:
                        return Made(_view(live, shelf, rules), [], {})
                    except Exception:  # a product that these rules look at
                        return _made(live, live.shelf, rules, changes)

                made = await self._making.run(make)
                self._take_over(made)
                self.now = made.view
            self.rules = rules

    @property
    def indexing(self) -> bool:
        """Whether indexes are being made."""
        return bool(self._tasks) or self._index_lock.locked()

    async def settled(self) -> None:
        """Wait until the indexes of the model that answers are there."""
        await asyncio.gather(*self._tasks)

    def _take_over(self, made: Made) -> None:
        """Keep what came of changes, and say which products were refused."""
        for change in made.taken:
            if self._changes.get(change.item_id) is not change:  # else it is what stands in for a refused one
                self._changes[change.item_id] = change
                self.refused.pop(change.item_id, None)
        for item_id, (stead, fault) in made.refused.items():
            log.error("product %r cannot be taken in as it was put: %s; it stays as it was", item_id, fault)
            self.refusals += 1
            self.refused[item_id] = fault
            if stead is not None:
                self._changes[item_id] = stead

    async def _index(self, live: Live) -> None:
        """Make what takes its time, beside the requests: text index, nearest-neighbour indexes, explainer."""
        async with self._index_lock:
            if live.indexed:
                return
            answered = self.now is not None and self.now.live is not live  # by another model, meanwhile
            try:
                texts = await self._indexing.run(lambda: self._built(live, at_ease=answered))
                async with self._lock:
                    live.texts, live.indexed = texts, True
                    view = self.now
                    if view is not None and view.live is live:
                        changes, rules = list(self._changes.values()), self.rules
                        made = await self._making.run(lambda: _made(live, live.shelf, rules, changes))
                        self._take_over(made)
                        self.now = made.view
            except Exception:  # a service without an index still answers
                log.exception("model %s: its indexes could not be made", live.version)

    def _built(self, live: Live, *, at_ease: bool) -> Texts | None:
        """Make what is made beside requests; at ease where another model answers meanwhile."""
        with pace.at_ease() if at_ease else nullcontext():
            return self._made_ready(live)

    def _made_ready(self, live: Live) -> Texts | None:
        texts = Texts.of(live.pipeline, live.retriever)
        retrievers = [live.retriever]
        if texts is not None and not texts.own:
            retrievers.append(texts.retriever)
        for retriever in retrievers:
            if retriever.embeds and len(retriever.table) >= self._settings.index_from:
                retriever.make_index(self._settings.index_folder, probes=self._settings.index_probes)
        live.warm_up()
        live.explainer.prepare()
        live.wishes.prepare()
        return texts


@dataclass(frozen=True, slots=True)
class Made:
    """A view, and what came of the changes that it was made for.

    Attributes:
        view: with all that could be taken in.
        taken: changes that were.
        refused: products whose change was not -> what stands in its place (None for a new product), and the fault.
    """

    view: View
    taken: list[Change]
    refused: dict[str, tuple[Change | None, str]]


def _made(live: Live, shelf: Shelf, rules: RuleSet | None, changes: Sequence[Change]) -> Made:
    """Return the view after changes; where they cannot be taken in together, their halves are, and so on.

    Raises:
        Exception: the view fails without the changes, too.
    """
    try:
        return Made(_view(live, shelf.with_changes(changes), rules), list(changes), {})
    except Exception as error:  # of products that are not known yet
        fault = type(error).__name__
    before = _view(live, shelf, rules)
    if len(changes) > 1:
        half = len(changes) // 2
        first = _made(live, shelf, rules, changes[:half])
        second = _made(live, first.view.shelf, rules, changes[half:])
        # a later change of a product settles what came of it
        later = {change.item_id for change in changes[half:]}
        refused = {item_id: one for item_id, one in first.refused.items() if item_id not in later} | second.refused
        return Made(second.view, [*first.taken, *second.taken], refused)
    [change] = changes
    number = shelf.number(change.item_id)
    if number < 0:
        return Made(before, [], {change.item_id: (None, fault)})
    stead = Change(change.item_id, shelf.columns(number), change.hidden or shelf.gone(number))
    try:
        before = _view(live, shelf.with_changes([stead]), rules)
    except Exception:  # its own columns do it, so it is taken out
        stead = Change(change.item_id, None)
        before = _view(live, shelf.with_changes([stead]), rules)
    return Made(before, [], {change.item_id: (stead, fault)})


def _view(live: Live, shelf: Shelf, rules: RuleSet | None) -> View:
    texts = live.texts
    new = None if texts is None else texts.new_on(shelf)
    return View(live, shelf, texts, new, business.compiled(rules, shelf))
