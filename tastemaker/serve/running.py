"""One process on uvicorn: loads the model, listens, and stops in order."""

from __future__ import annotations

import socket
from contextlib import nullcontext
from typing import TYPE_CHECKING

import uvicorn

from tastemaker.errors import ConfigError
from tastemaker.serve.app import create_app
from tastemaker.serve.auth import FileKeys, check_bind
from tastemaker.serve.service import TENANT, Service
from tastemaker.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tastemaker.serve.settings import Settings


def run(settings: Settings, model: Path, *, store: str, key_file: Path | None, say: Callable[[str], None]) -> None:
    """Serve until the process is told to stop; requests under way are answered first.

    Args:
        settings: of the service.
        model: folder of a saved model.
        store: address of the store, "none" for none.
        key_file: access keys beside those of the store.
        say: prints a line.

    Raises:
        TastemakerError: model, store or keys cannot be opened, or the address cannot be had.
    """
    keys = [] if key_file is None else [FileKeys(key_file, tenant=TENANT)]
    kept = nullcontext() if store == "none" else open_store(store)
    with kept as opened:
        _serve(settings, Service(settings, store=opened, keys=keys), model, say)


def _serve(settings: Settings, service: Service, model: Path, say: Callable[[str], None]) -> None:
    check_bind(settings.host, service.access)
    live = service.add_model(model)
    if service.store is not None:
        say(f"note: events and products are kept in {service.store.place}")
    listener = _listen(settings)
    host, port = listener.getsockname()[:2]
    say(f"serving {live.version} on http://{f'[{host}]' if ':' in host else host}:{port} (stop with Ctrl-C)")
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(service),
            loop="uvloop",
            http="httptools",
            ws="none",
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=int(settings.drain_seconds),
            backlog=1024,
        )
    )
    server.run(sockets=[listener])


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
