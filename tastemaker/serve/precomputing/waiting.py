"""Shoppers who wait for their rankings: of each shop those who came last first, of all shops a bounded number."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Waiting:
    """A queue for each shop that takes the newest first, and places that all of them share.

    Where all places are taken, the shop that has most of them gives the one of its oldest: one that sends many shoppers
    does not push another's out.

    Args:
        most: places.

    Attributes:
        dropped: shoppers who gave their place unserved.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._who: dict[str, OrderedDict[str, None]] = {}  # tenant -> shoppers, the newest last; none is empty
        self._count = 0
        self.dropped = 0

    def __len__(self) -> int:
        return self._count

    @property
    def tenants(self) -> list[str]:
        """Shops of which somebody waits."""
        return list(self._who)

    def count(self, tenant: str) -> int:
        """Return how many shoppers of a shop wait."""
        return len(self._who.get(tenant, ()))

    def add(self, tenant: str, user_id: str) -> None:
        """Let a shopper wait at the front, once."""
        self._put(tenant, user_id)
        if self._count > self._most:
            largest = max(self._who, key=self.count)
            self.remove(largest, next(iter(self._who[largest])))
            self.dropped += 1

    def add_behind(self, tenant: str, user_ids: Iterable[str]) -> None:
        """Let shoppers wait behind all others of their shop, the first of them first, as far as there are places."""
        for user_id in user_ids:
            if self._count >= self._most:
                return
            if user_id not in self._who.get(tenant, ()):
                self._put(tenant, user_id)
                self._who[tenant].move_to_end(user_id, last=False)

    def take(self, tenant: str, most: int) -> list[str]:
        """Return the first shoppers of a shop, at most so many; they wait no more."""
        newest = [user_id for user_id, _ in zip(reversed(self._who.get(tenant, {})), range(most), strict=False)]
        for user_id in newest:
            self.remove(tenant, user_id)
        return newest

    def remove(self, tenant: str, user_id: str) -> None:
        """Let a shopper wait no more."""
        who = self._who.get(tenant, OrderedDict())
        if user_id in who:
            del who[user_id]
            self._count -= 1
        if not who:
            self._who.pop(tenant, None)

    def clear(self, tenant: str) -> None:
        """Let nobody of a shop wait any more."""
        self._count -= len(self._who.pop(tenant, ()))

    def _put(self, tenant: str, user_id: str) -> None:
        who = self._who.setdefault(tenant, OrderedDict())
        self._count += user_id not in who
        who[user_id] = None
        who.move_to_end(user_id)
