"""What a shop says about its shoppers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import delete, select

from tastemaker.errors import DataError
from tastemaker.store import schema, sql
from tastemaker.store.fields import as_document, check_id, check_time
from tastemaker.store.parts.items import check_attributes, merged
from tastemaker.store.parts.part import Part, check_tenant
from tastemaker.store.parts.tombstones import erased_among
from tastemaker.store.records import User, now

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection


class Users(Part):
    """Shoppers."""

    def put_users(self, tenant: str, users: Sequence[User]) -> list[Literal["stored", "erased"]]:
        """Put shoppers, whole: one that is there is replaced, one that was erased stays away.

        Raises:
            DataError: a field cannot be stored; none is.
        """
        check_tenant(tenant)
        rows = [row(tenant, user, f"users[{place}]") for place, user in enumerate(users)]

        def store(connection: Connection) -> list[Literal["stored", "erased"]]:
            sql.salt(connection, tenant)
            erased = erased_among(connection, tenant, {one["user_id"] for one in rows})
            put(connection, tenant, [one for one in rows if one["user_id"] not in erased])
            return ["erased" if one["user_id"] in erased else "stored" for one in rows]

        return self._write(store, weight=len(rows)) if rows else []

    def get_user(self, tenant: str, user_id: str) -> User | None:
        """Return what is known of a shopper, or None."""
        check_id(user_id, "user_id")
        with self._read() as connection:
            return _get(connection, tenant, user_id)

    def patch_user(self, tenant: str, user_id: str, changes: Mapping[str, Any]) -> User | None:
        """Change attributes of a shopper, None removes one; return the shopper as it is now, or None if unknown.

        Raises:
            DataError: `changes` has something else than "attributes", or a value cannot be stored.
        """
        check_id(user_id, "user_id")
        if set(changes) != {"attributes"}:
            raise DataError(f"user {user_id!r}: {sorted(changes)}: only 'attributes' can be changed")

        def change(connection: Connection) -> User | None:
            before = _get(connection, tenant, user_id)
            if before is None:
                return None
            place = f"user {user_id!r}"
            user = User(user_id, merged(before.attributes, changes["attributes"], f"{place}.attributes"), now())
            put(connection, tenant, [row(tenant, user, place)])
            return user

        return self._write(change)

    def delete_user(self, tenant: str, user_id: str) -> bool:
        """Remove what the shop said about a shopper, not the events; see `erase_user`. Return whether it was there."""
        check_id(user_id, "user_id")
        table = schema.users

        def remove(connection: Connection) -> bool:
            gone = connection.execute(delete(table).where(table.c.tenant == tenant, table.c.user_id == user_id))
            if gone.rowcount:
                sql.changed(connection, tenant, "users_removed")
            return gone.rowcount > 0

        return self._write(remove)

    def users_after(self, tenant: str, revision: int, limit: int = 1000) -> list[tuple[int, str]]:
        """Return who was put or changed after a revision: revision of the last change, and id; each once, in order.

        Who was removed is not among them; `Store.revisions` counts those as "users_removed".
        """
        table = schema.users.c
        changed = (
            select(table.revision, table.user_id)
            .where(table.tenant == tenant, table.revision > revision)
            .order_by(table.revision)
            .limit(limit)
        )
        with self._read() as connection:
            return [(number, user_id) for number, user_id in connection.execute(changed)]


def put(connection: Connection, tenant: str, rows: Sequence[dict[str, Any]]) -> None:
    """Put shoppers, each with a new revision."""
    if rows:
        numbers = sql.numbers(connection, tenant, "users", len(rows))
        numbered = [{**one, "revision": number} for one, number in zip(rows, numbers, strict=True)]
        sql.put(connection, schema.users, numbered)


def _get(connection: Connection, tenant: str, user_id: str) -> User | None:
    table = schema.users.c
    found = connection.execute(
        select(table.document, table.updated_at).where(table.tenant == tenant, table.user_id == user_id)
    ).first()
    return None if found is None else User(user_id, json.loads(found.document), found.updated_at)


def row(tenant: str, user: User, place: str) -> dict[str, Any]:
    """Return the row of a shopper, checked.

    Raises:
        DataError: a field cannot be stored.
    """
    try:
        check_attributes(user.attributes)
        return {
            "tenant": tenant,
            "user_id": check_id(user.user_id, "user_id"),
            "document": as_document(dict(user.attributes), "attributes"),
            "updated_at": check_time(user.updated_at, "updated_at") or now(),
        }
    except DataError as error:
        raise DataError(f"{place}.{error}") from error
