from __future__ import annotations

import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tastemaker import disk_cache
from tastemaker.disk_cache import DiskCache
from tastemaker.errors import ArtifactError, ConfigError


def make(path, contents="answers"):
    return DiskCache(path, contents=contents, cure="name another file")


def test_values_come_back_and_the_first_one_stays(tmp_path):
    cache = make(tmp_path / "below" / "file")
    assert cache.get([b"a"]) == {}
    cache.put([(b"a", b"1"), (b"b", b"2")])
    cache.put([(b"a", b"other")])
    assert make(tmp_path / "below" / "file").get([b"b", b"a", b"c", b"a"]) == {b"a": b"1", b"b": b"2"}


def test_many_keys(tmp_path):
    rows = [(bytes([number % 256, number // 256]), b"x") for number in range(1234)]
    cache = make(tmp_path / "file")
    cache.put(rows)
    assert cache.get(key for key, _ in rows) == dict(rows)


def test_each_missing_key_is_computed_once_in_batches(tmp_path):
    cache, asked = make(tmp_path / "file"), []
    cache.put([(b"b", b"known")])

    def compute(places):
        asked.append(places)
        return [str(place).encode() for place in places]

    keys = [b"a", b"b", b"a", b"c", b"d"]
    assert cache.complete(keys, cache.get(keys), compute, batch=2) == [b"0", b"known", b"0", b"3", b"4"]
    assert asked == [[0, 3], [4]]
    assert cache.get(keys) == {b"a": b"0", b"b": b"known", b"c": b"3", b"d": b"4"}


def test_a_failed_batch_keeps_those_before_it(tmp_path):
    cache = make(tmp_path / "file")

    def compute(places):
        if places[0] >= 2:
            raise KeyboardInterrupt
        return [b"x"] * len(places)

    with pytest.raises(KeyboardInterrupt):
        cache.complete([b"a", b"b", b"c"], {}, compute, batch=2)
    assert set(cache.get([b"a", b"b", b"c"])) == {b"a", b"b"}


def test_only_the_owner_can_read(tmp_path):
    cache = make(tmp_path / "below" / "file")
    cache.put([(b"a", b"1")])
    with cache._connection() as connection:  # while the journal is there too
        connection.execute("INSERT INTO answers VALUES (x'00', x'00')")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "below").iterdir()}
    assert modes == {"file": 0o600, "file-wal": 0o600, "file-shm": 0o600}
    assert stat.S_IMODE((tmp_path / "below").stat().st_mode) == 0o700


def test_a_lock_is_no_damage(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_cache, "PATIENCE", 0.05)
    cache = make(tmp_path / "file")
    cache.put([(b"a", b"1")])
    other = sqlite3.connect(tmp_path / "file", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert cache.get([b"a"]) == {b"a": b"1"}  # readers do not wait for a writer
    with pytest.raises(ConfigError, match=r"file: cannot be used now: database is locked; try again, or name another"):
        cache.put([(b"b", b"2")])
    other.execute("COMMIT")
    other.close()
    cache.put([(b"b", b"2")])


def test_set_up_waits_for_another_process_in_the_midst_of_it(tmp_path):
    """The file is there, its journal not yet: SQLite itself refuses to change that at once while someone writes."""
    other = sqlite3.connect(tmp_path / "file", isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE answers (key BLOB PRIMARY KEY, value BLOB NOT NULL)")
    other.execute(f"PRAGMA application_id = {disk_cache.APPLICATION}")
    other.execute("BEGIN IMMEDIATE")
    other.execute("INSERT INTO answers VALUES (x'61', x'31')")
    timer = threading.Timer(0.2, other.execute, ["COMMIT"])
    timer.start()
    assert make(tmp_path / "file").get([b"a"]) == {b"a": b"1"}
    timer.join()
    other.close()
    with closing(sqlite3.connect(tmp_path / "file")) as after:
        assert after.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_threads_may_begin_the_same_file_together(tmp_path):
    def begin(number):
        for file in range(20):
            make(tmp_path / str(file)).put([(bytes([number]), b"x")])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(begin, range(4)))
    assert all(len(make(tmp_path / str(file)).get(bytes([number]) for number in range(4))) == 4 for file in range(20))


@pytest.mark.parametrize("foreign", ["mark", "table", "contents"])
def test_files_of_others_are_left_alone(tmp_path, foreign):
    path = tmp_path / "file"
    if foreign == "contents":
        make(path, "vectors").put([(b"a", b"1")])
    else:
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA application_id = 7" if foreign == "mark" else "CREATE TABLE orders (id)")
        connection.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="not a file of answers of this version; name another file"):
        make(path).put([(b"a", b"1")])
    assert path.read_bytes() == before


def test_damage_says_what_to_delete(tmp_path):
    (tmp_path / "file").write_bytes(b"no database at all" * 100)
    with pytest.raises(ArtifactError, match=r"file: the cache of answers is damaged: .*; delete the file"):
        make(tmp_path / "file").get([])


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be written: [\w ]+; name another file"):
        make(tmp_path / "file" / "below").get([])
