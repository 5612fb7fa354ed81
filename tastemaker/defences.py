"""The switch of all defences against product text that manipulates: on, but for measuring what they are worth.

Off means what a shop without them would do: texts are shown as the seller wrote them (no cleaning, no neutral wording,
no length cap), and a re-ranker may lift a candidate as far as it likes. Privacy (`tastemaker.redaction`) and control
tokens of tokenizers are no part of it: those defences cannot be switched off.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ON = ContextVar("tastemaker_defences", default=True)


def defended() -> bool:
    """Say whether defences are on; other threads and later requests always have them."""
    return _ON.get()


@contextmanager
def undefended() -> Iterator[None]:
    """Switch the defences off for one `with`, in this thread only: the "before" of `tastemaker attack`."""
    token = _ON.set(False)
    try:
        yield
    finally:
        _ON.reset(token)
