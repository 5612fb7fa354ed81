"""A time limit that goes down a call to whatever waits at its end, such as a model server.

The limit belongs to the context (`contextvars`), so it need not be an argument of all that stands between. Threads that
are started further down take it along with `contextvars.copy_context().run`.
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_END: ContextVar[float] = ContextVar("tastemaker_deadline", default=math.inf)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let what happens inside end in so many seconds; an earlier limit that holds already stays."""
    token = _END.set(min(_END.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _END.reset(token)


def end() -> float:
    """Return when time is up, on the clock of `time.monotonic`; infinity where nothing limits it."""
    return _END.get()
