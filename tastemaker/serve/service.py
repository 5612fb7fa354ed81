"""What stands behind the routes: settings, the shops, keys, limits, metrics, and what goes on beside requests."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tastemaker import artifact
from tastemaker.errors import NotFitted, TastemakerError
from tastemaker.serve.auth import Accesses
from tastemaker.serve.backing import StoreKeys
from tastemaker.serve.engine.calling.pools import Pools
from tastemaker.serve.engine.live import Live
from tastemaker.serve.engine.room import Room
from tastemaker.serve.engine.workers import Busy, OutOfTime, Workers
from tastemaker.serve.jobs import Jobs
from tastemaker.serve.limits import Limits
from tastemaker.serve.metrics import Metrics
from tastemaker.serve.precomputing.background import Background
from tastemaker.serve.precomputing.child import WorkerError
from tastemaker.serve.problems import Problem
from tastemaker.serve.recording import Traces
from tastemaker.serve.shops import Shop
from tastemaker.store.errors import StoreBusy, StoreCorrupt, StoreError, StoreFull, StoreReadOnly

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tastemaker.serve.auth import Keys
    from tastemaker.serve.engine.asks import Answer, Ask
    from tastemaker.serve.settings import Settings
    from tastemaker.store.health import Condition
    from tastemaker.store.store import Store

TENANT = "default"
TRIED = 0.5
"""Seconds between two tries of a store that failed, and for which who asks waits for one."""
OPENING = 5.0
"""Seconds that a request waits for a shop to be opened."""
ENDING = 2.0
"""Seconds that a stop waits for threads."""
log = logging.getLogger("tastemaker.serve")


class Service:
    """One process that serves.

    Args:
        settings: of the service.
        store: None where nothing is stored.
        keys: of access beside those of the store.

    Attributes:
        shops: by tenant.
        models: by tenant, the folder in which further versions of its first model may lie; no other tenant may look
            there, as a model holds the histories it was fitted with.
        ahead: makes rankings beside the requests.
        stopping: whether it is about to end: it is not ready any more, and goes on answering.
        fault: why it could not begin; None where it could, and where nobody knows.
    """

    def __init__(self, settings: Settings, *, store: Store | None = None, keys: Sequence[Keys] = ()) -> None:
        self.settings, self.store = settings, store
        self.shops: dict[str, Shop] = {}
        self.models: dict[str, Path] = {}
        self.stopping = False
        self.fault: TastemakerError | None = None
        sources = [*keys, *([] if store is None else [StoreKeys(store)])]
        self.access = Accesses(sources, tenant=TENANT)
        self.limits = Limits(settings)
        self.metrics = Metrics()
        self.workers = Workers(2, waiting=1024, name="service")
        self.pools = Pools(settings)
        self.room = Room(settings.shoppers)
        self.traces = None if store is None else Traces(store, self.workers, keep=settings.rule_lists)
        self.jobs = Jobs(store, self.workers)
        self.ahead = Background(settings, self.shops)
        self._first: dict[str, tuple[Live, Path]] = {}  # models to be active from the start
        self._kept: frozenset[str] = frozenset()  # shops that could not be opened again
        self._tasks: list[asyncio.Task[None]] = []
        self._trying: asyncio.Future[None] | None = None
        self._settled = False
        self._closed_one = False  # a shop with a model, which is opened again when it is asked for
        self._opening: dict[str, asyncio.Task[Shop]] = {}
        self._following: dict[str, asyncio.Task[None]] = {}
        self._faults: dict[str, str] = {}  # by tenant: why the store cannot be followed, so that it is said once

    def add_model(self, folder: Path, *, live: Live | None = None, tenant: str = TENANT) -> Live:
        """Load a saved model that answers for a tenant from the start.

        Args:
            folder: where it lies.
            live: the model, if it is loaded already.
            tenant: the shop.

        Raises:
            ArtifactError, ConfigError, MissingExtra: it cannot be loaded.
        """
        folder = Path(folder)
        live = live or load_model(folder)
        self._first[tenant] = (live, folder)
        self.models.setdefault(tenant, folder.resolve().parent)
        return live

    async def start(self) -> None:
        """Begin what goes on beside requests; nothing is answered before it is done.

        Indexes are waited for, at most `settle_seconds`; until they are there the service says that it is not ready.
        """
        await self.jobs.start()
        known = [] if self.store is None else await self.workers.run(self.store.tenants)
        tenants = list(dict.fromkeys([*self._first, *known]))
        for tenant in tenants[: max(len(self._first), self.settings.tenants)]:
            try:
                await self._begin(tenant)
            except Exception as error:  # such as a damaged page; this shop is tried again when it is asked for
                if tenant in self._first:
                    raise
                told = error if isinstance(error, TastemakerError) else type(error).__name__
                log.error("a shop cannot be opened: %s", told)
        for tenant, (live, folder) in self._first.items():
            await self.shops[tenant].begin_with(live, folder)
        self._kept = frozenset(self._first) if self.store is None else frozenset()
        self._first.clear()
        loop = asyncio.get_running_loop()
        settling = loop.create_task(self._settle())
        self._tasks.append(settling)
        if self.store is not None and not self.store.exclusive:
            self._tasks.append(loop.create_task(self._follow(self.store)))
        await asyncio.wait([settling], timeout=self.settings.settle_seconds)
        if self.store is not None and self.settings.precompute:
            self._tasks.append(loop.create_task(self.ahead.run()))

    async def _settle(self) -> None:
        await asyncio.gather(*(shop.engine.views.settled() for shop in self.shops.values()))
        self._settled = True

    async def _begin(self, tenant: str) -> Shop:
        shop = Shop(tenant, self.settings, self.store, self.pools, self.room)
        await shop.begin()
        if tenant not in self._first:
            await shop.begin_active()
        shop.used = time.perf_counter()
        self.shops[tenant] = shop
        return shop

    async def enter(self, tenant: str, now: float) -> Shop:
        """Return a shop to answer a request, open; whoever enters leaves it afterwards, `shop.under_way -= 1`.

        A shop that is not open is opened, and then the one that was not asked for longest is closed if there are more
        than `tenants` of them.

        Args:
            tenant: its name.
            now: on the clock of `time.perf_counter`.

        Raises:
            Problem: 503, it takes its time; asking again finds it open.
        """
        end = time.perf_counter() + OPENING
        while (shop := self.shops.get(tenant)) is None:  # one just opened may be closed again before this goes on
            opening = self._opening.get(tenant)
            if opening is None:
                opening = self._opening[tenant] = asyncio.get_running_loop().create_task(self._begin(tenant))
                opening.add_done_callback(lambda done: self._opened(tenant, done))
            done, _ = await asyncio.wait([opening], timeout=max(0.0, end - time.perf_counter()))
            if not done:
                raise Problem(503, "this shop is being opened", retry_after=OPENING)
            opening.result()
        shop.under_way, shop.used = shop.under_way + 1, now
        while len(self.shops) > self.settings.tenants and self._close_one():
            pass
        return shop

    def _opened(self, tenant: str, done: asyncio.Task[Shop]) -> None:
        self._opening.pop(tenant, None)
        if not done.cancelled():
            done.exception()  # whoever waits gets it; nobody may wait any more

    def _close_one(self) -> bool:
        """Close the shop not asked for longest, of those that nobody is busy in and that can be opened again."""
        idle = [one for one in self.shops.values() if not one.busy and one.tenant not in self._kept]
        if not idle:
            return False
        oldest = min(idle, key=lambda one: one.used)
        del self.shops[oldest.tenant]
        oldest.close()
        self.ahead.closed(oldest.tenant)
        self._closed_one = self._closed_one or oldest.engine.views.now is not None
        self.metrics.forget(oldest.tenant)
        return True

    async def stop(self) -> None:
        """End what goes on beside requests, and all threads; called after the last request was answered."""
        self.stopping = True
        tasks: list[asyncio.Future[Any]] = [*self._tasks, *self._opening.values(), *self._following.values()]
        tasks += [] if self._trying is None else [self._trying]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.jobs.close()
        self.ahead.close()
        if self.traces is not None:
            await self.traces.flush()
        if self.store is not None:
            await self.workers.run(self.store.flush)
        ended = await asyncio.to_thread(self.pools.close, within=ENDING)
        if not (await asyncio.to_thread(self.workers.close, within=ENDING) and ended):
            log.warning("threads are still at work, such as calls of a language model that hang; they are left behind")

    async def _follow(self, store: Store) -> None:
        """Look now and then at what other processes wrote, at all shops at once; only what changed is read."""
        while True:
            await asyncio.sleep(self.settings.follow_seconds)
            tenants = list(self.shops)
            try:
                revisions = await self.workers.run(partial(store.revisions, tenants))
            except Exception as error:  # whatever it is, the next look may go well
                self._say("", error)
                continue
            self._faults.pop("", None)
            for tenant, now in revisions.items():
                shop = self.shops.get(tenant)
                if shop is not None and tenant not in self._following and shop.behind(now):
                    task = asyncio.get_running_loop().create_task(self._follow_one(shop, now))
                    self._following[tenant] = task

    async def _follow_one(self, shop: Shop, revisions: Mapping[str, int]) -> None:
        try:
            await shop.follow(revisions=revisions)
            self._faults.pop(shop.tenant, None)
        except Exception as error:  # one shop's fault must not keep others from being followed, nor this one later
            self._say(shop.tenant, error)
        finally:
            self._following.pop(shop.tenant, None)

    def _say(self, tenant: str, error: Exception) -> None:
        fault = type(error).__name__
        if self._faults.get(tenant) != fault:
            self._faults[tenant] = fault
            log.warning("the store cannot be followed: %s", fault, exc_info=not isinstance(error, TastemakerError))

    async def answer(self, tenant: str, ask: Ask, *, shown: bool = False) -> Answer:
        """Answer a request for a list.

        Args:
            tenant: the shop.
            ask: what is wanted.
            shown: whether the list goes to a shopper, so that it is noted what it showed.

        Raises:
            Problem: the shop has no model.
        """
        answer = await self.shop(tenant).answer(ask)
        self.metrics.list(answer)
        self.ahead.asked(tenant, ask.user_id, answer)
        if shown:
            self.metrics.shown(tenant, answer)
            if self.traces is not None:
                self.traces.list(tenant, ask.user_id, answer)
        return answer

    def shop(self, tenant: str) -> Shop:
        """Return a shop; one that nobody knew begins empty."""
        shop = self.shops.get(tenant)
        if shop is None:
            shop = self.shops[tenant] = Shop(tenant, self.settings, self.store, self.pools, self.room)
        return shop

    def problem_of(self, error: TastemakerError) -> Problem:
        """Return the refusal that an error stands for."""
        if isinstance(error, NotFitted):
            return Problem(409, str(error))
        if isinstance(error, StoreBusy):
            return Problem(503, "the store is busy", retry_after=error.retry_after)
        if isinstance(error, WorkerError):
            return Problem(503, str(error), retry_after=60)
        if isinstance(error, Busy):
            return Problem(503, "too much is under way", retry_after=1)
        if isinstance(error, OutOfTime):
            return Problem(503, str(error), retry_after=1)
        if isinstance(error, StoreError):
            log.error("store: %s", error)
            if isinstance(error, StoreFull):
                return Problem(507, "the disk of the store is full; nothing was stored, lists go on", retry_after=60)
            what = "cannot be reached"
            if isinstance(error, StoreCorrupt | StoreReadOnly):
                what = "is damaged" if isinstance(error, StoreCorrupt) else "cannot be written"
            return Problem(503, f"the store {what}; nothing was stored, lists go on", retry_after=60)
        return Problem(400, str(error))

    async def condition(self) -> Condition | None:
        """Return what the store can do, None without one; where it could not do all, it is tried again."""
        store = self.store
        if store is None:
            return None
        if store.condition.state not in ("ok", "damaged") and self._trying is None:
            self._trying = asyncio.ensure_future(self._try_again(store))
        if self._trying is not None:
            await asyncio.wait([self._trying], timeout=TRIED)
        return store.condition

    async def _try_again(self, store: Store) -> None:
        try:
            await self.workers.run(store.try_again)
        except TastemakerError:
            await asyncio.sleep(TRIED)  # not at each question
        finally:
            self._trying = None

    @property
    def why_not_ready(self) -> str:
        """Why requests should not come here, in a few words; "" where they should."""
        if self.stopping:
            return "stopping"
        if not self._closed_one and all(shop.engine.views.now is None for shop in self.shops.values()):
            faults = self.model_faults
            return "the active model cannot be loaded; the log says why" if faults else "no model is active"
        return "" if self._settled else "indexes are being made"

    @property
    def model_faults(self) -> int:
        """Number of open shops whose active model cannot be loaded."""
        return sum(shop.fault is not None for shop in self.shops.values())

    @property
    def ready(self) -> bool:
        """Whether requests should come here."""
        return not self.why_not_ready


def load_model(folder: Path) -> Live:
    """Load a saved model under the version that its folder makes; errors as in `Service.add_model`."""
    return Live.load(folder, version_of(folder))


def version_of(folder: Path) -> str:
    """Return the name of a saved model's version: its folder's name, and digits of what it holds and where."""
    try:
        content = (folder / artifact.MANIFEST).read_bytes() + str(folder.resolve()).encode()
        digest = hashlib.sha256(content).hexdigest()[:10]
    except OSError:
        digest = "missing"  # loading says it better
    return f"{folder.resolve().name}-{digest}"
