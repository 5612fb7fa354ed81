"""Bringing a store to the newest schema, or back to an older one.

The tables change in one transaction. Where rows move between tables there are three: up to the schema that has both,
the rows in parts, and on from there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from tastemaker.store import schema
from tastemaker.store.errors import StoreError
from tastemaker.store.migrations.moving import move_rule_lines

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

    from tastemaker.store.databases.database import Database

MOVES = {"0005": move_rule_lines}
"""Schema -> what moves rows that it does not have where older ones had them."""


def revision(database: Database) -> str | None:
    """Return the schema that a store has, or None where it has none yet."""
    with database.read() as connection:
        return revision_on(connection)


def revision_on(connection: Connection) -> str | None:
    """Return the schema that stands behind a connection, or None where there is none yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def migrate(database: Database, target: str = schema.REVISION) -> None:
    """Bring a store to a schema, newer or older; "base" removes all tables.

    Raises:
        StoreError: this release does not know the store's schema, which is newer, or the target.
    """
    here, known = revision(database), revisions()
    if here is not None and here in known and target in known:
        for then, move in MOVES.items():
            if known.index(here) < known.index(then) <= known.index(target):
                _step(database, known[known.index(then) - 1], back=False)
                move(database)
    _step(database, target)


def _step(database: Database, target: str, *, back: bool = True) -> None:
    """Change the tables, in one transaction; without `back` a store that is newer by now stays as it is."""
    from alembic import command

    with database.write() as connection:
        here = revision_on(connection)
        known = revisions()
        if here is not None and here not in known:
            raise StoreError(
                f"{database.place}: has schema {here}, which is newer than this tastemaker ({schema.REVISION}); "
                "install the newer release"
            )
        if here == target:
            return
        places = {None: 0, "base": 0} | {name: place for place, name in enumerate(known, start=1)}
        if target not in places:
            raise StoreError(f"schema {target!r} is unknown; known: {', '.join(known)}")
        if places[target] > places[here]:
            command.upgrade(_config(connection), target)
        elif back:
            command.downgrade(_config(connection), target)


def revisions() -> list[str]:
    """Return the known schemas, the oldest first."""
    from alembic.script import ScriptDirectory

    steps = ScriptDirectory.from_config(_config(None)).walk_revisions()
    return [step.revision for step in steps][::-1]


def _config(connection: Connection | None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
