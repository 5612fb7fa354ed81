"""Access keys: the secret is shown once, and kept only as a hash."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, get_args

from sqlalchemy import Row, select, update

from tastemaker.errors import DataError, did_you_mean
from tastemaker.store import schema, sql
from tastemaker.store.fields import check_id, check_text
from tastemaker.store.parts.part import Part, check_tenant
from tastemaker.store.records import Key, Scope, now

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from sqlalchemy import Connection

PREFIX = "tm"
"""A secret is PREFIX_KEYID_TOKEN; scanners for leaked secrets can know it by that."""
KEY_ID_BYTES, TOKEN_BYTES = 8, 32
COLUMNS = [schema.keys.c[name] for name in ("key_id", "name", "scopes", "created_at", "revoked_at")]


class Keys(Part):
    """Access keys."""

    def create_key(self, tenant: str, name: str, scopes: Iterable[str]) -> tuple[str, Key]:
        """Make a key; return its secret, which is kept nowhere, and what is kept.

        Raises:
            DataError: a scope is unknown, none is given, or the name is empty, too long, or has control characters.
        """
        check_tenant(tenant)
        known = get_args(Scope)
        wanted = frozenset(scopes)
        for scope in sorted(wanted - set(known)):
            raise DataError(f"scope {scope!r}: unknown{did_you_mean(scope, known)}")
        if not wanted or not check_text(name, "name").strip():
            raise DataError("a key needs a name and at least one scope: read, write, admin")
        check_id(name, "name")
        key_id = secrets.token_hex(KEY_ID_BYTES)
        secret = f"{PREFIX}_{key_id}_{secrets.token_urlsafe(TOKEN_BYTES)}"
        row = {
            "tenant": tenant,
            "key_id": key_id,
            "name": name,
            "scopes": " ".join(sorted(wanted)),
            "hash": hashed(secret),
            "created_at": now(),
            "revoked_at": None,
        }

        def store(connection: Connection) -> Key:
            sql.salt(connection, tenant)
            connection.execute(schema.keys.insert(), row)
            return _key(connection.execute(select(*COLUMNS).where(schema.keys.c.key_id == key_id)).one())

        return secret, self._write(store)

    def find_key(self, secret: str) -> tuple[str, Key] | None:
        """Return whose key a secret is, or None where it is none or revoked; in a time that tells nothing of it."""
        parts = secret.split("_", 2)
        key_id = parts[1] if len(parts) == 3 and parts[1].isascii() and parts[1].isalnum() else ""
        table = schema.keys.c
        with self._read() as connection:
            found = connection.execute(select(table.tenant, table.hash, *COLUMNS).where(table.key_id == key_id)).first()
        right = hmac.compare_digest(hashed(secret), hashed("") if found is None else found.hash)
        if found is None or not right or found.revoked_at is not None:
            return None
        return found.tenant, _key(found)

    def list_keys(self, tenant: str) -> list[Key]:
        """Return all keys of a tenant, revoked ones too, the oldest first."""
        table = schema.keys.c
        listed = select(*COLUMNS).where(table.tenant == tenant).order_by(table.created_at, table.key_id)
        with self._read() as connection:
            return [_key(row) for row in connection.execute(listed)]

    def revoke_key(self, tenant: str, key_id: str) -> bool:
        """End a key; return whether there was one that still opened something."""
        check_id(key_id, "key_id")
        table = schema.keys

        def end(connection: Connection) -> bool:
            mine = (table.c.tenant == tenant) & (table.c.key_id == key_id) & table.c.revoked_at.is_(None)
            return connection.execute(update(table).where(mine).values(revoked_at=now())).rowcount > 0

        return self._write(end)


def hashed(secret: str) -> str:
    """Return the BLAKE2b hash of a secret; as the secret is random, it needs no salt and no slowness."""
    text = secret.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=32, person=b"tastemaker.key").hexdigest()


def _key(row: Row[Any]) -> Key:
    return Key(row.key_id, row.name, frozenset(row.scopes.split()), row.created_at, row.revoked_at)
