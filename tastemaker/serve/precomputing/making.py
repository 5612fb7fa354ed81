"""Making rankings ahead for shoppers of one shop, a block at a time, and keeping them in the store.

Each block is on disk before the next one begins, and a shopper whose ranking holds is passed over: work that was ended
in the middle goes on where it was.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from tastemaker.serve.engine import ahead
from tastemaker.serve.engine.asks import Ask
from tastemaker.serve.precomputing.tasks import Task
from tastemaker.store.records import MadeRanking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tastemaker.data.ranking import Ranking
    from tastemaker.serve.engine.asked import Asked
    from tastemaker.serve.engine.live import Live
    from tastemaker.serve.engine.workers import Workers
    from tastemaker.serve.precomputing.tasks import Result, Worker
    from tastemaker.serve.settings import Settings
    from tastemaker.serve.shops import Shop

BLOCK = 8
"""Shoppers who are ranked together: enough for a model that reads them in one go, few enough to lose at a kill."""
PATIENCE = 3600.0
"""Seconds for what is read of the store and the retriever, beside requests that go first."""
OUTCOMES = ("made", "fresh", "failed", "nothing to gain", "no history", "erased", "elsewhere")
"""What can come of a shopper; elsewhere: another process over the same store is making the ranking."""


async def make(
    shop: Shop,
    user_ids: Iterable[str],
    worker_of: Callable[[Live], Worker],
    threads: Workers,
    settings: Settings,
    *,
    again: bool = False,
) -> Counter[str]:
    """Make rankings for some shoppers of a shop in one block.

    Args:
        shop: with a model that answers and a store.
        user_ids: the shoppers.
        worker_of: gives what ranks with a model.
        threads: where it is waited for.
        settings: of the service.
        again: also where the ranking that is there holds.

    Returns:
        How many came to which of `OUTCOMES`.

    Raises:
        NotFitted: no model answers.
        WorkerError: the worker cannot work.
        StoreError: what was made cannot be stored.
    """
    stored, run, asked_for = shop.needs_store(), shop.engine.background.run, list(user_ids)
    claim = await run(lambda: stored.store.claim_rankings(shop.tenant, asked_for))
    try:
        if not stored.store.exclusive:
            await shop.follow("rankings")  # what another process released a moment ago is there
        free = [user_id for user_id in asked_for if user_id in claim.names]
        counts = await _make(shop, free, worker_of, threads, settings, again=again)
    finally:
        await run(claim.release)
    if len(free) < len(asked_for):
        counts["elsewhere"] = len(asked_for) - len(free)
    return counts


async def _make(
    shop: Shop,
    user_ids: Sequence[str],
    worker_of: Callable[[Live], Worker],
    threads: Workers,
    settings: Settings,
    *,
    again: bool,
) -> Counter[str]:
    counts: Counter[str] = Counter()
    live = shop.engine.views.current().live
    tasks: list[tuple[Asked, Task]] = []
    for user_id in user_ids:
        ask = Ask(time.perf_counter(), settings.precompute_depth, PATIENCE, "full", user_id, preview=True)
        asked, offered = await shop.engine.candidates(ask)
        outcome = _outcome(asked, settings, again=again)
        if asked.view.live is not live:  # the model was exchanged meanwhile
            outcome = "failed"
        if outcome is None:
            tasks.append((asked, _task(asked, offered)))
        else:
            counts[outcome] += 1
    if tasks:
        worker = worker_of(live)
        results = await threads.run(lambda: worker.ask([task for _, task in tasks]))
        counts.update(await _keep(shop, [asked for asked, _ in tasks], results, settings))
    return counts


def _outcome(asked: Asked, settings: Settings, *, again: bool) -> str | None:
    """Say why no ranking is made for a shopper; None where one is."""
    shopper = asked.shopper
    if shopper is None or shopper.erased:
        return "erased" if shopper is not None else "failed"
    if not len(asked.history):
        return "no history"
    most = settings.language_model_history
    if not ahead.worth_it(asked.view.live, len(asked.history) + len(asked.later), most=most):
        return "nothing to gain"
    made = shopper.made
    holds = ahead.state_of(asked, most=most) == "hit" and made is not None
    if holds and made is not None and made.wanted_reasons >= settings.precompute_reasons and not again:
        return "fresh"
    return None


def _task(asked: Asked, offered: Ranking) -> Task:
    kept = {}
    if asked.made is not None:
        shelf = asked.view.shelf
        kept = {shelf.number(item_id): dict(reason) for item_id, reason in asked.made.reasons.items()}
    return Task(asked.history.tolist(), asked.user, offered.items[0].tolist(), offered.scores[0].tolist(), kept)


async def _keep(shop: Shop, asked: Sequence[Asked], results: Sequence[Result], settings: Settings) -> Counter[str]:
    """Store what was made, and let the next answers know of it."""
    stored, made = shop.needs_store(), []
    for one, result in zip(asked, results, strict=True):
        if result.fault or one.ask.user_id is None:
            continue
        shelf = one.view.shelf
        made.append(
            MadeRanking(
                one.ask.user_id,
                one.view.live.version,
                one.digest,
                tuple(shelf.id_of(item) for item in result.items),
                tuple(result.scores),
                result.source,
                {shelf.id_of(item): reason for item, reason in result.reasons.items()},
                settings.precompute_reasons,
                shop.revision,
                shop.rules_version,
            )
        )
    statuses = await shop.engine.background.run(lambda: stored.store.put_rankings(shop.tenant, made))
    for ranking, status in zip(made, statuses, strict=True):
        if status == "stored":
            shop.engine.shoppers.ranked(ranking)
    counts = Counter({"made": statuses.count("stored"), "erased": statuses.count("erased")})
    counts["failed"] = len(results) - len(made)
    return counts
