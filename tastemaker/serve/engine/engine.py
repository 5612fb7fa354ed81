"""From a request to a list, within its budget.

The retriever answers first, together with whatever else is asked at that moment. Then come the later stages, each
behind a gate and with what is left of the budget less a reserve: whoever does not finish is left behind, and the order
so far is served, marked as degraded. Short lists are filled up, reasons are given if there is time.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tastemaker.data.queries import Queries
from tastemaker.data.ranking import Ranking
from tastemaker.errors import DataError
from tastemaker.serve.engine.asks import Answer, Ask, Listed
from tastemaker.serve.engine.batching import Batcher
from tastemaker.serve.engine.breaker import Breaker
from tastemaker.serve.engine.gate import Gate
from tastemaker.serve.engine.live import Holder, Live
from tastemaker.serve.engine.retrieval import Found, Question
from tastemaker.serve.engine.shoppers import Shopper, Shoppers
from tastemaker.serve.engine.workers import Busy, Workers

if TYPE_CHECKING:
    from tastemaker.serve.engine.asks import Strategy
    from tastemaker.serve.engine.retrieval import Vector
    from tastemaker.serve.engine.shelf import Shelf
    from tastemaker.serve.engine.shoppers import Past
    from tastemaker.serve.settings import Settings
    from tastemaker.types import Bool, Int32

FEW_OFF = 200
"""So many hidden products are skipped in longer lists; more of them are masked."""


@dataclass(slots=True)
class Asked:
    """A request as it is worked on."""

    ask: Ask
    live: Live
    shelf: Shelf
    answer: Answer
    end: float
    history: Int32
    unlisted: frozenset[int]
    user: int = -1
    words: str = ""
    allowed: Bool | None = None
    vector: Vector | None = None
    keep_for: Shopper | None = None

    def left(self) -> float:
        """Return the seconds until the reserve begins."""
        return self.end - time.perf_counter()

    def query(self) -> Queries:
        """Return the request as a query."""
        users = np.array([self.user], dtype=np.int32)
        return Queries.from_lists([self.history], texts=[self.words] if self.words else None, users=users)


class Engine:
    """Answers for one shop; used from one event loop.

    Args:
        settings: of the service.
        past: stored events of shoppers; None where nothing is stored.
    """

    def __init__(self, settings: Settings, *, past: Past | None = None) -> None:
        self.settings = settings
        self.holder = Holder()
        self.in_flight = 0
        calls = settings.language_model_calls
        self._retrieving = Workers(1, waiting=1024, name="retrieve")
        self.background = Workers(2, waiting=256, name="background")
        self._explaining = Workers(1, waiting=32, name="explain")
        self.language_model = Gate(
            "language model",
            Breaker(failures=settings.breaker_failures, pause=settings.breaker_pause),
            Workers(calls, waiting=0, name="language-model"),
        )
        self.ranking = Gate("ranking", None, Workers(2, waiting=16, name="rank"))
        self.shoppers = Shoppers(past, self.background, most=settings.shoppers)
        self._batchers: dict[int, Batcher[Question, Found]] = {}
        self._shelves: dict[int, Shelf] = {}

    def activate(self, live: Live) -> None:
        """Let a loaded model answer from the next request on; those under way end with the one they began with."""
        self.holder.exchange(live)
        kept = {id(one) for one in (self.holder.now, self.holder.before) if one is not None}
        self._batchers = {key: batcher for key, batcher in self._batchers.items() if key in kept}
        self._shelves = {key: shelf for key, shelf in self._shelves.items() if key in kept}

    def shelf_of(self, live: Live) -> Shelf:
        """Return the catalogue as it is now, numbered for a model."""
        return self._shelves.get(id(live), live.shelf)

    async def recommend(self, ask: Ask) -> Answer:
        """Answer a request.

        Raises:
            NotFitted: no model is active.
        """
        self.in_flight += 1
        try:
            return await self._recommend(ask)
        finally:
            self.in_flight -= 1

    async def _recommend(self, ask: Ask) -> Answer:
        asked = await self._understand(ask)
        answer = asked.answer
        self._lap(answer, "resolve", ask.started)
        began = time.perf_counter()
        found = await self._retrieve(asked)
        self._lap(answer, "retrieve", began)
        ranking = await self._rank(asked, found)
        self._list(asked, ranking, found)
        if ask.explain:
            await self._explain(asked)
        answer.took_ms = 1e3 * (time.perf_counter() - ask.started)
        return answer

    async def _understand(self, ask: Ask) -> Asked:
        """Find out who asks, and for what."""
        live = self.holder.current()
        shelf = self.shelf_of(live)
        answer = Answer(os.urandom(16).hex(), live.version, ask.strategy, shelf)
        end = ask.started + ask.budget - min(self.settings.reserve_ms / 1e3, ask.budget / 4)
        asked = Asked(ask, live, shelf, answer, end, np.empty(0, np.int32), frozenset())
        if ask.user_id is not None:
            await self._who(asked, ask.user_id)
        extra = [*ask.session, *([ask.context] if ask.context is not None else [])]
        if extra:
            numbers, missing = shelf.numbers(extra)
            answer.missing += missing
            known = numbers[numbers < len(live.pipeline.items)]
            asked.history = np.concatenate([asked.history[~np.isin(asked.history, known)], known])
            asked.vector, asked.keep_for = None, None
        if ask.exclude:
            numbers, missing = shelf.numbers(ask.exclude)
            answer.missing += missing
            asked.unlisted |= frozenset(numbers.tolist())
        if ask.context is not None and (context := shelf.number(ask.context)) >= 0:
            asked.unlisted |= {context}
        if ask.wish or ask.filters is not None:
            await self._wish(asked)
        return asked

    async def _who(self, asked: Asked, user_id: str) -> None:
        """Fill in what is known of a shopper."""
        shopper = self.shoppers.here(user_id)
        if shopper is None:
            try:
                async with asyncio.timeout(max(0.0, asked.left())):
                    shopper = await self.shoppers.get(user_id)
            except TimeoutError:
                asked.answer.degraded.append("history: no answer of the store in time")
                return
            except Busy:
                asked.answer.degraded.append("history: the store is busy")
                return
        if shopper.seen_by != (asked.live.version, asked.shelf):
            shopper.derive(user_id, asked.live.model, asked.shelf)
            shopper.seen_by = (asked.live.version, asked.shelf)
        asked.history, asked.vector = shopper.history, shopper.vector
        asked.unlisted = frozenset(shopper.unlisted)
        asked.keep_for = shopper
        if not shopper.erased:
            asked.user = int(asked.live.model.users.numbers([user_id], unknown="mark")[0])

    async def _wish(self, asked: Asked) -> None:
        """Read the wish and the filters, in a thread as both may look at the whole catalogue."""
        live, ask = asked.live, asked.ask

        def read() -> None:
            if ask.wish:
                understood = live.wishes.read(ask.wish)
                asked.answer.wish = understood.to_dict()
                asked.words, asked.allowed = understood.wish.words, understood.allowed
            if ask.filters is not None and not ask.filters.empty:
                fits = live.wishes.allowed(ask.filters)
                asked.allowed = fits if asked.allowed is None else fits & asked.allowed

        try:
            await self._explaining.run(read, within=max(0.0, asked.left()))
        except (TimeoutError, Busy):
            if ask.filters is not None:
                raise DataError("filters: the budget is too short to apply them; ask for a larger budget_ms") from None
            asked.answer.degraded.append("wish: not read in time")
        asked.vector = None if asked.words else asked.vector
        asked.keep_for = None if asked.words else asked.keep_for

    async def _retrieve(self, asked: Asked) -> Found:
        """Ask the first stage."""
        ask, live = asked.ask, asked.live
        if self._answers_by(asked) == "popular":
            return _nothing()
        question = self._question(asked)
        if live.retriever_asks:
            outcome = await self.language_model.call(
                lambda: _usable(live.retriever.answer([question])[0]), within=asked.left()
            )
            if outcome.value is None:
                asked.answer.degraded.append(outcome.fault)
                return _nothing()
            return outcome.value
        future = self._batcher(live).ask(question)
        if not future.done() and not live.quick:
            try:
                async with asyncio.timeout(max(0.0, asked.left())):
                    found = await future
            except (TimeoutError, Busy):
                asked.answer.degraded.append("retriever: no answer in time")
                return _nothing()
        else:
            found = await future
        if asked.keep_for is not None and found.vector is not None and ask.offered is None:
            asked.keep_for.vector = found.vector
        return found

    def _question(self, asked: Asked) -> Question:
        ask, live, shelf = asked.ask, asked.live, asked.shelf
        n = len(live.pipeline.items)
        width, allowed = max(ask.n, live.keep if len(live.pipeline.stages) > 1 else ask.n), asked.allowed
        unlisted = len(asked.unlisted) + (len(shelf.off) if len(shelf.off) <= FEW_OFF else 0)
        if len(shelf.off) > FEW_OFF:
            allowed = shelf.listed_mask if allowed is None else allowed & shelf.listed_mask
        offered = None
        if ask.offered is not None:
            numbers, missing = shelf.numbers(list(dict.fromkeys(ask.offered)))
            asked.answer.missing += missing
            offered = numbers[numbers < n]
            width = max(1, len(offered))
        return Question(
            asked.history,
            min(n, width + unlisted),
            asked.words,
            asked.user,
            allowed,
            offered,
            ask.seen or ask.offered is not None,
            asked.vector,
        )

    def _answers_by(self, asked: Asked) -> Strategy:
        """Decide who is to answer, where that is left open."""
        strategy = asked.ask.strategy
        if strategy != "auto":
            return strategy
        live = asked.live
        few = len(asked.history) <= self.settings.language_model_history
        return "full" if live.asking and few else "fast"

    async def _rank(self, asked: Asked, found: Found) -> Ranking:
        """Let the later stages re-rank what was found."""
        strategy, live, answer = self._answers_by(asked), asked.live, asked.answer
        answer.strategy = strategy
        keep = [place for place, item in enumerate(found.items.tolist()) if not self._off(asked, item)]
        ranking = Ranking(found.items[keep][None, :], found.scores[keep][None, :])
        if strategy in ("retriever", "popular", "text") or not len(keep):
            return ranking
        query = asked.query()
        stages = [*live.later, *(live.asking if strategy == "full" else [])]
        for number in sorted(stages):
            gate = self.language_model if number in live.asking else self.ranking
            began, before = time.perf_counter(), ranking

            def refine(number: int = number, before: Ranking = before) -> tuple[Ranking, bool]:
                better, silent = live.pipeline.refined(number, query, before, seen=asked.ask.seen)
                return better, not silent.any()

            outcome = await gate.call(refine, within=asked.left())
            self._lap(answer, "lm" if number in live.asking else "rank", began)
            if outcome.value is None:
                answer.degraded.append(outcome.fault)
            else:
                ranking = outcome.value
        return ranking

    def _off(self, asked: Asked, item: int) -> bool:
        return item in asked.unlisted or item in asked.shelf.off

    def _list(self, asked: Asked, ranking: Ranking, found: Found) -> None:
        """Put the list together, and fill it up from what is popular."""
        ask, live, answer = asked.ask, asked.live, asked.answer
        sources = [live.pipeline.stages[0].recommender.name]
        if answer.strategy == "full" and live.asking and not answer.degraded:
            sources = [live.pipeline.stages[live.asking[-1]].recommender.name]
        listed: set[int] = set()
        for item, score in zip(ranking.items[0].tolist(), ranking.scores[0].tolist(), strict=True):
            if item >= 0 and len(answer.items) < ask.n:
                answer.items.append(Listed(item, score, sources[0]))
                listed.add(item)
        if len(answer.items) < ask.n:
            self._fill(asked, listed)

    def _fill(self, asked: Asked, listed: set[int]) -> None:
        ask, answer = asked.ask, asked.answer
        lowest = answer.items[-1].score if answer.items else 0.0
        step = max(1.0, abs(lowest)) * 1e-3
        if ask.offered is not None:
            numbers, _ = asked.shelf.numbers(list(dict.fromkeys(ask.offered)))
            filler, source = numbers.tolist(), "caller"
        else:
            filler, source = asked.live.popular.tolist(), "popular"
        seen = frozenset() if ask.seen or ask.offered is not None else frozenset(asked.history.tolist())
        for item in filler:
            if len(answer.items) >= ask.n:
                return
            barred = item in listed or item in seen or self._off(asked, item)
            if barred or (asked.allowed is not None and (item >= len(asked.allowed) or not asked.allowed[item])):
                continue
            lowest -= step
            answer.items.append(Listed(item, lowest, source))
            listed.add(item)

    async def _explain(self, asked: Asked) -> None:
        """Give reasons, if there is time."""
        answer, live = asked.answer, asked.live
        began = time.perf_counter()
        known = [one for one in answer.items if one.number < len(live.pipeline.items)]

        def reasons() -> list[dict[str, object]]:
            return [
                live.explainer.reason(asked.history, one.number, wish=asked.words).to_dict() | {"grounded": True}
                for one in known
            ]

        try:
            given = await self._explaining.run(reasons, within=max(0.0, asked.left()))
        except (TimeoutError, Busy):
            answer.notes.append("reasons were left out: no time")
            given = []
        for one, reason in zip(known, given, strict=False):
            one.reason = reason
        self._lap(answer, "explain", began)

    def _batcher(self, live: Live) -> Batcher[Question, Found]:
        batcher = self._batchers.get(id(live))
        if batcher is None:
            batcher = self._batchers[id(live)] = Batcher(
                live.retriever.answer,
                wait=self.settings.batch_wait_ms / 1e3,
                most=self.settings.batch_most,
                expected=lambda: self.in_flight,
                workers=None if live.quick else self._retrieving,
            )
        return batcher

    @staticmethod
    def _lap(answer: Answer, step: str, began: float) -> None:
        answer.timings[step] = answer.timings.get(step, 0.0) + 1e3 * (time.perf_counter() - began)


def _nothing() -> Found:
    return Found(np.empty(0, np.int32), np.empty(0, np.float32))


def _usable(found: Found) -> tuple[Found, bool]:
    return found, bool(len(found.items))
