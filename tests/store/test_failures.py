"""A full disk, a damaged page, a folder that cannot be written, a server that goes away: said clearly, reads go on."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import count

import pytest
from disks import damage, mounted

from tastemaker.store import open_store
from tastemaker.store.errors import StoreBusy, StoreCorrupt, StoreError, StoreFull, StoreReadOnly
from tastemaker.store.records import Event, Item


def events(numbers, **changes):
    return [Event(f"e{number}", f"u{number % 9}", "i" * 200, "view", number, **changes) for number in numbers]


def fill_up(store):
    """Append until the disk is full; return the error and how many events were acknowledged."""
    for batch in count():
        try:
            store.append_events("t", events(range(100 * batch, 100 * batch + 100)))
        except StoreError as error:
            return error, 100 * batch
    raise AssertionError


def test_a_full_disk_is_named_nothing_acknowledged_is_lost_reads_go_on_and_room_mends_it(tmp_path):
    with mounted("-t", "tmpfs", "-o", "size=3m", "tmpfs", tmp_path):
        filler = tmp_path / "filler"
        filler.write_bytes(b"x" * 500_000)
        with open_store(tmp_path / "shop.db") as store:
            store.put_items("t", [Item("i1", "a title")])
            error, acknowledged = fill_up(store)
            assert isinstance(error, StoreFull)
            assert "shop.db: the disk takes no more" in str(error)
            assert acknowledged > 100
            assert store.get_item("t", "i1").title == "a title"
            assert len(store.history("t", "u1", limit=10_000)) >= acknowledged // 9
            with pytest.raises(StoreFull):
                store.append_events("t", events(range(10**6, 10**6 + 3000)))
            assert "disk" in [problem.check for problem in store.check()]
            filler.unlink()
            assert store.append_events("t", events([10**7])) == ["accepted"]
            seen = {one.event_id for _, one in store.events_after("t", 0, limit=10**6)}
            assert {f"e{number}" for number in range(acknowledged)} <= seen
        with open_store(tmp_path / "shop.db") as store:
            assert not [problem for problem in store.check(deep=True) if problem.severity == "fault"]
            assert {one.event_id for _, one in store.events_after("t", 0, limit=10**6)} == seen


def test_the_wal_does_not_fill_a_small_disk_before_the_rows_do(tmp_path):
    """Small commits make a WAL many times larger than their rows; here it is copied into the file in time."""
    with mounted("-t", "tmpfs", "-o", "size=4m", "tmpfs", tmp_path), open_store(tmp_path / "shop.db") as store:
        for number in range(1500):
            store.append_events("t", events([number]))
        assert len(store.events_after("t", 0, limit=10**6)) == 1500


LIMITED = """
import resource, sys
from test_failures import fill_up
from tastemaker.store import open_store
with open_store(sys.argv[1]) as store:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, resource.RLIM_INFINITY))
    error, acknowledged = fill_up(store)
    assert len(store.events_after("t", 0, limit=10**6)) == acknowledged, "reads go on"
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert store.append_events("t", [__import__("test_failures").events([10**7])[0]]) == ["accepted"]
print(type(error).__name__, acknowledged)
"""


def test_a_file_that_may_not_grow_is_a_full_disk(sqlite_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(sqlite_path)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    name, acknowledged = done.stdout.split()
    assert name == "StoreFull"
    with open_store(sqlite_path) as store:
        assert len(store.events_after("t", 0, limit=10**6)) == int(acknowledged) + 1


def test_a_damaged_page_is_named_and_the_rest_can_be_read_and_written(sqlite_path):
    with open_store(sqlite_path) as store:
        store.append_events("t", events(range(300)))
        store.put_items("t", [Item("i1", "a title")])
    damage(sqlite_path, "events")
    with open_store(sqlite_path) as store:
        with pytest.raises(StoreCorrupt, match=r"shop.db: damaged .*tastemaker db check"):
            store.events_after("t", 0)
        with pytest.raises(StoreCorrupt):
            store.append_events("t", events([1000]))
        assert store.get_item("t", "i1").title == "a title"
        assert store.put_items("t", [Item("i2")]) == 2
        faults = [problem for problem in store.check() if problem.severity == "fault"]
        assert {fault.check for fault in faults} == {"integrity"}
        assert all("restore a backup" in fault.cure for fault in faults)


@pytest.mark.parametrize("content", [b"not a database at all" * 300, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path, content):
    (tmp_path / "shop.db").write_bytes(content)
    with pytest.raises(StoreError, match=r"shop\.db"):
        open_store(tmp_path / "shop.db")
    assert (tmp_path / "shop.db").read_bytes() == content


def test_another_programs_database_is_refused_and_left_alone(tmp_path):
    import sqlite3

    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE mine (a)")
    connection.close()
    before = (tmp_path / "shop.db").read_bytes()
    with pytest.raises(StoreError, match="not a store of tastemaker"):
        open_store(tmp_path / "shop.db")
    tables = sqlite3.connect(tmp_path / "shop.db").execute("SELECT name FROM sqlite_master").fetchall()
    assert tables == [("mine",)]
    assert len((tmp_path / "shop.db").read_bytes()) == len(before)


def test_a_folder_that_cannot_be_written(sqlite_path):
    with open_store(sqlite_path) as store:
        store.append_events("t", events(range(3)))
    folder = sqlite_path.parent
    with mounted("--bind", folder, folder):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        with pytest.raises(StoreReadOnly, match=r"cannot be written: .*open it for reading"):
            open_store(sqlite_path)
        with pytest.raises(StoreReadOnly, match=r"cannot be written"):
            open_store(folder / "new.db")
        with open_store(sqlite_path, read_only=True) as store:
            assert len(store.events_after("t", 0)) == 3
            with pytest.raises(StoreReadOnly, match="opened for reading only"):
                store.append_events("t", events([9]))
            assert not [problem for problem in store.check() if problem.severity == "fault"]


def test_a_folder_that_cannot_be_written_with_commits_in_the_wal_is_not_read_without_them(sqlite_path):
    with open_store(sqlite_path) as store:
        store.append_events("t", events(range(3)))
        for name in ("shop.db", "shop.db-wal"):
            copy = sqlite_path.parent / "crashed" / name
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(sqlite_path.with_name(name).read_bytes())
    folder = sqlite_path.parent / "crashed"
    with mounted("--bind", folder, folder):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        with pytest.raises(StoreReadOnly, match=r"commits wait in shop\.db-wal; copy the folder"):
            open_store(folder / "shop.db", read_only=True)
    with open_store(folder / "shop.db") as store:
        assert len(store.events_after("t", 0)) == 3


def test_reading_needs_no_lock_and_sees_each_commit(sqlite_store, sqlite_path):
    with open_store(sqlite_path, read_only=True) as reader:
        for number in range(3):
            sqlite_store.append_events("t", events([number]))
            assert reader.last_sequence("t") == number + 1
        with pytest.raises(StoreBusy, match=f"process {os.getpid()} writes to it"):
            open_store(sqlite_path)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://x@y/z", "SQLite .* or PostgreSQL"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("://", "cannot be read"),
        ("postgresql://tester:secret@127.0.0.1:1/none", r"postgresql.*\*\*\*.*cannot be reached"),
    ],
)
def test_addresses_that_lead_nowhere(url, message):
    with pytest.raises(StoreError, match=message) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


def test_a_missing_store_is_not_made_by_reading(tmp_path, postgresql_url):
    for url in (tmp_path / "a" / "shop.db", postgresql_url):
        for how in ({"read_only": True}, {"create": False}):
            with pytest.raises(StoreError, match=r"there is no such store|there is no store"):
                open_store(url, **how)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_goes_away_is_named_and_writing_goes_on_when_it_is_back(postgresql_store):
    postgresql_store.append_events("t", events([1]))
    with postgresql_store._database.read() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tastemaker' "
            "AND pid <> pg_backend_pid()"
        )
    with pytest.raises(StoreError, match="cannot be reached"):
        postgresql_store.append_events("t", events([2]))
    assert postgresql_store.append_events("t", events([1, 2])) == ["duplicate", "accepted"]
    assert len(postgresql_store.history("t", "u1")) == 1


def test_two_processes_may_write_to_postgresql_and_numbers_never_appear_late(postgresql_store):
    """A follower that reads while two stores write never misses an event."""
    import threading

    url = postgresql_store._database.url
    done, seen, last = threading.Event(), [], 0
    with open_store(url.render_as_string(hide_password=False)) as other:

        def write(store, start):
            for number in range(start, start + 40):
                store.append_events("t", events([number]))

        threads = [threading.Thread(target=write, args=(one, start)) for one, start in
                   ((postgresql_store, 0), (other, 1000))]  # fmt: skip
        for thread in threads:
            thread.start()
        threading.Thread(target=lambda: [thread.join() for thread in threads] and done.set()).start()
        while True:
            finished = done.is_set()
            page = other.events_after("t", last)
            seen += [one.event_id for _, one in page]
            last = page[-1][0] if page else last
            if finished and not page:
                break
    assert len(seen) == len(set(seen)) == 80
