"""From a request to a list, within its budget.

The retriever answers first, together with whatever else is asked at that moment. Then come the later stages, each
behind a gate and with what is left of the budget less a reserve: whoever does not finish is left behind, and the order
so far is served, marked as degraded. Short lists are filled up, reasons are given if there is time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import TYPE_CHECKING

import numpy as np

from tastemaker.data.ranking import Ranking
from tastemaker.errors import TastemakerError
from tastemaker.pipeline import append_below
from tastemaker.serve.engine import ahead, business, explaining, listing
from tastemaker.serve.engine.asked import Asked
from tastemaker.serve.engine.asks import Answer, Ask
from tastemaker.serve.engine.calling.batching import Batcher
from tastemaker.serve.engine.calling.breaker import Breaker
from tastemaker.serve.engine.calling.gate import Gate
from tastemaker.serve.engine.calling.pools import WAITING, Pools
from tastemaker.serve.engine.retrieval import Found, Question
from tastemaker.serve.engine.shoppers import Shoppers
from tastemaker.serve.engine.views import Views
from tastemaker.serve.engine.workers import Busy, OutOfTime
from tastemaker.wishes import HEEDED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tastemaker.serve.engine.live import Live
    from tastemaker.serve.engine.retrieval import Retriever, Vector
    from tastemaker.serve.engine.room import Room
    from tastemaker.serve.engine.shoppers import Past
    from tastemaker.serve.engine.workers import Runs
    from tastemaker.serve.settings import Settings
    from tastemaker.types import Bool

log = logging.getLogger("tastemaker.serve")
FEW_OFF = 200
"""So many hidden products are skipped in longer lists; more of them are masked."""
FEW_HAD = 1000
"""So many products of one shopper that must not be listed are skipped in longer lists; more of them are masked."""


class Engine:
    """Answers for one shop; used from one event loop.

    Args:
        settings: of the service.
        pools: threads, which other shops use too.
        room: memory for shoppers, which other shops use too.
        past: stored shoppers; None where nothing is stored.

    Attributes:
        views: the model, catalogue and rules that answer now.
        in_flight: requests under way.
        language_model: the gate to the language model.
        background: threads for what nobody waits for long.
        loading: threads that load models.
    """

    def __init__(self, settings: Settings, pools: Pools, room: Room, *, past: Past | None = None) -> None:
        self.settings, self.in_flight = settings, 0
        self.background: Runs = pools.background
        self.loading: Runs = pools.indexes
        self.views = Views(settings, making=pools.views, indexing=pools.indexes)
        self.shoppers = Shoppers(past, pools.history.share(WAITING), room)
        self.language_model = Gate(
            "language model",
            Breaker(failures=settings.breaker_failures, pause=settings.breaker_pause),
            pools.language_model.share(settings.language_model_calls),
        )
        self.ranking = Gate("ranking", None, pools.ranking.share(18))
        self._retrieving = pools.retrieving.share(WAITING)
        self._explaining = pools.explaining.share(65)
        self._ranks_ahead = settings.precompute and past is not None
        self._batchers: dict[int, tuple[bool, Batcher[Question, Found]]] = {}

    async def recommend(self, ask: Ask, *, variants: Mapping[str, str] | None = None) -> Answer:
        """Answer a request.

        Args:
            ask: what is wanted.
            variants: experiment -> variant of the shopper, for business rules.

        Raises:
            NotFitted: no model is active.
            OutOfTime: the budget is too short for the filters.
        """
        self.in_flight += 1
        try:
            asked = await self._understand(ask, variants or {})
            asked.lap("resolve", ask.started)
            began = time.perf_counter()
            strategy = self._who_answers(asked)
            if strategy == ahead.STRATEGY:
                ranking, source = await self._made_ahead(asked)
                asked.lap("retrieve", began)
            else:
                found = await self._retrieve(asked, strategy)
                asked.lap("retrieve", began)
                ranking, source = await self._rank(asked, found, strategy)
            by_texts = strategy == "text" or (source == "text_knn" and asked.view.texts is not None)
            listing.put_together(asked, ranking, source, by_texts=by_texts, new_items=self.settings.new_items)
            if ask.explain:
                await self._explain(asked)
            asked.answer.took_ms = 1e3 * (time.perf_counter() - ask.started)
            return asked.answer
        finally:
            self.in_flight -= 1

    async def candidates(self, ask: Ask) -> tuple[Asked, Ranking]:
        """Return a request as it is understood, and what the first stage offers to the later ones, [1, m].

        Raises:
            NotFitted: no model is active.
        """
        asked = await self._understand(ask, {})
        if asked.shopper is not None:
            asked.digest = asked.shopper.digest
        return asked, asked.listed(await self._retrieve(asked, "full"))

    async def _understand(self, ask: Ask, variants: Mapping[str, str]) -> Asked:
        """Find out who asks, and for what."""
        view = self.views.current()
        shelf, size = view.shelf, view.live.size
        answer = Answer(os.urandom(16).hex(), view.live.version, ask.strategy, shelf)
        end = ask.started + ask.budget - min(self.settings.reserve_ms / 1e3, ask.budget / 4)
        asked = Asked(ask, view, answer, end)
        if ask.user_id is not None:
            await self._who(asked, ask.user_id)
        shopper = asked.shopper
        looked_at, missing = shelf.numbers([*ask.session, *([] if ask.context is None else [ask.context])])
        if len(looked_at) or missing:
            answer.missing += missing
            known = looked_at[looked_at < size]
            asked.history = np.concatenate([asked.history[~np.isin(asked.history, known)], known])
            asked.later += tuple(looked_at[looked_at >= size].tolist())
            asked.vector, asked.shopper = None, None
            if ask.context is not None:
                asked.unlisted |= {shelf.number(ask.context)}
        if ask.exclude:
            numbers, missing = shelf.numbers(ask.exclude)
            answer.missing += missing
            asked.unlisted |= frozenset(numbers.tolist())
        if view.rules is not None:
            asked.plan = business.plan_for(
                view.rules, shopper, shelf, ask, looked_at=looked_at.tolist(), variants=variants
            )
            asked.restrict(asked.plan.allowed)
        if ask.wish or (ask.filters is not None and not ask.filters.empty):
            await self._wish(asked)
        return asked

    async def _who(self, asked: Asked, user_id: str) -> None:
        """Fill in what is known of a shopper."""
        shopper = self.shoppers.here(user_id)
        if shopper is None:
            try:
                async with asyncio.timeout(asked.left()):
                    shopper = await self.shoppers.get(user_id)
            except TimeoutError:
                asked.answer.degraded.append("history: no answer of the store in time")
                return
            except Busy:
                asked.answer.degraded.append("history: the store is busy")
                return
            except TastemakerError:
                asked.answer.degraded.append("history: the store cannot be read")
                return
        view = asked.view
        if shopper.seen_by is not view.shelf:
            shopper.derive(user_id, view.live, view.shelf)
        asked.history, asked.later, asked.vector = shopper.history, shopper.new, shopper.vector
        asked.unlisted, asked.shopper, asked.made = shopper.unwanted, shopper, shopper.made
        if not asked.ask.may_repeat:
            asked.had = shopper.had
        if not shopper.erased:
            asked.user = view.live.users.number(user_id)

    async def _wish(self, asked: Asked) -> None:
        """Read the wish and the filters, in a thread as both may look at the whole catalogue.

        Raises:
            OutOfTime: there is no time for filters; what does not meet them must not be listed.
        """
        live, shelf, ask = asked.view.live, asked.view.shelf, asked.ask

        def read() -> tuple[dict[str, object] | None, str, list[Bool], str | None]:
            allowed = []
            if ask.filters is not None and not ask.filters.empty:
                allowed.append(shelf.fitting(live.wishes.allowed(ask.filters), ask.filters))
            if not ask.wish:
                return None, "", allowed, None
            understood = live.wishes.read(ask.wish)
            if understood.allowed is not None:
                allowed.append(shelf.fitting(understood.allowed, understood.wish.filters))
            words = understood.wish.words
            return understood.to_dict(), words, allowed, live.wishes.strange(words, more=shelf.words_put)

        try:
            asked.answer.wish, asked.words, allowed, strange = await self._explaining.run(read, within=asked.left())
        except (TimeoutError, Busy):
            if ask.filters is not None and not ask.filters.empty:
                raise OutOfTime("no time to apply the filters; ask again, or for a larger budget_ms") from None
            asked.answer.degraded.append("wish: not read in time")
            return
        if strange is not None:
            asked.words_known = False
            asked.answer.notes.append(strange)
        for mask in allowed:
            asked.restrict(mask)
        if asked.words:
            asked.vector, asked.shopper = None, None

    def _who_answers(self, asked: Asked) -> str:
        """Decide who is to answer, where that is left open or cannot be as asked."""
        strategy, live, most = asked.ask.strategy, asked.view.live, self.settings.language_model_history
        state = ahead.state_of(asked, most=most) if strategy in ("auto", "full") else None
        asked.answer.ahead = state
        if state == "hit":
            asked.answer.strategy = ahead.STRATEGY
            return ahead.STRATEGY
        if strategy == "auto":
            few = len(asked.history) + len(asked.later) <= most
            later = state == "stale" or (state == "missing" and self._ranks_ahead)
            strategy = "full" if live.asking and few and not later else "fast"
            weak = live.wish_share(strategy) < HEEDED
            if asked.words and weak and asked.words_known and asked.ask.offered is None:
                strategy = "text" if asked.profile is not None and asked.profile.known else strategy
        if strategy == "text" and (asked.profile is None or not asked.profile.known):
            if asked.view.texts is None:
                asked.answer.degraded.append("texts: not indexed yet, or there are none")
            strategy = "retriever"
        if asked.words and (remark := live.wish_remark(strategy, offered=asked.ask.offered is not None)):
            asked.answer.notes.append(remark)
        asked.answer.strategy = strategy
        return strategy

    async def _made_ahead(self, asked: Asked) -> tuple[Ranking, str]:
        """Return what was made ahead; where too little of it can be listed, what the first stage finds stands below."""
        ranking, source = ahead.ranking_of(asked)
        wanted, there = listing.width_for(asked), ranking.items.shape[1]
        if there >= wanted:
            return ranking, source
        asked.ahead = there
        found = asked.listed(await self._retrieve(asked, "retriever"))
        if not there:
            return found, asked.view.live.pipeline.stages[0].recommender.name
        return append_below(ranking, found, wanted), source

    async def _retrieve(self, asked: Asked, strategy: str) -> Found:
        """Ask the first stage, or the text index."""
        live, texts = asked.view.live, asked.view.texts
        if strategy == "popular":
            return _nothing()
        if strategy == "text" and texts is not None:
            question = self._question(asked, strategy, asked.profile)
            return await self._in_batch(asked, texts.retriever, question, quick=False)
        question = self._question(asked, strategy, asked.vector)
        if live.retriever_asks:
            outcome = await self.language_model.call(
                lambda: _usable(live.retriever.answer([question])[0]), within=asked.left()
            )
            if outcome.value is None:
                asked.answer.degraded.append(outcome.fault)
            return outcome.value or _nothing()
        found = await self._in_batch(asked, live.retriever, question, quick=live.quick)
        shopper = asked.shopper
        if shopper is not None and shopper.history is asked.history and shopper.seen_by is asked.view.shelf:
            shopper.vector = found.vector  # nothing happened meanwhile, and the model is the same
        return found

    async def _in_batch(self, asked: Asked, retriever: Retriever, question: Question, *, quick: bool) -> Found:
        future = self._batcher(retriever, quick=quick).ask(question)
        if quick:
            try:
                return await future
            except Exception as error:
                return _failed(asked, error)
        try:
            async with asyncio.timeout(asked.left()):
                return await future
        except (TimeoutError, Busy):
            asked.answer.degraded.append("retriever: no answer in time")
            return _nothing()
        except Exception as error:
            return _failed(asked, error)

    def _question(self, asked: Asked, strategy: str, vector: Vector | None) -> Question:
        ask, live, shelf = asked.ask, asked.view.live, asked.view.shelf
        size = live.size
        width = listing.width_for(asked)
        if strategy in ("fast", "full") and len(live.pipeline.stages) > 1:
            width = max(width, live.keep)
        allowed = None if asked.allowed is None else asked.allowed[:size]
        if len(shelf.off) > FEW_OFF:
            allowed = shelf.listed_mask if allowed is None else allowed & shelf.listed_mask
        spare = len(shelf.off) if len(shelf.off) <= FEW_OFF else 0
        barred = len(asked.unlisted) + len(asked.had)
        if barred <= FEW_HAD:
            spare += barred
        else:
            allowed = np.ones(size, dtype=bool) if allowed is None else allowed.copy()
            never = np.array([*asked.unlisted, *asked.had], dtype=np.int32)
            allowed[never[(never >= 0) & (never < size)]] = False
        offered = None
        if ask.offered is not None:
            numbers, missing = shelf.numbers(list(dict.fromkeys(ask.offered)))
            asked.answer.missing += missing
            offered = numbers[numbers < size]
            width, spare = max(1, len(offered)), 0
        most = min(size, width + spare)
        return Question(asked.history, most, asked.words, asked.user, allowed, offered, ask.may_repeat, vector)

    async def _rank(self, asked: Asked, found: Found, strategy: str) -> tuple[Ranking, str]:
        """Let the later stages re-rank what was found; return the list and who had the last word."""
        live, answer = asked.view.live, asked.answer
        source = "text" if strategy == "text" else live.pipeline.stages[0].recommender.name
        ranking = asked.listed(found)
        if strategy not in ("fast", "full") or not ranking.items.shape[1] or len(live.pipeline.stages) == 1:
            return ranking, source
        query, seen = asked.query(), asked.ask.may_repeat
        for number in sorted([*live.later, *(live.asking if strategy == "full" else [])]):
            asks = number in live.asking
            gate = self.language_model if asks else self.ranking
            began, before = time.perf_counter(), ranking

            def refine(number: int = number, before: Ranking = before) -> tuple[Ranking, bool]:
                better, silent = live.pipeline.refined(number, query, before, seen=seen)
                return better, not silent.any()

            outcome = await gate.call(refine, within=asked.left())
            asked.lap("language_model" if asks else "rank", began)
            if outcome.value is None:
                answer.degraded.append(outcome.fault)
            else:
                ranking, source = outcome.value, live.pipeline.stages[number].recommender.name
        return ranking, source

    async def _explain(self, asked: Asked) -> None:
        """Give reasons, if there is time."""
        began = time.perf_counter()
        try:
            language = self.settings.reasons_language
            given = await self._explaining.run(lambda: explaining.reasons(asked, language), within=asked.left())
        except (TimeoutError, Busy):
            asked.answer.notes.append("reasons were left out: no time")
        except Exception as error:  # a list without reasons is better than none
            log.error("reasons failed: %s", type(error).__name__)
            asked.answer.notes.append("reasons were left out: they failed")
        else:
            for one, reason in zip(asked.answer.items, given, strict=True):
                one.reason = reason
        asked.lap("explain", began)

    def _batcher(self, retriever: Retriever, *, quick: bool) -> Batcher[Question, Found]:
        known = self._batchers.get(id(retriever))
        if known is None or known[0] != quick:
            known = self._batchers[id(retriever)] = (
                quick,
                Batcher(
                    retriever.answer,
                    wait=self.settings.batch_wait_ms / 1e3,
                    most=self.settings.batch_most,
                    expected=lambda: self.in_flight,
                    workers=None if quick else self._retrieving,
                ),
            )
        return known[1]

    async def activate(self, live: Live) -> None:
        """Let a loaded model answer from the next request on; those under way end with the one they began with."""
        await self.views.activate(live)
        kept = {id(one) for one in self.views.retrievers()}
        self._batchers = {key: value for key, value in self._batchers.items() if key in kept}


def _nothing() -> Found:
    return Found(np.empty(0, np.int32), np.empty(0, np.float32))


def _failed(asked: Asked, error: Exception) -> Found:
    """Go on without the retriever: a fault of it must not become one of the answer."""
    log.error("retriever failed: %s", type(error).__name__)
    asked.answer.degraded.append("retriever: failed")
    return _nothing()


def _usable(found: Found) -> tuple[Found, bool]:
    return found, bool(len(found.items))
