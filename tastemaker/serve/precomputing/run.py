"""Making rankings ahead from the command line: no service, one or more processes that rank."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Literal

from tastemaker import artifact, saved
from tastemaker.errors import ConfigError, LanguageModelError
from tastemaker.progress import Progress, silent
from tastemaker.serve.engine.calling.pools import Pools
from tastemaker.serve.engine.live import Live
from tastemaker.serve.engine.room import Room
from tastemaker.serve.engine.workers import Workers
from tastemaker.serve.precomputing import making
from tastemaker.serve.precomputing.child import Child
from tastemaker.serve.service import version_of
from tastemaker.serve.shops import Shop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tastemaker.serve.precomputing.tasks import Worker
    from tastemaker.serve.settings import Settings
    from tastemaker.store.store import Store

Whom = Literal["active", "known", "all"]
"""Shoppers with stored events, those who came last first; those that the model was fitted with; both."""
IN_VAIN = 3
"""Blocks in a row that come to nothing, after which the rest is given up."""


def precompute(
    store: Store,
    tenant: str,
    folder: Path,
    shoppers: Whom | Sequence[str],
    settings: Settings,
    *,
    limit: int | None = None,
    workers: int = 1,
    again: bool = False,
    start: Callable[[Path], Worker] | None = None,
    progress: Progress = silent,
) -> tuple[str, Counter[str]]:
    """Make rankings ahead and keep them in a store; what holds already is passed over, so it may be begun again.

    Args:
        store: open for writing.
        tenant: the shop.
        folder: of the saved model that answers, or will.
        shoppers: for whom.
        settings: of the service; its depth, reasons and longest history count.
        limit: the first so many of them; None for all.
        workers: processes that rank, each with a copy of the model and one thread.
        again: also where a ranking holds.
        start: starts what ranks; None starts processes.
        progress: shown over the blocks.

    Returns:
        The version of the model, and how many shoppers came to which of `making.OUTCOMES`.

    Raises:
        ArtifactError: the folder holds no sound model.
        ConfigError: the model has nothing to rank ahead.
        LanguageModelError: nothing usable comes of it, time after time.
        WorkerError: the processes cannot work.
    """
    digest = artifact.fingerprint(folder)
    model = saved.load(folder, keep_answers=False)  # the weights of its later stages are not needed here
    live = Live(model, version_of(folder), folder=folder)
    live.warm_up()
    if len(live.pipeline.stages) == 1:
        raise ConfigError(f"{folder}: one stage alone is quick enough for requests; there is nothing to make ahead")
    if live.retriever_asks:
        raise ConfigError(f"{folder}: its first stage asks a language model; put a retriever before it")
    users = list(dict.fromkeys(_users(store, tenant, live, shoppers)))[:limit]
    depth, reasons = settings.precompute_depth, settings.precompute_reasons
    begin = start or (lambda place: Child(place, depth=depth, reasons=reasons, digest=digest))
    blocks = [users[first : first + making.BLOCK] for first in range(0, len(users), making.BLOCK)]
    pools = Pools(settings)
    ranking = [begin(folder) for _ in range(max(1, min(workers, len(blocks))))]
    try:
        shown = progress(blocks, label="ranking ahead", total=len(blocks))
        shop = Shop(tenant, settings, store, pools, Room(settings.shoppers))
        counts = asyncio.run(_run(shop, live, shown, ranking, settings, again=again))
    finally:
        pools.close(within=0.0)
        for worker in ranking:
            worker.close()
    return live.version, counts


async def _run(
    shop: Shop, live: Live, blocks: Iterator[list[str]], ranking: Sequence[Worker], settings: Settings, *, again: bool
) -> Counter[str]:
    await shop.begin()
    await shop.engine.activate(live)
    threads = Workers(len(ranking), waiting=len(ranking), name="precompute")
    counts: Counter[str] = Counter()
    in_vain = 0

    async def work(worker: Worker) -> None:
        nonlocal in_vain
        for block in blocks:
            found = await making.make(shop, block, lambda _: worker, threads, settings, again=again)
            counts.update(found)
            in_vain = in_vain + 1 if found["failed"] and not found["made"] else 0
            if in_vain >= IN_VAIN:
                raise LanguageModelError(
                    f"no usable ranking in {IN_VAIN} blocks of shoppers one after the other; {counts['made']:,} are "
                    "made and kept; see to the language model, then begin again"
                )

    try:
        await asyncio.gather(*(work(worker) for worker in ranking))
    finally:
        threads.close()
    return counts


def _users(store: Store, tenant: str, live: Live, shoppers: Whom | Sequence[str]) -> list[str]:
    if not isinstance(shoppers, str):
        return list(shoppers)
    known: list[str] = live.model.users.frame["id"].to_list() if shoppers in ("known", "all") else []
    active = store.recent_users(tenant, EVERYBODY) if shoppers in ("active", "all") else []
    return [*active, *known]


EVERYBODY = 2**31 - 1
