"""Rankings made ahead while the service answers: for those who came and had none, with a share of one processor core.

Requests go first: the work is done by a child process of low priority, a block at a time, with pauses.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from tastemaker.errors import TastemakerError
from tastemaker.serve.engine.workers import Workers
from tastemaker.serve.precomputing import making
from tastemaker.serve.precomputing.child import Child
from tastemaker.serve.precomputing.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.serve.engine.asks import Answer
    from tastemaker.serve.engine.live import Live
    from tastemaker.serve.precomputing.tasks import Worker
    from tastemaker.serve.settings import Settings
    from tastemaker.serve.shops import Shop

log = logging.getLogger("tastemaker.serve")
LOOK = 1.0
"""Seconds between two looks at whether a shop has another model."""
IDLE = 300.0
"""Seconds without work after which the child process, and its copy of the model, is let go."""
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0
"""Seconds without work after a block that came to nothing; each further one doubles them."""


class Background:
    """Makes rankings ahead for all shops of a service, those who came last first.

    Args:
        settings: of the service.
        shops: by tenant.

    Attributes:
        waiting: shoppers whose rankings are still to be made.
        counts: shoppers by what came of them, see `making.OUTCOMES`.
    """

    def __init__(self, settings: Settings, shops: dict[str, Shop]) -> None:
        self.settings, self._shops = settings, shops
        self.waiting = Waiting(settings.precompute_waiting)
        self.counts: Counter[str] = Counter()
        self._threads: Workers | None = None
        self._child: tuple[Live, Child] | None = None
        self._working = asyncio.Lock()
        self._wake = asyncio.Event()
        self._seen: dict[str, str] = {}  # tenant -> the model that its latest shoppers were let wait for
        self._failures = 0

    def asked(self, tenant: str, user_id: str | None, answer: Answer) -> None:
        """Take note of an answer: whoever had no ranking that holds waits for one."""
        if user_id is None or not self.settings.precompute or answer.ahead not in ("stale", "missing"):
            return
        self.waiting.add(tenant, user_id)
        self._wake.set()

    async def run(self) -> None:
        """Make rankings for those who wait, for ever."""
        idle_since = time.monotonic()
        while True:
            try:
                await self._look()
            except Exception as error:  # such as a store that is away; the next look may go well
                log.warning("it is not known who came last: %s", type(error).__name__)
                await asyncio.sleep(LOOK)
            if not len(self.waiting):
                self._wake.clear()
                if time.monotonic() - idle_since > IDLE:
                    self.release()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), LOOK)
                continue  # who waited may have been erased by now
            tenant, user_ids = self.waiting.take(making.BLOCK)
            await asyncio.sleep(await self._block(tenant, user_ids))
            idle_since = time.monotonic()

    async def make(self, tenant: str, user_ids: Sequence[str], *, again: bool = False) -> Counter[str]:
        """Make rankings for some shoppers now, without pauses between the blocks; return what came of them.

        Raises:
            TastemakerError: no model answers, it cannot be loaded, or what was made cannot be stored.
        """
        counts: Counter[str] = Counter()
        for start in range(0, len(user_ids), making.BLOCK):
            counts.update(await self._made(tenant, user_ids[start : start + making.BLOCK], again=again))
        return counts

    def forget(self, tenant: str, user_id: str) -> None:
        """Let a shopper who was erased wait no more."""
        self.waiting.remove(tenant, user_id)

    def release(self) -> None:
        """End the child process; the next work starts another one."""
        child, self._child = self._child, None
        if child is not None:
            child[1].close()

    def close(self) -> None:
        """End everything."""
        self.release()
        if self._threads is not None:
            self._threads.close()

    async def _look(self) -> None:
        """Let the latest shoppers of a shop wait that has another model than before."""
        for tenant, shop in list(self._shops.items()):
            view, stored = shop.engine.views.now, shop.stored
            if view is None or stored is None or self._seen.get(tenant) == view.live.version:
                continue
            recent = partial(stored.store.recent_users, tenant, self.settings.precompute_recent)
            self.waiting.add_behind(tenant, await shop.engine.background.run(recent))
            self._seen[tenant] = view.live.version

    async def _block(self, tenant: str, user_ids: Sequence[str]) -> float:
        """Make one block; return the seconds to pause, so that the share of the processor is kept to."""
        began = time.perf_counter()
        try:
            counts = await self._made(tenant, user_ids, again=False)
        except Exception as error:  # answers go on without rankings made ahead
            log.warning("rankings cannot be made ahead now: %s", type(error).__name__)
            counts = Counter(failed=len(user_ids))
        self.counts.update(counts)
        self._failures = self._failures + 1 if counts["failed"] and not counts["made"] else 0
        if self._failures:
            return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self._failures - 1)))
        share = self.settings.precompute_share
        return (time.perf_counter() - began) * (1 / share - 1)

    async def _made(self, tenant: str, user_ids: Sequence[str], *, again: bool) -> Counter[str]:
        threads = self._threads = self._threads or Workers(1, waiting=1, name="precompute")
        async with self._working:
            shop = self._shops.get(tenant)
            if shop is None:  # closed meanwhile; who comes again waits again
                return Counter(failed=len(user_ids))
            with shop.occupied():
                return await making.make(shop, user_ids, self._worker, threads, self.settings, again=again)

    def _worker(self, live: Live) -> Worker:
        """Return the child process with a model; that with another one ends.

        Raises:
            TastemakerError: nobody knows where the model lies.
        """
        if self._child is None or self._child[0] is not live:
            self.release()
            if live.folder is None:
                raise TastemakerError("the model was not loaded from a folder, so no other process can load it")
            depth, reasons = self.settings.precompute_depth, self.settings.precompute_reasons
            self._child = (live, Child(live.folder, depth=depth, reasons=reasons, digest=live.digest))
        return self._child[1]
