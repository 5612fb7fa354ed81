"""Shoppers who wait for their rankings: those who came last first, a bounded number."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Who = tuple[str, str]
"""Tenant and shopper."""


class Waiting:
    """A queue that takes the newest first; where it is full, the oldest gives its place.

    Args:
        most: places.

    Attributes:
        dropped: shoppers who gave their place unserved.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._who: OrderedDict[Who, None] = OrderedDict()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._who)

    def count(self, tenant: str) -> int:
        """Return how many shoppers of a shop wait."""
        return sum(own == tenant for own, _ in self._who)

    def add(self, tenant: str, user_id: str) -> None:
        """Let a shopper wait at the front, once."""
        self._who[(tenant, user_id)] = None
        self._who.move_to_end((tenant, user_id))
        if len(self._who) > self._most:
            self._who.popitem(last=False)
            self.dropped += 1

    def add_behind(self, tenant: str, user_ids: Iterable[str]) -> None:
        """Let shoppers wait behind all others, the first of them first, as far as there are places."""
        for user_id in user_ids:
            if len(self._who) >= self._most:
                return
            if (tenant, user_id) not in self._who:
                self._who[(tenant, user_id)] = None
                self._who.move_to_end((tenant, user_id), last=False)

    def take(self, most: int) -> tuple[str, list[str]]:
        """Return the first shopper's shop, and the shoppers of it among the first `most`; they wait no more.

        Raises:
            KeyError: nobody waits.
        """
        if not self._who:
            raise KeyError("nobody waits")
        tenant, _ = next(reversed(self._who))
        newest = [who for who, _ in zip(reversed(self._who), range(most), strict=False)]
        taken = [who for who in newest if who[0] == tenant]
        for who in taken:
            del self._who[who]
        return tenant, [user_id for _, user_id in taken]

    def remove(self, tenant: str, user_id: str) -> None:
        """Let a shopper wait no more."""
        self._who.pop((tenant, user_id), None)
