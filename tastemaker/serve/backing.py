"""One shop's rows of the store, as the engine and the routes need them."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from tastemaker.errors import DataError
from tastemaker.serve.auth import Access
from tastemaker.serve.engine.shelf import Change
from tastemaker.serve.engine.shoppers import MINOR, MOST, Record
from tastemaker.store.errors import StoreCorrupt
from tastemaker.store.fields import check_id, check_number, check_text, check_time
from tastemaker.store.records import Deleted, Item

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tastemaker.store.records import MadeRanking
    from tastemaker.store.store import Store

PAGE = 1000
FIELDS = frozenset(field.name for field in fields(Item)) - {"item_id", "hidden", "attributes", "updated_at"}


class StoredShop:
    """A shop in the store.

    Args:
        store: the store.
        tenant: the shop.
    """

    def __init__(self, store: Store, tenant: str) -> None:
        self.store, self.tenant = store, tenant

    def record_of(self, user_id: str) -> Record:
        """Return what is stored of a shopper; see `Past`."""
        did = self.store.interactions(self.tenant, user_id, minor=MINOR, limit=MOST)
        user = self.store.get_user(self.tenant, user_id)
        return Record(
            did,
            {} if user is None else user.attributes,
            self.store.is_erased(self.tenant, user_id),
            self._made(user_id),
        )

    def _made(self, user_id: str) -> MadeRanking | None:
        """Return the ranking made ahead, None where its page is damaged: it can be made again, the history cannot."""
        try:
            return self.store.get_ranking(self.tenant, user_id)
        except StoreCorrupt:
            return None

    def changes_after(self, revision: int) -> tuple[list[Change], int]:
        """Return the products that changed after a revision of the catalogue, and the revision that is reached."""
        found: list[Change] = []
        while page := self.store.items_after(self.tenant, revision, PAGE):
            found += [change_of(item) for _, item in page]
            revision = page[-1][0]
            if len(page) < PAGE:
                break
        return found, revision


def change_of(item: Item | Deleted) -> Change:
    """Return a product of the store as a change of the shelf."""
    if isinstance(item, Deleted):
        return Change(item.item_id, None)
    columns: dict[str, Any] = {
        "title": item.title or None,
        "description": item.description or None,
        "brand": item.brand or None,
        "categories": [*item.categories] or None,
        "price": item.price,
        "currency": item.currency,
        "availability": item.availability,
        "image_link": item.image_link,
        "group_id": item.group_id,
        "created_at": item.created_at,
    }
    return Change(item.item_id, {**item.attributes, **columns}, item.hidden)


def item_of(item_id: str, columns: Mapping[str, Any]) -> Item:
    """Return a product that so far only the model knows as one of the store, without what a store does not take."""
    given = {name: columns[name] for name in FIELDS if columns.get(name) is not None}
    given = {name: value for name, value in given.items() if _storable(name, value)}
    categories = given.pop("categories", ())
    given["categories"] = (categories,) if isinstance(categories, str) else tuple(str(one) for one in categories)
    rest = {
        name: value
        for name, value in columns.items()
        if name not in FIELDS and name not in ("id", "hidden") and _storable(name, value)
    }
    return Item(item_id, attributes=rest, **given)


def _storable(name: str, value: object) -> bool:
    """Say whether a product of the store may hold a value that a model has."""
    try:
        if name == "group_id":
            check_id(value, name)
        elif name == "created_at":
            check_time(value, name)
        elif name == "categories":
            return isinstance(value, str | list | tuple)
        elif name in FIELDS - {"price"} or isinstance(value, str):
            check_text(value, name)
        elif not isinstance(value, bool) or name == "price":
            return check_number(value, name) >= 0 or name != "price"
    except DataError:
        return False
    return True


class StoreKeys:
    """Keys of the store; see `auth.Keys`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, secret: str) -> Access | None:
        """Return what a key opens."""
        found = self._store.find_key(secret)
        return None if found is None else Access(found[0], found[1].key_id, frozenset(found[1].scopes))

    def any(self) -> bool:
        """Say whether any shop has a key, be it a revoked one."""
        return any(self._store.list_keys(tenant) for tenant in self._store.tenants())
