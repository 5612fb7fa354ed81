"""What stands behind the routes: settings, the shops, keys, limits, metrics, and what goes on beside requests."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from tastemaker import artifact
from tastemaker.errors import NotFitted, TastemakerError
from tastemaker.serve.auth import Accesses
from tastemaker.serve.backing import StoreKeys
from tastemaker.serve.engine.live import Live
from tastemaker.serve.engine.workers import Busy, Workers
from tastemaker.serve.jobs import Jobs
from tastemaker.serve.limits import Limits
from tastemaker.serve.metrics import Metrics
from tastemaker.serve.problems import Problem
from tastemaker.serve.recording import Traces
from tastemaker.serve.shops import Shop
from tastemaker.store.errors import StoreBusy, StoreCorrupt, StoreError, StoreFull, StoreReadOnly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.serve.auth import Keys
    from tastemaker.serve.engine.asks import Answer, Ask
    from tastemaker.serve.settings import Settings
    from tastemaker.store.health import Condition
    from tastemaker.store.store import Store

TENANT = "default"
TRIED = 0.5
"""Seconds between two tries of a store that failed, and for which who asks waits for one."""
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
        stopping: whether it is about to end: it is not ready any more, and goes on answering.
    """

    def __init__(self, settings: Settings, *, store: Store | None = None, keys: Sequence[Keys] = ()) -> None:
        self.settings, self.store = settings, store
        self.shops: dict[str, Shop] = {}
        self.models: dict[str, Path] = {}
        self.stopping = False
        sources = [*keys, *([] if store is None else [StoreKeys(store)])]
        self.access = Accesses(sources, tenant=TENANT)
        self.limits = Limits(settings)
        self.metrics = Metrics()
        self.workers = Workers(2, waiting=1024, name="service")
        self.traces = None if store is None else Traces(store, self.workers)
        self.jobs = Jobs(store, self.workers)
        self._first: dict[str, tuple[Live, Path]] = {}  # models to be active from the start
        self._tasks: list[asyncio.Task[None]] = []
        self._trying: asyncio.Future[None] | None = None

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
        """Begin what goes on beside requests; nothing is answered before it is done."""
        known = [] if self.store is None else await self.workers.run(self.store.tenants)
        for tenant in dict.fromkeys([*self._first, *known]):
            await self._open(tenant)
        for tenant, (live, folder) in self._first.items():
            await self.shops[tenant].begin_with(live, folder)
        self._first.clear()
        if self.store is not None and not self.store.exclusive:
            self._tasks.append(asyncio.get_running_loop().create_task(self._follow()))

    async def _open(self, tenant: str) -> Shop:
        shop = self.shops[tenant] = Shop(tenant, self.settings, self.store)
        await shop.begin()
        if self.store is not None and tenant not in self._first:
            store = self.store
            active = await self.workers.run(lambda: store.active_model(tenant))
            if active is not None:
                try:
                    await shop.activate(active.version)
                except TastemakerError as error:
                    log.error("a shop's model cannot be loaded: %s", error)
        return shop

    async def stop(self) -> None:
        """End what goes on beside requests; called after the last one was answered."""
        self.stopping = True
        tasks = [*self._tasks, *([] if self._trying is None else [self._trying])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.traces is not None:
            await self.traces.flush()
        if self.store is not None:
            await self.workers.run(self.store.flush)

    async def _follow(self) -> None:
        """Look now and then at what other processes wrote."""
        while True:
            await asyncio.sleep(self.settings.follow_seconds)
            for shop in list(self.shops.values()):
                try:
                    await shop.follow()
                except StoreError as error:
                    log.warning("the store cannot be followed: %s", type(error).__name__)

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
        if shown:
            self.metrics.shown(tenant, answer)
            if self.traces is not None:
                self.traces.list(tenant, ask.user_id, answer)
        return answer

    def shop(self, tenant: str) -> Shop:
        """Return a shop; one that nobody knew begins empty."""
        shop = self.shops.get(tenant)
        if shop is None:
            shop = self.shops[tenant] = Shop(tenant, self.settings, self.store)
        return shop

    def problem_of(self, error: TastemakerError) -> Problem:
        """Return the refusal that an error stands for."""
        if isinstance(error, NotFitted):
            return Problem(409, str(error))
        if isinstance(error, StoreBusy):
            return Problem(503, "the store is busy", retry_after=error.retry_after)
        if isinstance(error, Busy):
            return Problem(503, "too much is under way", retry_after=1)
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
    def ready(self) -> bool:
        """Whether requests should come here."""
        return not self.stopping and any(shop.engine.views.now is not None for shop in self.shops.values())


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
