"""The room in memory that the shoppers of all shops of a process share."""

from __future__ import annotations

from typing import Protocol

EACH = 50
"""Interactions kept for each shopper on average; beyond that fewer shoppers are kept."""


class Tenant(Protocol):
    """A shop that keeps shoppers in memory.

    Attributes:
        weight: interactions of all that it keeps.
    """

    weight: int

    @property
    def count(self) -> int:
        """How many it keeps."""
        ...

    def drop_oldest(self) -> None:
        """Drop the shopper who asked longest ago."""
        ...


class Room:
    """A bound on the shoppers that all shops together keep, and on the interactions of these.

    A shop may use all of it as long as nobody else needs it. Where it is full, the shop that takes most of it drops the
    shopper who asked it longest ago: whatever others do, a shop keeps as much as an equal share (max-min fairness).

    Args:
        most: shoppers; of interactions `EACH` times as many.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._tenants: list[Tenant] = []
        self.shoppers = self.weight = 0

    def enter(self, tenant: Tenant) -> None:
        """Let an empty shop have a part."""
        self._tenants.append(tenant)

    def leave(self, tenant: Tenant) -> None:
        """Let a shop that keeps nobody any more have none."""
        self._tenants.remove(tenant)

    def change(self, shoppers: int, weight: int) -> None:
        """Take note of what a shop took, or gave back."""
        self.shoppers += shoppers
        self.weight += weight

    def make(self, asking: Tenant) -> None:
        """Make room where there is none; the newest shopper of the shop that is asking for it stays."""
        while self.shoppers > self._most or self.weight > EACH * self._most:
            size = _count if self.shoppers > self._most else _weight
            giving = [one for one in self._tenants if one.count > (one is asking)]
            if not giving:
                return
            max(giving, key=size).drop_oldest()


def _count(tenant: Tenant) -> int:
    return tenant.count


def _weight(tenant: Tenant) -> int:
    return tenant.weight
