"""Options of the verbs that work on a store, and opening it."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tastemaker.cli.output import note, print_json, print_table
from tastemaker.errors import ConfigError, DataError, MissingExtra
from tastemaker.store import VARIABLE, open_store
from tastemaker.store.errors import StoreMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import BinaryIO

    from tastemaker.serve.client import Client
    from tastemaker.store.store import Store

KEY = "TASTEMAKER_KEY"
"""Environment variable with the access key of the service that commands ask."""
STORE_OPTION = typer.Option(
    None, "--store", metavar="URL", envvar=VARIABLE, help="The store: shop.db, or postgresql://user@host/name."
)
TENANT_OPTION = typer.Option("default", "--tenant", help="Whose rows.")
URL_OPTION = typer.Option(
    None, "--url", metavar="ADDRESS", help=f"The running service instead of its store; its key stands in {KEY}."
)
CONSOLE = "-"
"""Stands for stdin and stdout."""


def opened(
    store: str | None, *, write: bool, create: bool = False, upgrade: bool = False, any_schema: bool = False
) -> Store:
    """Open the store that an option or the environment names; where it is made, say so.

    Raises:
        ConfigError: neither names one.
        StoreError: it cannot be opened, or is not there and not to be made.
    """
    url = required(store)
    try:
        return open_store(url, create=False, upgrade=upgrade, read_only=not write, any_schema=any_schema)
    except StoreMissing:
        if not create:
            raise
    made = open_store(url, create=True)
    note(f"note: {made.place}: a new store was made")
    return made


def service_at(url: str) -> Client:
    """Return a client of a running service, with the key of the environment.

    Raises:
        ConfigError: the address is none of a service.
        MissingExtra: httpx2 is not installed.
    """
    try:
        from tastemaker.serve.client import Client
    except ModuleNotFoundError as error:
        raise MissingExtra("--url", (error.name or "").partition(".")[0], "http") from error
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"--url {url}: must begin with http:// or https://, such as http://127.0.0.1:8000")
    return Client(url, key=os.environ.get(KEY, ""))


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


def print_records(records: Sequence[Any], columns: Mapping[str, Callable[[Any], Any]], *, json: bool) -> None:
    """Print records of a store: as a table of columns, each with what it shows of a record, or whole as JSON."""
    if json:
        print_json([plain(record) for record in records])
    else:
        print_table([*columns], [[shown(record) for shown in columns.values()] for record in records])


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
