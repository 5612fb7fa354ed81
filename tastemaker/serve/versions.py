"""Which version of a model answers where the active one cannot be loaded, and what is said about that."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tastemaker.errors import TastemakerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tastemaker.serve.engine.live import Live
    from tastemaker.store.records import ModelVersion

log = logging.getLogger("tastemaker.serve")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why the active version does not answer.

    Attributes:
        version: the active one.
        reason: what loading it said; it names folders, so it is for keys with `admin`.
        instead: the version that answers; None for none.
    """

    version: str
    reason: str
    instead: str | None = None

    def __str__(self) -> str:
        """Say to anybody what is wrong, and what would mend it."""
        stead = "no model answers" if self.instead is None else f"{self.instead!r} answers"
        return (
            f"{stead}, as the active version {self.version!r} cannot be loaded: its folder is gone or damaged, or was "
            f"fitted anew; GET /v1/models/{self.version} says which (key with admin). Mend the folder, or add it as a "
            "new version (POST /v1/models), then POST /v1/models/VERSION:activate"
        )


async def newest_sound(
    versions: Sequence[ModelVersion], load: Callable[[ModelVersion], Awaitable[Live]]
) -> tuple[Live | None, Fault | None]:
    """Load the first version that can be.

    Args:
        versions: the active one, then those that answered before it, the newest first.
        load: loads one; raises TastemakerError where that is not possible.

    Returns:
        The loaded model, None where no version can be loaded, and the fault of the active one.
    """
    fault: Fault | None = None
    for version in versions:
        try:
            live = await load(version)
        except TastemakerError as error:
            log.error("model %s cannot be loaded: %s", version.version, error)
            fault = fault or Fault(version.version, str(error))
        else:
            if fault is not None:
                fault = Fault(fault.version, fault.reason, live.version)
                log.error("model %s answers instead of %s", live.version, fault.version)
            return live, fault
    return None, fault
