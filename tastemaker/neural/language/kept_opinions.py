"""Opinions on candidates that were given before: the same history and the same product get the same one again."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

HISTORIES = 4096
"""Histories whose opinions are kept."""


class Kept:
    """Opinions by history, of which only a digest is kept, and product; those used last stay.

    Args:
        most: histories.
    """

    def __init__(self, most: int = HISTORIES) -> None:
        self._most = most
        self._found: OrderedDict[bytes, dict[int, float]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._found)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._found.clear()

    def filled(self, history: Tensor, candidates: Tensor, read: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the opinion on each candidate, float32 [b, m]; those that are not known yet are asked for together.

        Args:
            history: item numbers, filled up with -1, [b, L].
            candidates: item numbers, filled up with -1, [b, m].
            read: gives opinions [b, m] on candidates of which those that are known are -1.
        """
        names = [_digest(row) for row in history.tolist()]
        rows = candidates.tolist()
        said = torch.tensor(self._known(names, rows), dtype=torch.float32)
        missing = said.isnan()
        if not missing.any():
            return said.to(candidates.device)
        new = read(candidates.masked_fill(~missing.to(candidates.device), -1)).float().cpu()
        said = torch.where(missing, new, said)
        self._keep(names, rows, said.tolist())
        return said.to(candidates.device)

    def _known(self, names: Sequence[bytes], rows: Sequence[Sequence[int]]) -> list[list[float]]:
        """Return what is known, 0 for the filling and NaN for the rest."""
        with self._lock:
            for name in names:
                if name in self._found:
                    self._found.move_to_end(name)
            own = [self._found.get(name, {}) for name in names]
            return [
                [0.0 if item < 0 else known.get(item, float("nan")) for item in items]
                for known, items in zip(own, rows, strict=True)
            ]

    def _keep(self, names: Sequence[bytes], rows: Sequence[Sequence[int]], said: Sequence[Sequence[float]]) -> None:
        with self._lock:
            for name, items, values in zip(names, rows, said, strict=True):
                self._found.setdefault(name, {}).update(zip(items, values, strict=True))
                self._found.move_to_end(name)
            while len(self._found) > self._most:
                self._found.popitem(last=False)


def _digest(history: Sequence[int]) -> bytes:
    told = ",".join(str(item) for item in history if item >= 0)
    return hashlib.blake2b(told.encode(), digest_size=16).digest()
