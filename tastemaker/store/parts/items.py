"""The catalogue: products as they are now, each change with a rising revision, so that it can be followed."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from tastemaker.errors import DataError, did_you_mean
from tastemaker.store import schema, sql
from tastemaker.store.fields import as_document, check_id, check_number, check_optional_id, check_text, check_time
from tastemaker.store.parts.part import Part, check_tenant
from tastemaker.store.records import Deleted, Item, now

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

FIELDS = frozenset(field.name for field in dataclasses.fields(Item))
CHANGEABLE = FIELDS - {"item_id", "updated_at"}


class Items(Part):
    """Products."""

    def put_items(self, tenant: str, items: Sequence[Item]) -> int:
        """Put products, whole: one that is there is replaced. Return the catalogue's revision after it.

        Raises:
            DataError: a field of a product cannot be stored; none is.
        """
        check_tenant(tenant)
        stamp = now()
        documents = {item.item_id: document_of(item, f"items[{place}]", stamp) for place, item in enumerate(items)}
        if not documents:
            return self.catalogue_revision(tenant)
        return self._write(lambda connection: put(connection, tenant, documents), weight=len(documents))

    def get_item(self, tenant: str, item_id: str) -> Item | None:
        """Return a product, or None where there is none."""
        check_id(item_id, "item_id")
        with self._read() as connection:
            return _get(connection, tenant, item_id)

    def get_items(self, tenant: str, item_ids: Sequence[str]) -> dict[str, Item]:
        """Return those of some products that are there, by id."""
        for item_id in item_ids:
            check_id(item_id, "item_id")
        table = schema.items.c
        with self._read() as connection:
            condition, values = sql.among(connection, table.item_id, list(item_ids))
            there = select(table.item_id, table.document).where(
                table.tenant == tenant, condition, table.deleted.is_(False)
            )
            return {found: stored_item(found, text) for found, text in connection.execute(there, {"values": values})}

    def patch_item(self, tenant: str, item_id: str, changes: Mapping[str, Any]) -> Item | None:
        """Change some fields of a product; return it as it is now, or None where there is none.

        Args:
            tenant: whose it is.
            item_id: which.
            changes: fields of `Item` with their new values; in "attributes" only the named ones change, None removes.

        Raises:
            DataError: a field is unknown or its value cannot be stored.
        """
        check_id(item_id, "item_id")
        for name in changes:
            if name not in CHANGEABLE:
                raise DataError(
                    f"item {item_id!r}: {name}: no field that can be changed{did_you_mean(name, CHANGEABLE)}"
                )

        def change(connection: Connection) -> Item | None:
            before = _get(connection, tenant, item_id)
            if before is None:
                return None
            values = dict(changes)
            if "attributes" in values:
                values["attributes"] = merged(before.attributes, values["attributes"], f"item {item_id!r}.attributes")
            changed = dataclasses.replace(before, **values, updated_at=now())
            document = document_of(changed, f"item {item_id!r}", changed.updated_at)
            put(connection, tenant, {item_id: document})
            return stored_item(item_id, document)

        return self._write(change)

    def delete_item(self, tenant: str, item_id: str) -> bool:
        """Take a product out of the catalogue; return whether it was there."""
        check_id(item_id, "item_id")

        def remove(connection: Connection) -> bool:
            if _get(connection, tenant, item_id) is None:
                return False
            put(connection, tenant, {item_id: "{}"}, deleted=True)
            return True

        return self._write(remove)

    def items_after(self, tenant: str, revision: int, limit: int = 1000) -> list[tuple[int, Item | Deleted]]:
        """Return products changed after a revision, each once, as it is now, with the revision of its last change."""
        table = schema.items.c
        changed = (
            select(table.revision, table.item_id, table.deleted, table.document)
            .where(table.tenant == tenant, table.revision > revision)
            .order_by(table.revision)
            .limit(limit)
        )
        with self._read() as connection:
            return [
                (number, Deleted(found) if deleted else stored_item(found, text))
                for number, found, deleted, text in connection.execute(changed)
            ]

    def catalogue_revision(self, tenant: str) -> int:
        """Return the revision of the last change of the catalogue, 0 before the first."""
        with self._read() as connection:
            return sql.current(connection, tenant, "items")


def merged(before: Mapping[str, Any], changes: object, place: str) -> dict[str, Any]:
    """Return attributes with changes; None removes one (RFC 7396, one level deep).

    Raises:
        DataError: the changes are no mapping.
    """
    if not isinstance(changes, dict):
        raise DataError(f"{place}: {changes!r} is no mapping of names to values")
    after = {**before, **changes}
    return {name: value for name, value in after.items() if changes.get(name, "") is not None}


def put(connection: Connection, tenant: str, documents: Mapping[str, str], *, deleted: bool = False) -> int:
    """Put products by id, each with a new revision; return the last one."""
    numbers = sql.numbers(connection, tenant, "items", len(documents))
    sql.put(
        connection,
        schema.items,
        [
            {"tenant": tenant, "item_id": item_id, "revision": number, "deleted": deleted, "document": document}
            for number, (item_id, document) in zip(numbers, documents.items(), strict=True)
        ],
    )
    return numbers[-1]


def _get(connection: Connection, tenant: str, item_id: str) -> Item | None:
    table = schema.items.c
    document = connection.scalar(
        select(table.document).where(table.tenant == tenant, table.item_id == item_id, table.deleted.is_(False))
    )
    return None if document is None else stored_item(item_id, document)


def stored_item(item_id: str, document: str) -> Item:
    """Return the product that a row holds."""
    values = json.loads(document)
    values["categories"] = tuple(values["categories"])
    return Item(item_id, **values)


def document_of(item: Item, place: str, stamp: int) -> str:
    """Return all fields but the id as JSON, once they are checked.

    Raises:
        DataError: a field cannot be stored.
    """
    try:
        check_id(item.item_id, "item_id")
        for name in ("title", "description", "brand"):
            check_text(getattr(item, name), name)
        for name in ("currency", "availability", "image_link"):
            if getattr(item, name) is not None:
                check_text(getattr(item, name), name)
        if isinstance(item.categories, str) or not isinstance(item.categories, list | tuple):
            raise DataError(f"categories: {item.categories!r} is no list of texts")
        for number, category in enumerate(item.categories):
            check_text(category, f"categories[{number}]")
        check_optional_id(item.group_id, "group_id")
        if item.price is not None and check_number(item.price, "price") < 0:
            raise DataError(f"price: {item.price} is negative")
        if item.created_at is not None:
            check_time(item.created_at, "created_at")
        if not isinstance(item.hidden, bool):
            raise DataError(f"hidden: {item.hidden!r} is neither true nor false")
        check_attributes(item.attributes)
        values = {name: getattr(item, name) for name in FIELDS - {"item_id", "attributes", "updated_at"}}
        values |= {
            "attributes": dict(item.attributes),
            "updated_at": check_time(item.updated_at, "updated_at") or stamp,
        }
        return as_document(values, "fields")
    except DataError as error:
        raise DataError(f"{place}.{error}") from error


def check_attributes(attributes: object) -> None:
    """Check that attributes are a mapping of names to values; as JSON they are checked later.

    Raises:
        DataError: they are not.
    """
    if not isinstance(attributes, dict) or not all(isinstance(name, str) for name in attributes):
        raise DataError(f"attributes: {attributes!r} is no mapping of names to values")
