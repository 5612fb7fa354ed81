"""One process on uvicorn: loads the model, listens, and stops in order."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from tastemaker.errors import ConfigError
from tastemaker.serve.app import create_app
from tastemaker.serve.auth import Accesses, FileKeys, check_bind
from tastemaker.serve.backing import StoreKeys
from tastemaker.serve.engine.live import Live
from tastemaker.serve.listening import door
from tastemaker.serve.listening.connections import Connection
from tastemaker.serve.service import TENANT, Service, load_model
from tastemaker.store import open_store
from tastemaker.store.errors import StoreMissing
from tastemaker.store.folders import check_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from tastemaker.serve.settings import Settings
    from tastemaker.store.store import Store

SWITCH = 0.001
"""Seconds after which a thread that makes an index gives Python's lock to one that answers; 0.005 is the default, and
an answer waits for it several times."""


def run(
    settings: Settings, model: Path | None, *, store: str, key_file: Path | None, say: Callable[[str], None]
) -> None:
    """Serve until the process is told to stop; requests under way are answered first.

    Args:
        settings: of the service.
        model: folder of a saved model; None for the one that is active in the store.
        store: address of the store, "none" for none.
        key_file: access keys beside those of the store.
        say: prints a line.

    Raises:
        TastemakerError: model, store or keys cannot be opened, or the address cannot be had.
    """
    keys = [] if key_file is None else [FileKeys(key_file, tenant=TENANT)]
    with ExitStack() as opened:
        kept = None if store == "none" else _there(store)
        if kept is not None:
            opened.enter_context(kept)
        kept_keys = [] if kept is None else [StoreKeys(kept)]
        check_bind(settings.host, Accesses([*keys, *kept_keys], tenant=TENANT))
        listener = opened.enter_context(closing(_listen(settings)))
        model, live = _active(kept, store) if model is None else (model, load_model(model))
        if kept is None and store != "none":
            kept = opened.enter_context(open_store(store))
            say(f"note: {kept.place}: a new store was made; events and products are kept there")
        elif kept is not None:
            say(f"note: events and products are kept in {kept.place}")
        before = None if kept is None else kept.active_model(TENANT)
        if before is not None and before.version != live.version:
            say(f"note: {model} answers from now on; before it {before.version} did, and a roll back goes back to it")
        service = Service(settings, store=kept, keys=keys)
        service.add_model(model, live=live)
        host, port = listener.getsockname()[:2]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        Server(service, lambda: say(f"serving {live.version} on {address} (stop with Ctrl-C)")).run(sockets=[listener])


def _active(kept: Store | None, store: str) -> tuple[Path, Live]:
    """Return the folder of the model that is active in a store, and the model.

    Raises:
        TastemakerError: there is none, or its folder holds another one by now.
    """
    active = None if kept is None else kept.active_model(TENANT)
    if active is None:
        raise ConfigError(f"{store if kept is None else kept.place}: no model is active in this store; name a MODEL")
    check_folder(active)
    return Path(active.folder), Live.load(Path(active.folder), active.version)


def _there(store: str) -> Store | None:
    """Open a store, None where it is missing: it is made after all else is known to be well."""
    try:
        return open_store(store, create=False)
    except StoreMissing:
        return None


class Server(uvicorn.Server):
    """uvicorn, that leaves in order: not ready any more, then closed to new requests, then gone with exit code 0."""

    def __init__(self, service: Service, begun: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                create_app(service),
                loop="uvloop",
                http=Connection,
                ws="none",
                log_level="warning",
                access_log=False,
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=int(service.settings.drain_seconds),
                backlog=1024,
            )
        )
        self._service, self._begun = service, begun
        self._leaves: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and say so.

        What was loaded stays, so Python need not look through it for garbage again: that would hold all answers up.
        """
        sys.setswitchinterval(SWITCH)
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        self._begun()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to leave; a second signal does not wait for anything."""
        if self._leaves is None:
            self._service.stopping = True
            self._leaves = time.monotonic() + self._service.settings.leave_seconds
        else:
            self.should_exit = self.force_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Close the door when it is time."""
        if self._leaves is not None and time.monotonic() >= self._leaves:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Turn newcomers away, take in whoever waits at the door, close it, and end when all are answered."""
        listeners = sockets or []
        if any([door.turn_newcomers_away(listener) for listener in listeners]):
            await asyncio.sleep(door.HANDSHAKE_SECONDS)
        late = [one for listener in listeners for one in door.those_in_the_queue(listener)]
        for server in self.servers:  # at once, so that nobody comes in between
            server.close()
        for listener in listeners:
            listener.close()
        loop = asyncio.get_running_loop()
        for one in late:
            with suppress(OSError):  # it went away meanwhile
                await loop.connect_accepted_socket(self._connection, one)
        await asyncio.sleep(0)  # those that were taken just before are known from here on
        await super().shutdown(sockets)

    def _connection(self) -> Connection:
        return Connection(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {settings.host} port {settings.port}: {error.strerror}") from error
    return listener
