"""What `check` and `doctor` say about SQLite's WAL-reset fault, servers, rights and damage."""

from __future__ import annotations

import sqlite3

import pytest

from tastemaker.store.databases import wal_reset


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 44, 7), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 0), True),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), False),
        ((4, 0, 0), False),
    ],
)
def test_versions_with_the_fault(version, affected):
    assert wal_reset.affected(version) is affected


def test_the_verdict_says_the_version_and_why_it_is_safe(sqlite_store, monkeypatch):
    for version, words in (
        ((3, 40, 1), "safe from it: only one connection of one process"),
        ((3, 51, 3), "does not have"),
    ):
        monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
        monkeypatch.setattr(sqlite3, "sqlite_version", ".".join(map(str, version)))
        [note] = [problem for problem in sqlite_store.check() if problem.check == "WAL-reset fault"]
        assert note.severity == "note"
        assert sqlite3.sqlite_version in note.found
        assert words in note.found


def test_only_one_connection_can_write_or_checkpoint(sqlite_store):
    """The reason that is given is true: the pool of writers has one, readers can do neither."""
    assert sqlite_store._database.writing.pool.size() == 1
    assert sqlite_store._database.writing.pool._max_overflow == 0
    sqlite_store.flush()
    with sqlite_store._database.reading.connect() as connection:
        with pytest.raises(Exception, match="readonly"):
            connection.exec_driver_sql("CREATE TABLE x (a)")
        [busy, log, done] = connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()
        assert (busy, done) != (0, log) or log <= 0


def test_a_sound_store_has_notes_only(store):
    assert {problem.severity for problem in store.check(deep=True)} == {"note"}


def test_rights_that_let_others_read_are_named(sqlite_store, sqlite_path):
    sqlite_path.chmod(0o644)
    [warning] = [problem for problem in sqlite_store.check() if problem.severity == "warning"]
    assert (warning.check, warning.cure) == ("rights", "chmod 600 shop.db*")


def test_a_server_that_does_not_sync_is_a_fault(postgresql_store):
    with postgresql_store._database.writing.connect() as connection:
        driver = connection.connection.driver_connection
        driver.rollback()
        driver.autocommit = True
        driver.execute("ALTER SYSTEM SET fsync = off")
        driver.execute("SELECT pg_reload_conf()")
        try:
            faults = []
            for _ in range(200):
                faults = [problem for problem in postgresql_store.check() if problem.severity == "fault"]
                if faults:
                    break
            assert [fault.check for fault in faults] == ["fsync"]
            assert "postgresql.conf" in faults[0].cure
        finally:
            driver.execute("ALTER SYSTEM RESET fsync")
            driver.execute("SELECT pg_reload_conf()")
            driver.autocommit = False


def test_new_files_are_for_their_owner_only(tmp_path):
    from tastemaker.store import open_store

    with open_store(tmp_path / "folder" / "shop.db") as store:
        store.backup(tmp_path / "folder" / "copy.db")
        for path in (tmp_path / "folder").iterdir():
            assert path.stat().st_mode & 0o077 == 0, path.name
        assert (tmp_path / "folder").stat().st_mode & 0o077 == 0
