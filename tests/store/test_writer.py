"""The one writer: callers share commits, failures stay with their caller, too much is refused, nothing is lost."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import pytest

from tastemaker.errors import DataError
from tastemaker.store import open_store
from tastemaker.store.databases.writer import Writer
from tastemaker.store.errors import StoreBusy, StoreError
from tastemaker.store.records import AuditLine, Event, Item, ModelVersion


def event(number):
    return Event(f"e{number}", "u", "i", "view", number)


@contextmanager
def held(store):
    """Keep the writer busy for a block, so that what is submitted inside gathers."""
    begun, end = threading.Event(), threading.Event()

    def hold():
        begun.set()
        end.wait()

    future = store._writer.submit(None, hold)
    begun.wait()
    try:
        yield
    finally:
        end.set()
        future.result()


@pytest.fixture
def commits(store, monkeypatch):
    """Counts transactions of the writer."""
    counted = []
    write = store._database.write

    @contextmanager
    def counting():
        with write() as connection:
            yield connection
        counted.append(1)

    monkeypatch.setattr(store._database, "write", counting)
    return counted


def test_what_waits_together_is_committed_together_and_each_caller_hears_of_its_own(store, commits):
    with held(store):
        futures = [
            store.submit_events("ab"[number % 2], [event(number // 2), event(number // 4)]) for number in range(40)
        ]
        assert not any(future.done() for future in futures)
    told = [future.result() for future in futures]
    assert len(commits) == 1
    assert told[:4] == [["accepted", "duplicate"]] * 2 + [["accepted", "duplicate"]] * 2
    assert sum(one == "accepted" for pair in told for one in pair) == 40
    assert [one.event_id for _, one in store.events_after("a", 0)] == [f"e{number}" for number in range(20)]


def test_a_failure_stays_with_its_caller(store, commits):
    with held(store):
        results = {}

        def call(name, action):
            try:
                results[name] = action()
            except DataError as error:
                results[name] = error

        actions = {
            "first": lambda: store.append_events("t", [event(1)]),
            "wrong": lambda: store.activate_model("t", "unknown"),
            "second": lambda: store.put_items("t", [Item("i")]),
        }
        threads = [threading.Thread(target=call, args=pair) for pair in actions.items()]
        for thread in threads:
            thread.start()
        while len(store._writer._queue) < 3:
            time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert results["first"] == ["accepted"]
    assert isinstance(results["wrong"], DataError)
    assert results["second"] == 1
    assert len(commits) == 1
    assert store.history("t", "u") and store.get_item("t", "i")


def test_a_bug_is_told_to_its_caller_and_the_writer_lives_on(store):
    def wrong(connection):
        connection.execute(schema.events.insert(), {"tenant": "t", "sequence": 1})

    from sqlalchemy.exc import IntegrityError

    from tastemaker.store import schema

    with pytest.raises(IntegrityError):
        store._write(wrong)
    with pytest.raises(ZeroDivisionError):
        store._write(lambda connection: 1 // 0)
    assert store.append_events("t", [event(1)]) == ["accepted"]


def test_order_of_calls_is_order_of_effects(store):
    with held(store):
        first = store.submit_events("t", [event(1)])
        erased = threading.Thread(target=store.erase_user, args=("t", "u"))
        erased.start()
        while len(store._writer._queue) < 2:
            time.sleep(0.001)
        second = store.submit_events("t", [event(2)])
    erased.join()
    assert (first.result(), second.result()) == (["accepted"], ["erased"])
    assert store.history("t", "u") == []


def test_too_much_is_refused_with_a_time_to_wait_and_what_nobody_waits_for_is_dropped_and_counted(sqlite_path):
    with open_store(sqlite_path) as store:
        store._writer.close()
        store._writer = Writer(store._database, capacity=10)
        with held(store):
            future = store.submit_events("t", [event(number) for number in range(9)])
            with pytest.raises(StoreBusy, match="9 rows wait to be written") as caught:
                store.append_events("t", [event(20), event(21)])
            assert 0 < caught.value.retry_after <= 30
            assert store.add_audit("t", AuditLine(1, "a", "b", "c"))
            assert not store.add_audit("t", AuditLine(2, "a", "b", "c"))
            assert store.lost == 1
        assert future.result() == ["accepted"] * 9
        assert len(store.append_events("t", [event(number) for number in range(100, 150)])) == 50, (
            "alone it may be large"
        )


def test_what_nobody_waits_for_is_written_soon_in_one_commit(store, commits):
    for number in range(20):
        assert store.add_audit("t", AuditLine(number, "a", "b", "c"))
    end = time.monotonic() + 10
    while len(store.audit("t")) < 20 and time.monotonic() < end:
        time.sleep(0.01)
    assert [line.timestamp for line in store.audit("t")] == list(range(19, -1, -1))
    assert len(commits) <= 2


def test_closing_writes_all_that_waits_and_refuses_the_rest(url):
    store = open_store(url)
    with held(store):
        futures = [store.submit_events("t", [event(number)]) for number in range(50)]
        store.add_audit("t", AuditLine(1, "a", "b", "c"))
        closing = threading.Thread(target=store.close)
        closing.start()
        while not store._writer._closing:
            time.sleep(0.001)
        with pytest.raises(StoreError, match="closed"):
            store.append_events("t", [event(99)])
    closing.join()
    assert all(future.result() == ["accepted"] for future in futures)
    store.close()
    with open_store(url) as again:
        assert len(again.history("t", "u")) == 50
        assert len(again.audit("t")) == 1


def test_a_write_that_was_given_up_is_not_done(store):
    with held(store):
        kept, given_up = store.submit_events("t", [event(1)]), store.submit_events("t", [event(2)])
        assert given_up.cancel()
    assert kept.result() == ["accepted"]
    store.flush()
    assert [one.event_id for one in store.history("t", "u")] == ["e1"]


def test_every_commit_is_synced(sqlite_store, postgresql_store):
    with sqlite_store._database.write() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2, "FULL"
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA secure_delete").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    with postgresql_store._database.write() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"


def test_readers_cannot_write(store):
    from sqlalchemy.exc import DBAPIError

    store.put_model("t", ModelVersion("v", "/v"))
    with pytest.raises((StoreError, DBAPIError)), store._database.read() as connection:
        connection.exec_driver_sql("DELETE FROM models")
    assert len(store.list_models("t")) == 1


def test_the_wal_does_not_grow_without_end(sqlite_store, sqlite_path, monkeypatch):
    from tastemaker.store.databases import sqlite

    monkeypatch.setattr(sqlite, "WAL_ROWS", 500)
    wal = sqlite_path.with_name("shop.db-wal")
    sizes = []
    for number in range(60):
        sqlite_store.append_events("t", [event(100 * number + n) for n in range(100)])
        sizes.append(wal.stat().st_size)
    assert max(sizes) < 2 * max(sizes[:15]), "it starts anew, over and over"
    assert sqlite_path.stat().st_size > 400_000, "and its pages are in the file"


def test_trouble_between_two_commits_ends_nothing(store, monkeypatch):
    def full(rows):
        raise StoreError("the disk is full")

    monkeypatch.setattr(store._database, "tidy", full)
    for number in range(3):
        assert store.append_events("t", [event(number)]) == ["accepted"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_a_writer_that_a_bug_ended(sqlite_path, monkeypatch):
    store = open_store(sqlite_path)
    with held(store):
        monkeypatch.setattr(store._database, "tidy", lambda rows: 1 // 0)
        futures = [store._writer.submit(None, lambda: 1) for _ in range(3)]
    for future in futures:
        with pytest.raises(StoreError, match="the writer ended"):
            future.result(timeout=10)
    with pytest.raises(StoreError, match="closed"):
        store.append_events("t", [event(1)])
    store.close()


def test_a_disk_that_cannot_be_looked_at_ends_no_writer(store, monkeypatch):
    def fail(rows):
        raise FileNotFoundError("the WAL is not there")

    monkeypatch.setattr(store._database, "tidy", fail)
    assert store.append_events("a", [event(1)]) == ["accepted"]
    assert store.append_events("a", [event(2)]) == ["accepted"]
