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
from tastemaker.serve.precomputing.turns import FIRST_PAUSE, TURN, Turns
from tastemaker.serve.precomputing.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tastemaker.serve.engine.asks import Answer
    from tastemaker.serve.engine.live import Live
    from tastemaker.serve.precomputing.tasks import Worker
    from tastemaker.serve.settings import Settings
    from tastemaker.serve.shops import Shop

log = logging.getLogger("tastemaker.serve")
LOOK = 1.0
"""Seconds between two looks at whether a shop has another model, and at who may go on."""
IDLE = 300.0
"""Seconds without work after which the child process, and its copy of the model, is let go."""


class Background:
    """Makes rankings ahead for all shops of a service, those who came last first.

    There is one child process. Shops take turns at it, and what fails for one of them is no matter of another.

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
        self._child: tuple[Path, str, Child] | None = None  # with folder and fingerprint of its model
        self._working = asyncio.Lock()
        self._wake = asyncio.Event()
        self._turns = Turns()
        self._seen: dict[str, str] = {}  # tenant -> the model that its latest shoppers were let wait for
        self._next_look: dict[str, float] = {}  # of a shop whose look failed
        self._jobs = 0  # calls of `make` under way
        self._worked_at = time.monotonic()

    def asked(self, tenant: str, user_id: str | None, answer: Answer) -> None:
        """Take note of an answer: whoever had no ranking that holds waits for one."""
        if user_id is None or not self.settings.precompute or answer.ahead not in ("stale", "missing"):
            return
        self.waiting.add(tenant, user_id)
        self._wake.set()

    async def run(self) -> None:
        """Make rankings for those who wait, for ever."""
        while True:
            await self._look()
            tenant = self._turns.next(self.waiting.tenants)
            if tenant is None:
                self._wake.clear()
                if time.monotonic() - self._worked_at > IDLE and not self._working.locked():
                    self.release()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), LOOK)
                continue  # who waited may have been erased by now
            await asyncio.sleep(await self._block(tenant, self.waiting.take(tenant, making.BLOCK)))

    async def make(self, tenant: str, user_ids: Sequence[str], *, again: bool = False) -> Counter[str]:
        """Make rankings for some shoppers of an open shop now, without pauses; return what came of them.

        Raises:
            TastemakerError: no model answers, it cannot be loaded, or what was made cannot be stored.
        """
        counts: Counter[str] = Counter()
        blocks = [user_ids[first : first + making.BLOCK] for first in range(0, len(user_ids), making.BLOCK)]
        self._jobs += 1
        try:
            while blocks:
                async with self._working:  # for a turn: others may need another model
                    end = time.monotonic() + TURN
                    while blocks and time.monotonic() < end:
                        counts.update(await self._made(self._shops[tenant], blocks.pop(0), again=again))
        finally:
            self._jobs -= 1
            if not self.settings.precompute and not self._jobs:
                self.release()
        return counts

    def forget(self, tenant: str, user_id: str) -> None:
        """Let a shopper who was erased wait no more."""
        self.waiting.remove(tenant, user_id)

    def closed(self, tenant: str) -> None:
        """Let nobody of a shop wait that was closed: who comes again waits again."""
        self.waiting.clear(tenant)

    def release(self) -> None:
        """End the child process; the next work starts another one."""
        child, self._child = self._child, None
        if child is not None:
            child[-1].close()

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
            if time.monotonic() < self._next_look.get(tenant, 0.0):
                continue
            recent = partial(stored.store.recent_users, tenant, self.settings.precompute_recent)
            try:
                user_ids = await shop.engine.background.run(recent)
            except Exception as error:  # such as a store that is away; the next look may go well
                log.warning("it is not known who came last: %s", type(error).__name__)
                self._next_look[tenant] = time.monotonic() + LOOK
                continue
            self._seen[tenant] = view.live.version
            if self._shops.get(tenant) is shop:  # it may have been closed meanwhile
                self.waiting.add_behind(tenant, user_ids)

    async def _block(self, tenant: str, user_ids: Sequence[str]) -> float:
        """Make one block; return the seconds to pause, so that the share of the processor is kept to."""
        async with self._working:
            shop = self._shops.get(tenant)
            if shop is None:  # closed while this waited for its turn; who comes again waits again
                return 0.0
            began = time.monotonic()
            try:
                counts = await self._made(shop, user_ids, again=False)
            except Exception as error:  # answers go on without rankings made ahead
                log.warning("rankings cannot be made ahead now: %s", type(error).__name__)
                counts = Counter(failed=len(user_ids))
            seconds = time.monotonic() - began
        self.counts.update(counts)
        in_vain = bool(counts["failed"] and not counts["made"])
        self._turns.worked(tenant, seconds, in_vain=in_vain)
        pause = seconds * (1 / self.settings.precompute_share - 1)
        return min(pause, FIRST_PAUSE) if in_vain else pause  # what hangs takes no processor, and others wait

    async def _made(self, shop: Shop, user_ids: Sequence[str], *, again: bool) -> Counter[str]:
        threads = self._threads = self._threads or Workers(1, waiting=1, name="precompute")
        try:
            with shop.occupied():
                return await making.make(shop, user_ids, self._worker, threads, self.settings, again=again)
        finally:
            self._worked_at = time.monotonic()

    def _worker(self, live: Live) -> Worker:
        """Return the child process with a model; that with another one ends.

        Raises:
            TastemakerError: nobody knows where the model lies.
        """
        if live.folder is None:
            raise TastemakerError("the model was not loaded from a folder, so no other process can load it")
        if self._child is None or self._child[:2] != (live.folder, live.digest):
            self.release()
            depth, reasons = self.settings.precompute_depth, self.settings.precompute_reasons
            child = Child(live.folder, depth=depth, reasons=reasons, digest=live.digest)
            self._child = (live.folder, live.digest, child)
        return self._child[-1]
