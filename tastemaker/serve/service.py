"""What stands behind the routes: settings, an engine for each tenant, keys, metrics."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tastemaker import artifact
from tastemaker.errors import NotFitted
from tastemaker.serve.auth import Accesses
from tastemaker.serve.engine.engine import Engine
from tastemaker.serve.engine.live import Live
from tastemaker.serve.limits import Limits
from tastemaker.serve.metrics import Metrics
from tastemaker.serve.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tastemaker.errors import TastemakerError
    from tastemaker.serve.auth import Keys
    from tastemaker.serve.engine.asks import Answer, Ask
    from tastemaker.serve.settings import Settings

TENANT = "default"


class Service:
    """One process that serves.

    Attributes:
        settings: of the service.
        engines: by tenant.
        stopping: whether it is about to end: it is not ready any more, and goes on answering.
    """

    def __init__(self, settings: Settings, *, keys: Sequence[Keys] = ()) -> None:
        self.settings = settings
        self.engines: dict[str, Engine] = {}
        self._waiting: dict[str, Live] = {}  # models to be active from the start
        self.stopping = False
        self.access = Accesses(list(keys), tenant=TENANT)
        self.limits = Limits(settings)
        self.metrics = Metrics()

    async def start(self) -> None:
        """Begin what goes on beside requests."""
        for tenant, live in self._waiting.items():
            self.engines[tenant] = Engine(self.settings)
            await self.engines[tenant].activate(live)
        self._waiting.clear()

    async def stop(self) -> None:
        """End what goes on beside requests; called after the last one was answered."""
        self.stopping = True

    async def answer(self, tenant: str, ask: Ask) -> Answer:
        """Answer a request for a list.

        Raises:
            Problem: the shop has no model.
        """
        answer = await self.engine(tenant).recommend(ask)
        self.metrics.list(answer)
        return answer

    def problem_of(self, error: TastemakerError) -> Problem:
        """Return the refusal that an error of the caller's stands for."""
        if isinstance(error, NotFitted):
            return Problem(409, str(error))
        return Problem(400, str(error))

    def add_model(self, folder: Path, *, tenant: str = TENANT) -> Live:
        """Load a saved model that answers for a tenant from the start.

        Raises:
            ArtifactError, ConfigError, MissingExtra: it cannot be loaded.
        """
        live = Live.load(folder, version_of(folder))
        self._waiting[tenant] = live
        return live

    def engine(self, tenant: str) -> Engine:
        """Return the engine of a tenant.

        Raises:
            Problem: it has none.
        """
        engine = self.engines.get(tenant)
        if engine is None:
            raise Problem(409, "no model is active for this shop; activate one with POST /v1/models/VERSION:activate")
        return engine

    @property
    def ready(self) -> bool:
        """Whether requests should come here."""
        return not self.stopping and any(engine.views.now is not None for engine in self.engines.values())


def version_of(folder: Path) -> str:
    """Return the name of a saved model's version: its folder's name, and a few digits of what it holds."""
    try:
        digest = hashlib.sha256((folder / artifact.MANIFEST).read_bytes()).hexdigest()[:10]
    except OSError:
        digest = "missing"  # loading says it better
    return f"{folder.resolve().name}-{digest}"
