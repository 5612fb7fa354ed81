"""Who was erased: keyed hashes of ids, so that late events are recognised and the store still names nobody."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from sqlalchemy import select

from tastemaker.store import schema, sql

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

TOMBSTONE_BYTES = 16


def tombstone(salt: bytes, user_id: str) -> str:
    """Return the BLAKE2b hash of an id under the tenant's salt."""
    return hashlib.blake2b(
        user_id.encode(), key=salt, digest_size=TOMBSTONE_BYTES, person=b"tastemaker.user"
    ).hexdigest()


def erased_among(connection: Connection, tenant: str, user_ids: Collection[str]) -> set[str]:
    """Return those of some shoppers that were erased."""
    table = schema.tombstones.c
    if connection.scalar(select(table.user_hash).where(table.tenant == tenant).limit(1)) is None:
        return set()
    salt = sql.salt(connection, tenant)
    hashes = {tombstone(salt, user_id): user_id for user_id in user_ids}
    condition, values = sql.among(connection, table.user_hash, list(hashes))
    there = select(table.user_hash).where(table.tenant == tenant, condition)
    return {hashes[found] for found in connection.scalars(there, {"values": values})}
