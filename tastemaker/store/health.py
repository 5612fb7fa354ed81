"""How a store is, from how its last write and its last read went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tastemaker.store.errors import StoreBusy, StoreCorrupt, StoreError, StoreFull, StoreReadOnly
from tastemaker.store.records import now

State = Literal["ok", "full", "read_only", "unreachable", "damaged"]
Way = Literal["writing", "reading"]


@dataclass(frozen=True, slots=True)
class Condition:
    """What a store can do.

    Args:
        state: "ok"; "full" and "read_only", nothing can be stored and reads go on; "unreachable"; or "damaged",
            something was found damaged since the store was opened, and what is intact can be read and written.
        since: when that began, in milliseconds since 1970; None where all is well.
    """

    state: State = "ok"
    since: int | None = None


class Health:
    """Remembers what went wrong until it goes well again; damage does not mend itself, and is remembered for good."""

    def __init__(self) -> None:
        self._faults: dict[Way, Condition] = {}
        self._damage: Condition | None = None

    def failed(self, way: Way, error: Exception) -> None:
        """Remember a failure, if the store itself is at fault; one that is only busy is well."""
        if isinstance(error, StoreBusy) or not isinstance(error, StoreError):
            return
        if isinstance(error, StoreCorrupt):
            self._damage = self._damage or Condition("damaged", now())
            return
        state: State = "unreachable"
        if isinstance(error, StoreFull | StoreReadOnly):
            state = "full" if isinstance(error, StoreFull) else "read_only"
        before = self._faults.get(way)
        if before is None or before.state != state:
            self._faults[way] = Condition(state, now())

    def went_well(self, way: Way) -> None:
        """Forget the failures of a way."""
        if self._faults:
            self._faults.pop(way, None)

    @property
    def now(self) -> Condition:
        """What keeps most from being done."""
        return self._faults.get("writing") or self._faults.get("reading") or self._damage or Condition()
