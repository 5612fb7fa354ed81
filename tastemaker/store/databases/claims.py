"""Work that one of several processes over one database takes upon itself, so that no other does the same."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


def nothing() -> None:
    """Do nothing."""


class Claim:
    """Names that one process works on, until it releases them or ends.

    Args:
        names: those that were free.
        release: gives them back.

    Attributes:
        names: those that were free.
    """

    def __init__(self, names: Collection[str], release: Callable[[], None] = nothing) -> None:
        self.names = frozenset(names)
        self._release = release

    def release(self) -> None:
        """Let others have them; may be called twice."""
        release, self._release = self._release, nothing
        release()


def number_of(kind: str, tenant: str, name: str) -> int:
    """Return the number of 64 bits that stands for a name; two names share one only by a chance of 2^-64."""
    text = _joined(kind, tenant, name)
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)


def _joined(*parts: str) -> bytes:
    """Return parts as bytes that no other parts make."""
    return b"".join(b"%d:%b" % (len(raw), raw) for raw in (part.encode("utf-8", "surrogatepass") for part in parts))
