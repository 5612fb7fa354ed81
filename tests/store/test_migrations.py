"""A store of any released schema comes up to the newest with its rows, and goes back."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from tastemaker.store import migrating, open_store, schema
from tastemaker.store.databases.postgresql import PostgresqlDatabase
from tastemaker.store.databases.sqlite import SqliteDatabase
from tastemaker.store.errors import StoreError
from tastemaker.store.migrations import moving
from tastemaker.store.records import Arrangement, AuditLine, Event, User

RELEASED = sorted((Path(__file__).parent / "released").glob("*.json"))
"""Rows of every table, as a store of that schema held them."""


def test_every_schema_has_released_rows_and_the_newest_is_that_of_the_code():
    assert migrating.revisions()[-1] == schema.REVISION
    assert [path.stem for path in RELEASED] == migrating.revisions()


def test_the_steps_lead_to_the_tables_of_the_code(store):
    with store._database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
        for table in schema.metadata.tables.values():
            key = inspect(connection).get_pk_constraint(table.name)["constrained_columns"]
            assert key == [column.name for column in table.primary_key]
            assert key[0] == "tenant"


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
def test_rows_of_a_released_schema_come_up_and_go_back(url, path):
    rows = json.loads(path.read_text())
    assert set(rows) >= {"events", "items", "users", "keys", "models", "rules"}, "rows for what matters"
    with open_store(url) as store:
        store.upgrade("base")
        assert store.revision() is None
        store.upgrade(path.stem)
        insert(store, rows)

    if path.stem != schema.REVISION:
        with pytest.raises(StoreError, match="tastemaker db upgrade"):
            open_store(url, upgrade=False)
    with open_store(url) as store:
        assert store.revision() == schema.REVISION
        assert [event.event_id for event in store.history("shop", "anna")] == ["e1", "e3"]
        assert store.get_item("shop", "soap").title == "Soap"
        assert store.get_user("shop", "anna").attributes == {"region": "DE"}
        assert store.find_key("tm_00ff_secret")[0] == "shop"
        assert store.active_model("shop").version == "v2"
        assert store.get_rules("shop")[0] == 2
        assert store.is_erased("shop", "gone")
        assert len(store.impressions_between("shop", 0, 10**13)) == 1
        assert [line.action for line in store.audit("shop")] == ["activate"]
        [arranged] = store.arrangements("shop", item_id="soap")
        assert (arranged.request_id, arranged.lines[0]["rule"]) == ("r1", "pin")
        assert store.put_users("shop", [User("bén", {})]) == ["stored"]
        assert store.users_after("shop", 1 if path.stem >= "0003" else 0)[-1][1] == "bén"
        assert store.append_events("shop", [Event("e1", "x", "y", "view", 1), Event("e9", "anna", "y", "view", 9)]) == [
            "duplicate",
            "accepted",
        ]
        assert store.last_sequence("shop") == 5
        store.upgrade(path.stem)
        assert read(store, rows)["models"] == rows["models"]
        store.upgrade("base")
        assert store.revision() is None
        store.upgrade()


RULE_LINE = {"timestamp": 5, "actor": "rules", "action": "arrange", "detail": '{"lines":[{"item_id":"soap"}]}'}


@pytest.fixture
def long_log(url, monkeypatch):
    """The address of a store of an old schema in which what rules did stands between what people did."""
    monkeypatch.setattr(moving, "PART", 10)
    return with_long_log(url)


def with_long_log(url):
    with open_store(url) as store:
        store.upgrade("base")
        store.upgrade("0002")
        rules = [{"tenant": "a", "sequence": n, "subject": f"r{n}", **RULE_LINE} for n in range(1, 96) if n % 9]
        people = [
            {"tenant": tenant, "sequence": n, "timestamp": n, "actor": "anna", "action": "hide", "subject": f"i{n}",
             "detail": "{}"}
            for tenant, n in [*(("a", n) for n in range(9, 96, 9)), ("b", 1), ("b", 2)]
        ]  # fmt: skip
        tenants = [{"tenant": tenant, "salt": "00", "created_at": 1} for tenant in ("a", "b")]
        counters = [{"tenant": "a", "name": "audit", "value": 95}, {"tenant": "b", "name": "audit", "value": 2}]
        insert(store, {"tenants": tenants, "counters": counters, "audit": [*rules, *people]})
    return url


def logs(store):
    """Request ids of the log of rules and subjects of the audit log, the newest first."""
    return (
        [one.request_id for one in store.arrangements("a", 1000)],
        [line.subject for line in store.audit("a", 1000)],
        [line.subject for line in store.audit("b", 1000)],
    )


MOVED = [f"r{n}" for n in range(95, 0, -1) if n % 9]
STAYED = [f"i{n}" for n in range(90, 0, -9)]


def test_lines_on_what_rules_did_are_moved_in_parts_and_a_start_that_is_cut_off_goes_on(long_log, monkeypatch):
    parts = []

    class Cut(Exception):
        """The process ended."""

    def tidy(real):
        def told(self, rows):
            parts.append(rows)
            real(self, rows)
            if len(parts) == 4:
                raise Cut

        return told

    for kind in (SqliteDatabase, PostgresqlDatabase):
        monkeypatch.setattr(kind, "tidy", tidy(kind.tidy))
    with pytest.raises(Cut):
        open_store(long_log)
    with open_store(long_log, read_only=True, any_schema=True) as store:
        assert store.revision() == "0004"
        assert len(store.arrangements("a", 1000)) == sum(parts) == 36
    with open_store(long_log) as store:
        assert store.revision() == schema.REVISION
        assert logs(store) == (MOVED, STAYED, ["i2", "i1"])
        assert max(parts) <= 10
        assert sum(parts) == len(MOVED)
        assert store.add_arrangements("a", [Arrangement("new", 6, ({"item_id": "soap"},))], keep=1000)
        assert store.add_audit("a", AuditLine(7, "ben", "hide", "i96"))
        store.flush()
        assert logs(store) == (["new", *MOVED], ["i96", *STAYED], ["i2", "i1"])


def test_of_a_long_log_of_rules_the_newest_lines_are_kept(long_log, monkeypatch):
    monkeypatch.setattr(moving, "KEPT", 20)
    with open_store(long_log) as store:
        assert logs(store) == ([one for one in MOVED if int(one[1:]) > 75], STAYED, ["i2", "i1"])


def test_others_write_while_lines_are_moved(postgresql_url, monkeypatch):
    """Between two parts nothing is held; an SQLite store has no others."""
    import psycopg

    def tidy(self, rows):
        with psycopg.connect(postgresql_url) as other:
            other.execute("SET lock_timeout = '2s'")
            other.execute("UPDATE audit SET detail = '{}' WHERE tenant = 'b'")
            other.execute("INSERT INTO users (tenant, user_id, document, updated_at) VALUES ('a', %s, '{}', 1)", [
                f"u{time.monotonic_ns()}"
            ])  # fmt: skip

    monkeypatch.setattr(moving, "PART", 10)
    with_long_log(postgresql_url)
    monkeypatch.setattr(PostgresqlDatabase, "tidy", tidy)
    with open_store(postgresql_url) as store:
        assert logs(store)[0] == MOVED
        with store._database.read() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM users").scalar() == 11


def test_two_processes_that_bring_it_up_at_once_do_not_take_it_back(long_log, monkeypatch):
    back = []
    with open_store(long_log) as store:
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(migrating, "revision", lambda database: "0002")  # what it read before the other one began
            meanwhile.setattr(command, "downgrade", lambda config, target: back.append(target))
            migrating.migrate(store._database)
        assert back == []
        assert store.revision() == schema.REVISION
        assert logs(store) == (MOVED, STAYED, ["i2", "i1"])


def insert(store, rows):
    """Write rows with the columns they had, whatever the code thinks of them."""
    from sqlalchemy import MetaData

    with store._database.write() as connection:
        tables = MetaData()
        tables.reflect(connection)
        for name, found in rows.items():
            connection.execute(tables.tables[name].insert(), found)


def read(store, rows):
    from sqlalchemy import MetaData

    with store._database.read() as connection:
        tables = MetaData()
        tables.reflect(connection)
        return {
            name: [dict(row) for row in connection.execute(tables.tables[name].select()).mappings()] for name in rows
        }


def test_an_older_schema_is_refused_by_readers_and_told_by_check(url, monkeypatch):
    open_store(url).close()
    here, newer = schema.REVISION, f"{int(schema.REVISION) + 1:04}"
    monkeypatch.setattr(schema, "REVISION", newer)
    with pytest.raises(StoreError, match=f"has schema {here}, this release has {newer}: tastemaker db upgrade"):
        open_store(url, read_only=True)
    with open_store(url, read_only=True, any_schema=True) as store:
        [fault] = [problem for problem in store.check() if problem.severity == "fault"]
    assert (fault.check, fault.cure) == ("schema", "tastemaker db upgrade")


def test_a_store_of_a_newer_release_is_refused_untouched(url):
    with open_store(url) as store, store._database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="9999, which is newer than this tastemaker"):
        open_store(url)
    with open_store(url, any_schema=True) as store:
        assert store.revision() == "9999"
        with pytest.raises(StoreError, match="newer"):
            store.upgrade()


def test_a_step_that_fails_leaves_the_store_as_it_was(url, monkeypatch):
    from alembic import op

    with open_store(url) as store:
        store.append_events("t", [Event("e", "u", "i", "view", 1)])
        drop = op.drop_table

        def failing(name, *more, **words):
            if name == "counters":
                raise RuntimeError("in the middle")
            drop(name, *more, **words)

        monkeypatch.setattr(op, "drop_table", failing)
        with pytest.raises(RuntimeError, match="in the middle"):
            store.upgrade("base")
        assert store.revision() == schema.REVISION
        assert len(store.history("t", "u")) == 1


def test_an_unknown_schema_is_refused(store):
    with pytest.raises(StoreError, match="'0042' is unknown; known: 0001, 0002, 0003, 0004, 0005"):
        store.upgrade("0042")
