"""The options by which commands name a store, and opening it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from tastemaker.errors import ConfigError
from tastemaker.store import VARIABLE, open_store

if TYPE_CHECKING:
    from tastemaker.store.store import Store

STORE_OPTION = typer.Option(None, "--store", metavar="URL", envvar=VARIABLE, help="Store: a path or a database URL.")
TENANT_OPTION = typer.Option("default", "--tenant", metavar="NAME", help="Whose rows of the store.")


def reading(url: str | None) -> Store:
    """Open a store to read, beside the process that writes to it.

    Raises:
        ConfigError: no store is named.
    """
    return open_store(_named(url), create=False, upgrade=False, read_only=True)


def writing(url: str | None) -> Store:
    """Open a store to write, making it where there is none.

    Raises:
        ConfigError: no store is named.
    """
    return open_store(_named(url))


def _named(url: str | None) -> str:
    if url is None:
        raise ConfigError(f"name a store with --store URL, or in {VARIABLE}")
    return url
