"""The store: everything a shop's service must not lose, each row under its tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from sqlalchemy import select

from tastemaker.store import migrating, schema, sql
from tastemaker.store.databases.writer import Writer
from tastemaker.store.errors import StoreError
from tastemaker.store.parts.erasure import Erasure
from tastemaker.store.parts.events import Events
from tastemaker.store.parts.interchange import Interchange
from tastemaker.store.parts.items import Items
from tastemaker.store.parts.keys import Keys
from tastemaker.store.parts.models import Models
from tastemaker.store.parts.rankings import Rankings
from tastemaker.store.parts.settings import Settings
from tastemaker.store.parts.traces import Traces
from tastemaker.store.parts.users import Users
from tastemaker.store.records import Problem, now

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path
    from types import TracebackType

    from tastemaker.store.databases.database import Database
    from tastemaker.store.health import Condition


class Store(Events, Items, Users, Erasure, Keys, Models, Rankings, Settings, Traces, Interchange):
    """Events, catalogue, shoppers, keys, models, rules and traces of any number of tenants; made by `open_store`.

    Every method takes the tenant first and reaches no other tenant's rows; unknown tenants are empty, and come into
    being with their first row. All methods may be called by any threads at once. What writes returns when it is on
    disk; what reads sees all that was acknowledged before. Errors are of `tastemaker.store.errors`, and `DataError`
    for a value that cannot be stored.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database, None if database.read_only else Writer(database))

    @property
    def place(self) -> str:
        """Path or address, without a password."""
        return self._database.place

    @property
    def exclusive(self) -> bool:
        """Whether no other process can write while this one does."""
        return self._database.exclusive

    @property
    def lost(self) -> int:
        """Impressions and audit lines that could not be written since it was opened."""
        return 0 if self._writer is None else self._writer.lost

    @property
    def condition(self) -> Condition:
        """What the store can do, from how its last write and its last read went."""
        return self._database.health.now

    def try_again(self) -> None:
        """Write and read a row of no meaning, so that `condition` says how it is now.

        Raises:
            StoreError: it is no better.
        """
        row = {"tenant": "", "name": "tried", "value": now()}
        self._write(lambda connection: sql.put(connection, schema.counters, [row]))
        self.tenants()

    def tenants(self) -> list[str]:
        """Return all tenants that have, or had, a row."""
        with self._read() as connection:
            return list(connection.scalars(select(schema.tenants.c.tenant).order_by(schema.tenants.c.tenant)))

    def revisions(self, tenants: Collection[str]) -> dict[str, dict[str, int]]:
        """Return for tenants the last number of each counter, all in one cheap statement: what differs has changed.

        Counters are "events", "items", "users", "users_removed", "erasures", "rankings", "rules", "experiments" and
        "models";
        one that is not there is 0.
        """
        table = schema.counters.c
        found: dict[str, dict[str, int]] = {tenant: {} for tenant in tenants}
        with self._read() as connection:
            condition, values = sql.among(connection, table.tenant, list(tenants))
            for tenant, name, value in connection.execute(
                select(table.tenant, table.name, table.value).where(condition), {"values": values}
            ):
                found[tenant][name] = value
        return found

    def revision(self) -> str | None:
        """Return the schema's revision, None where there is no schema yet."""
        return migrating.revision(self._database)

    def upgrade(self, revision: str = schema.REVISION) -> None:
        """Bring the schema to a revision, the newest by default; an older one goes back. See `migrating`.

        Raises:
            StoreError: the store comes from a newer release, or the revision is unknown.
        """
        self._alone(lambda: migrating.migrate(self._database, revision))

    def backup(self, path: Path) -> None:
        """Write a consistent copy while others write: an SQLite file, or pg_dump's custom format.

        Raises:
            StoreError: `path` exists, or cannot be written.
        """
        self._database.backup(path)

    def compact(self) -> None:
        """Write all tables anew: smaller files, and nothing of deleted rows left in their pages. Writers wait."""
        self._writing()
        self._database.compact(self._alone)

    def check(self, *, deep: bool = False) -> list[Problem]:
        """Return what is wrong, or worth a note: damage, settings that risk rows, no room, an old schema.

        Args:
            deep: look at every row and index entry, too.
        """
        found = self._database.problems(deep=deep)
        try:
            here = self.revision()
        except StoreError as error:
            return [*found, Problem("schema", "fault", str(error), "restore a backup (tastemaker db restore)")]
        if here != schema.REVISION:
            words = f"revision {here}, this release has {schema.REVISION}"
            found.append(Problem("schema", "fault", words, "tastemaker db upgrade"))
        else:
            found.append(Problem("schema", "note", f"revision {here}, the newest"))
        return found

    def close(self) -> None:
        """Write all that waits, and close; may be called twice."""
        if self._writer is not None:
            self._writer.close()
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
