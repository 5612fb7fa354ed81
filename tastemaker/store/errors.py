"""What a store complains about, and how the words of SQLite and PostgreSQL become one of these."""

from __future__ import annotations

from tastemaker.errors import TastemakerError

MAKE = "check the address; `tastemaker db upgrade`, or the first event, makes one"
"""What to do where there is no store."""


class StoreError(TastemakerError):
    """The store cannot do what was asked; the message names place, reason and cure."""


class StoreMissing(StoreError):
    """There is no store at the address, and none was to be made."""


class StoreBusy(StoreError):
    """The store cannot take this now: its queue is full, or another process holds it.

    Args:
        message: what is busy, and what to do.
        retry_after: seconds after which to try again.
    """

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StoreFull(StoreError):
    """The disk takes no more; nothing was written, and what is there can be read."""


class StoreCorrupt(StoreError):
    """Something in the store is damaged; what is not can still be read."""


class StoreReadOnly(StoreError):
    """The store may be read but not written."""
