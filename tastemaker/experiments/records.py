"""What results are computed from: lists that were shown, and what shoppers did. From a store, or from JSON lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from pydantic import ConfigDict, Field, ValidationError

from tastemaker.configurable import Config
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_IGNORING = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class ImpressionRecord(Protocol):
    """A list that was shown; a store's own record has these fields as well."""

    @property
    def request_id(self) -> str:
        """Of the answer; events name it."""

    @property
    def timestamp(self) -> int:
        """Milliseconds UTC."""

    @property
    def user_id(self) -> str | None:
        """The shopper, None if unknown."""

    @property
    def experiment(self) -> str | None:
        """The experiment that the list belongs to."""

    @property
    def variant(self) -> str | None:
        """The variant, or one for each place, parted by "|"."""

    @property
    def item_ids(self) -> tuple[str, ...]:
        """What was shown, in order."""

    @property
    def propensities(self) -> tuple[float, ...] | None:
        """How probable each product was at its place, where the list was drawn."""

    @property
    def degraded(self) -> bool:
        """Whether the answer was a makeshift."""


class EventRecord(Protocol):
    """What a shopper did; a store's own record has these fields as well."""

    @property
    def event_id(self) -> str:
        """Unique; a repeated one counts once."""

    @property
    def user_id(self) -> str:
        """The shopper."""

    @property
    def item_id(self) -> str:
        """The product."""

    @property
    def event_type(self) -> str:
        """E.g. "click" or "purchase"."""

    @property
    def timestamp(self) -> int:
        """Milliseconds UTC."""

    @property
    def value(self) -> float | None:
        """Of a purchase, what was paid."""

    @property
    def request_id(self) -> str | None:
        """The list that led to it, if known."""


class Impression(Config):
    """An `ImpressionRecord` from a file."""

    model_config = _IGNORING

    request_id: str = Field(min_length=1)
    timestamp: int
    user_id: str | None = None
    experiment: str | None = None
    variant: str | None = None
    model_version: str = ""
    strategy: str = ""
    item_ids: tuple[str, ...]
    propensities: tuple[float, ...] | None = None
    degraded: bool = False


class Event(Config):
    """An `EventRecord` from a file."""

    model_config = _IGNORING

    event_id: str = Field(min_length=1)
    user_id: str
    item_id: str
    event_type: str
    timestamp: int
    value: float | None = None
    request_id: str | None = None
    position: int | None = None


R = TypeVar("R", bound=Config)


def read_lines(path: Path, kind: type[R]) -> Iterator[R]:
    """Read records, one JSON object a line; empty lines are passed over.

    Raises:
        DataError: no such file, or a line that is no record of the kind.
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _record(line, kind, f"{path}:{number}")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _record(line: bytes, kind: type[R], place: str) -> R:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{place}: {key + ': ' if key else ''}{first['msg']}; see docs/experiments.md") from error
