from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading

import numpy as np
import pytest

from tastemaker.encoders import cache
from tastemaker.encoders.base import Encoder, distinct, spread, unit_rows
from tastemaker.encoders.cache import cached
from tastemaker.encoders.tfidf import TfidfEncoder
from tastemaker.errors import ArtifactError, ConfigError


class Counting(Encoder):
    """Vectors from the letters of a text; remembers what it was asked."""

    name = "counting"

    def __init__(self, stop_after=None):
        super().__init__()
        self.asked = []
        self.stop_after = stop_after

    def encode(self, texts, *, kind, progress=None):
        if self.stop_after is not None and len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked += texts
        sign = -1 if kind == "query" else 1
        return unit_rows(np.array([[sign * sum(map(ord, text)), len(text), 1] for text in texts], dtype=np.float32))


TEXTS = [f"soap {number}" for number in range(50)]


def test_second_time_nothing_is_asked(tmp_path):
    first = cached(Counting(), tmp_path).encode([*TEXTS, "", TEXTS[0]], kind="document")
    inside = Counting()
    again = cached(inside, tmp_path).encode([*TEXTS, "", TEXTS[0]], kind="document")
    np.testing.assert_array_equal(first, again)
    assert inside.asked == []
    assert not first[50].any()
    np.testing.assert_array_equal(first[51], first[0])
    np.testing.assert_array_equal(first[:50], Counting().encode(TEXTS, kind="document"))


def test_kinds_are_kept_apart(tmp_path):
    store = cached(Counting(), tmp_path)
    assert store.encode(["a"], kind="query")[0, 0] < 0 < store.encode(["a"], kind="document")[0, 0]


def test_what_is_asked_is_not_kept(tmp_path):
    inside = Counting()
    store = cached(inside, tmp_path)
    store.encode(["a wish"], kind="query")
    store.encode(["a wish"], kind="query")
    assert inside.asked == ["a wish"] * 2
    assert list(tmp_path.iterdir()) == []
    store.encode(["a product"], kind="document")
    assert len(list(tmp_path.glob("*.sqlite"))) == 1


def test_only_new_texts_are_encoded(tmp_path):
    inside = Counting()
    store = cached(inside, tmp_path)
    store.encode(TEXTS[:10], kind="document")
    store.encode(TEXTS[5:15], kind="document")
    assert inside.asked == TEXTS[:15]


def test_a_stopped_run_loses_one_batch_at_most(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "BATCH", 10)
    with pytest.raises(KeyboardInterrupt):
        cached(Counting(stop_after=30), tmp_path).encode(TEXTS, kind="document")
    inside = Counting()
    cached(inside, tmp_path).encode(TEXTS, kind="document")
    assert inside.asked == TEXTS[30:]


def test_a_refitted_encoder_does_not_meet_old_vectors(tmp_path):
    store = cached(TfidfEncoder(dim=4), tmp_path).fit(["red shoe", "blue hat"])
    store.encode(["red hat"], kind="document")
    store.fit(["red shoe", "green hat", "black tea"])
    alone = TfidfEncoder(dim=4).fit(["red shoe", "green hat", "black tea"])
    assert store.identity() == alone.identity()
    np.testing.assert_array_equal(
        store.encode(["red hat"], kind="document"), alone.encode(["red hat"], kind="document")
    )


def test_arrays_and_restore_reach_the_encoder_inside(tmp_path):
    fitted = cached(TfidfEncoder(dim=4), tmp_path).fit(TEXTS)
    copy = cached(TfidfEncoder(dim=4), tmp_path)
    copy.restore(fitted.arrays())
    assert copy.fingerprint() == fitted.fingerprint()


def test_no_text_is_stored(tmp_path):
    cached(Counting(), tmp_path).encode(["a secret product"], kind="document")
    assert list(tmp_path.iterdir())
    assert all(b"secret" not in path.read_bytes() for path in tmp_path.iterdir())


def test_threads_share_a_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "BATCH", 5)
    expected = Counting().encode(TEXTS, kind="document")
    results = {}

    def work(number):
        results[number] = cached(Counting(), tmp_path).encode(TEXTS, kind="document")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for vectors in results.values():
        np.testing.assert_array_equal(vectors, expected)


def test_processes_share_a_cache(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from tastemaker.encoders import cache; from tastemaker.encoders.tfidf import TfidfEncoder\n"
        "cache.BATCH, texts = 3, [f'soap {n}' for n in range(200)]\n"
        "encoder = cache.cached(TfidfEncoder(dim=4).fit(texts), Path(sys.argv[1]))\n"
        "print(float(encoder.encode(texts, kind='document').sum()))\n"
    )

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    sums = [process.communicate(timeout=60)[0] for process in running]
    assert all(process.returncode == 0 for process in running)
    assert sums[0] == sums[1] != ""


def test_damage_and_bad_folders_say_so(tmp_path):
    store = cached(Counting(), tmp_path)
    store.encode(TEXTS, kind="document")
    (path,) = tmp_path.glob("*.sqlite")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE vectors SET value = x'0000' WHERE rowid = 1")
    connection.close()
    with pytest.raises(ArtifactError, match="delete the file"):
        store.encode(TEXTS, kind="document")
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(ArtifactError, match="delete the file"):
        store.encode(TEXTS, kind="document")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="TASTEMAKER_CACHE"):
        cached(Counting(), tmp_path / "file" / "below").encode(["a"], kind="document")


def test_distinct_and_spread_are_inverse():
    texts = ["b", "", "a", "b", " "]
    found, rows = distinct(texts)
    assert found == ["b", "a"] and rows.tolist() == [0, -1, 1, 0, -1]
    assert spread(np.array([[1.0], [2.0]], dtype=np.float32), rows).tolist() == [[1], [0], [2], [1], [0]]


def test_unit_rows_leaves_nothing_at_nothing():
    vectors = unit_rows(np.array([[3, 4], [0, 0], [1e-9, 0]], dtype=np.float32))
    np.testing.assert_allclose(vectors, [[0.6, 0.8], [0, 0], [0, 0]], atol=1e-7)
