"""Options of the verbs that work on a store, and opening it."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tastemaker.errors import ConfigError, DataError
from tastemaker.store import VARIABLE, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from tastemaker.store.store import Store

STORE_OPTION = typer.Option(
    None, "--store", metavar="URL", envvar=VARIABLE, help="The store: shop.db, or postgresql://user@host/name."
)
TENANT_OPTION = typer.Option("default", "--tenant", help="Whose rows.")
CONSOLE = "-"
"""Stands for stdin and stdout."""


def opened(store: str | None, *, write: bool, create: bool = False, upgrade: bool = False) -> Store:
    """Open the store that an option or the environment names.

    Raises:
        ConfigError: neither names one.
        StoreError: it cannot be opened.
    """
    return open_store(required(store), create=create, upgrade=upgrade, read_only=not write)


def required(store: str | None) -> str:
    """Return the address of the store.

    Raises:
        ConfigError: neither the option nor the environment names one.
    """
    if not store:
        raise ConfigError(f"which store? --store shop.db, or set {VARIABLE}")
    return store


@contextmanager
def lines_of(path: str) -> Iterator[BinaryIO]:
    """Give a file of lines, or stdin for "-".

    Raises:
        DataError: it cannot be read.
    """
    if path == CONSOLE:
        yield sys.stdin.buffer
        return
    try:
        file = Path(path).open("rb")  # noqa: SIM115  # closed below; only opening it is guarded
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    with file:
        yield file


def plain(value: Any) -> Any:  # noqa: ANN401  # a record
    """Return a record as JSON values."""
    import dataclasses

    found = dataclasses.asdict(value)
    return {name: sorted(inner) if isinstance(inner, frozenset) else inner for name, inner in found.items()}


def when(milliseconds: int | None) -> str | None:
    """Return a time of a store as people write it, in UTC."""
    from datetime import UTC, datetime

    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(sep=" ", timespec="milliseconds")[:-6]
