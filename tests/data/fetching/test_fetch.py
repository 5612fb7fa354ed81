from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
from dataclasses import replace
from zipfile import ZipFile

import pytest
from file_server import serving

from tastemaker.data import readers
from tastemaker.data.fetching import fetch as module
from tastemaker.data.fetching.fetch import File, Source, fetch, sources
from tastemaker.errors import DataError

RATINGS = [
    (user, item, 1 + (user + item) % 5, 880_000_000 + user * 10 + item) for user in range(6) for item in range(4)
]


def movielens() -> bytes:
    """A zip file in the shape of MovieLens 100K: 6 users, 5 movies of which one has no rating, 24 ratings."""
    buffer = io.BytesIO()
    genres = "|".join(["0"] * 18 + ["1"])
    with ZipFile(buffer, "w") as archive:
        archive.writestr("ml-tiny/u.data", "".join(f"{u}\t{i}\t{v}\t{t}\n" for u, i, v, t in RATINGS))
        movies = "".join(f"{item}|Movie {item} (1990)|01-Jan-1990||http://x|{genres}\n" for item in range(5))
        archive.writestr("ml-tiny/u.item", movies)
        archive.writestr("ml-tiny/README", "terms")
    return buffer.getvalue()


ZIP = movielens()
REVIEWS = gzip.compress(
    "".join(
        json.dumps({"reviewerID": f"A{u:010}", "asin": f"B{i:09}", "overall": float(v), "unixReviewTime": t}) + "\n"
        for u, i, v, t in RATINGS
    ).encode(),
    mtime=0,
)
METADATA = gzip.compress(
    "".join(str({"asin": f"B{i:09}", "title": f"Soap {i}", "price": 1.5}) + "\n" for i in range(50)).encode(), mtime=0
)


@pytest.fixture
def known(monkeypatch):
    """A function that makes `fetch` know one set, served by a loopback server."""

    def make(server, **changes):
        one = Source(
            name="tiny",
            title="Tiny",
            page="https://example.org/tiny",
            format="movielens",
            users=6,
            items=5,
            interactions=24,
            licence="none",
            terms="Do not pass it on.",
            files=(File(f"{server.url}/ml-tiny.zip", 1, 1, len(ZIP), hashlib.sha256(ZIP).hexdigest(), "us"),),
            folder="ml-tiny",
        )
        one = replace(one, **changes)
        monkeypatch.setattr(module, "sources", lambda: {one.name: one})
        return one

    return make


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_zip_file_becomes_a_canonical_folder(known, tmp_path):
    with serving(ZIP) as server:
        known(server)
        fetched = fetch("tiny", tmp_path)
    assert fetched.counts == {"users": 6, "items": 5, "interactions": 24}
    assert (fetched.differences, fetched.already, fetched.folder) == ((), False, tmp_path / "tiny")
    data, _ = readers.read(tmp_path / "tiny")
    assert (data.n_users, data.n_items, len(data)) == (6, 5, 24)
    assert data.items.frame.filter(id="4")["title"].to_list() == ["Movie 4 (1990)"]
    folder = ["tiny/interactions.parquet", "tiny/items.parquet", "tiny/users.parquet"]
    assert names(tmp_path) == [".fetched.lock", "downloads/tiny/ml-tiny.zip", "fetched.json", *folder]
    facts = fetched.files["ml-tiny.zip"]
    assert (facts["bytes"], facts["compared_with"]) == (len(ZIP), "published sum")
    assert not [line for line in fetched.notes if str(tmp_path) in line]


def test_a_second_fetch_asks_nobody(known, tmp_path):
    with serving(ZIP) as server:
        known(server)
        first = fetch("tiny", tmp_path)
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
        second = fetch("tiny", tmp_path)
        assert len(server.requests) == 1
    assert second.already and second.counts == first.counts and second.files == first.files
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}


def test_downloads_may_be_discarded_at_once_or_later(known, tmp_path):
    with serving(ZIP) as server:
        known(server)
        fetch("tiny", tmp_path / "a", keep=False)
        fetch("tiny", tmp_path / "b")
        for folder in ("a", "b"):
            assert fetch("tiny", tmp_path / folder, keep=False).already
            assert not (tmp_path / folder / "downloads" / "tiny").exists()
            assert fetch("tiny", tmp_path / folder).already
        assert len(server.requests) == 2


def test_a_damaged_download_is_fetched_again_and_a_lost_folder_is_made_again(known, tmp_path):
    with serving(ZIP) as server:
        known(server)
        fetch("tiny", tmp_path)
        (tmp_path / "downloads/tiny/ml-tiny.zip").write_bytes(b"damaged")
        assert not fetch("tiny", tmp_path).already
        assert (tmp_path / "downloads/tiny/ml-tiny.zip").read_bytes() == ZIP
        for file in (tmp_path / "tiny").iterdir():
            file.unlink()
        (tmp_path / "tiny").rmdir()
        assert fetch("tiny", tmp_path).counts["interactions"] == 24
        assert len(server.requests) == 2


def test_a_folder_that_fetch_did_not_make_is_left_alone(known, tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/interactions.csv").write_text("mine")
    with serving(ZIP) as server:
        known(server)
        with pytest.raises(DataError, match="was not made by fetch; move or remove it"):
            fetch("tiny", tmp_path)
        assert server.requests == []
        fetch("tiny", tmp_path / "b")
        (tmp_path / "b/tiny/items.parquet").write_bytes(b"changed")
        with pytest.raises(DataError, match="was changed since it was fetched"):
            fetch("tiny", tmp_path / "b")
    assert names(tmp_path / "tiny") == ["interactions.csv"]


def test_a_note_in_the_folder_and_an_empty_folder_are_no_obstacle(known, tmp_path):
    (tmp_path / "tiny").mkdir()
    with serving(ZIP) as server:
        known(server)
        assert not fetch("tiny", tmp_path).already
        (tmp_path / "tiny/note.txt").write_text("mine")
        assert fetch("tiny", tmp_path).already
        (tmp_path / "tiny/items.parquet").unlink()
        with pytest.raises(DataError, match="was changed since it was fetched"):
            fetch("tiny", tmp_path)
    assert (tmp_path / "tiny/note.txt").read_text() == "mine"


def test_what_a_killed_conversion_left_goes_after_a_day(known, tmp_path):
    left = tmp_path / "downloads/.draft.tiny.abc"
    (left / "ml-tiny").mkdir(parents=True)
    os.utime(left, (0, 0))
    with serving(ZIP) as server:
        known(server)
        fetch("tiny", tmp_path)
    assert not left.exists()


def test_a_file_that_a_set_no_longer_has_is_forgotten(known, tmp_path):
    with serving(ZIP) as server:
        known(server)
        fetch("tiny", tmp_path)
        ledger = json.loads((tmp_path / "fetched.json").read_text())
        files = ledger["sets"]["tiny"]["files"]
        files["gone.zip"] = files["ml-tiny.zip"]
        (tmp_path / "fetched.json").write_text(json.dumps(ledger))
        assert fetch("tiny", tmp_path).already
        assert len(server.requests) == 1


def test_a_fetch_that_was_killed_while_writing_is_finished_by_the_next(known, tmp_path):
    with serving(ZIP) as server:
        known(server)
        fetch("tiny", tmp_path)
        ledger = json.loads((tmp_path / "fetched.json").read_text())
        entry = ledger["sets"]["tiny"]
        entry["unfinished"] = True
        del entry["folder"], entry["counts"], entry["kept"]
        (tmp_path / "fetched.json").write_text(json.dumps(ledger))
        assert not fetch("tiny", tmp_path).already
        assert fetch("tiny", tmp_path).already
        assert len(server.requests) == 1


def test_a_wrong_checksum_leaves_nothing(known, tmp_path):
    with serving(ZIP + b"x") as server:
        known(server, files=(File(f"{server.url}/ml-tiny.zip", 1, 1, None, "0" * 64, "us"),))
        with pytest.raises(DataError, match="refused, nothing is kept"):
            fetch("tiny", tmp_path)
    assert names(tmp_path) == []


def test_a_zip_file_that_reaches_out_is_refused(known, tmp_path):
    buffer = io.BytesIO(ZIP)
    with ZipFile(buffer, "a") as archive:
        archive.writestr("../../escaped", "x")
    with serving(buffer.getvalue()) as server:
        known(server, files=(File(f"{server.url}/ml-tiny.zip", 1, 1),))
        with pytest.raises(DataError, match="outside its folder; refused; nothing is kept"):
            fetch("tiny", tmp_path / "out")
    assert names(tmp_path) == []


def test_a_web_page_instead_of_the_file_is_refused(known, tmp_path):
    with serving(b"<html>please log in</html>") as server:
        known(server, files=(File(f"{server.url}/ml-tiny.zip", 1, 1),))
        with pytest.raises(DataError, match="not a zip file"):
            fetch("tiny", tmp_path)
    assert names(tmp_path) == []


def test_a_file_without_a_published_sum_is_pinned_by_the_first_fetch(known, tmp_path):
    with serving(ZIP) as server:
        known(server, files=(File(f"{server.url}/ml-tiny.zip", 1, 1),))
        assert fetch("tiny", tmp_path).files["ml-tiny.zip"]["compared_with"] == "nothing: first fetch"
        file = tmp_path / "downloads/tiny/ml-tiny.zip"
        file.unlink()
        assert fetch("tiny", tmp_path).files["ml-tiny.zip"]["compared_with"] == "sum of the first fetch"
        file.unlink()
        buffer = io.BytesIO(ZIP)
        with ZipFile(buffer, "a") as archive:
            archive.writestr("ml-tiny/more", "x")
        server.content = buffer.getvalue()
        with pytest.raises(DataError, match=r"the first fetch had .*; refused.* remove .*fetched\.json"):
            fetch("tiny", tmp_path)
    assert not file.exists()


def amazon(server, known, **changes):
    files = tuple(File(f"{server.url}/{name}", 1, 1) for name in ("reviews_Tiny_5.json.gz", "meta_Tiny.json.gz"))
    return known(server, format="amazon", folder="", sold_only="asin", items=4, files=files, **changes)


def serve_amazon(server):
    whole = server.answer

    def answer(handler, fault):
        server.content = METADATA if "meta" in handler.path else REVIEWS
        whole(handler, fault)

    server.answer = answer


def test_amazon_keeps_the_products_that_were_sold(known, tmp_path):
    with serving(etag="") as server:
        serve_amazon(server)
        amazon(server, known)
        fetched = fetch("tiny", tmp_path)
    assert fetched.counts == {"users": 6, "items": 4, "interactions": 24} and fetched.differences == ()
    assert "meta_Tiny.json.gz: 46 products that nobody in the log bought, left out" in fetched.notes
    data, _ = readers.read(tmp_path / "tiny")
    assert sorted(data.items.frame["title"].to_list()) == ["Soap 0", "Soap 1", "Soap 2", "Soap 3"]


def test_other_counts_than_the_stated_ones_are_said(known, tmp_path):
    with serving(etag="") as server:
        serve_amazon(server)
        amazon(server, known, users=7, interactions=1000)
        fetched = fetch("tiny", tmp_path)
    stated = ("users: 6, the literature states 7", "interactions: 24, the literature states 1,000")
    assert fetched.differences == stated
    assert fetched.to_dict()["differences"] == list(stated)


def test_unknown_names_and_foreign_lists(known, tmp_path):
    with pytest.raises(DataError, match="did you mean 'movielens-100k'"):
        fetch("movielens-100", tmp_path)
    for content, words in (("[]", "it: Input should be"), ('{"format": 2, "sets": {}}', "format: Input should be 1")):
        (tmp_path / "fetched.json").write_text(content)
        with pytest.raises(DataError, match=words):
            fetch("movielens-100k", tmp_path)


@pytest.mark.parametrize("source", sources().values(), ids=sources())
def test_every_source_is_complete_and_safe(source):
    assert source.format in readers.FORMATS
    assert source.page.startswith("https://") and source.terms.endswith(".") and source.licence
    assert min(source.counts.values()) > 0
    for file in source.files:
        assert file.url.startswith("https://") and file.name.endswith((".gz", ".zip"))
        assert 0 < file.most_megabytes <= file.most_unpacked_megabytes
        assert bool(file.sha256) == bool(file.sum_from)
        assert not file.sha256 or re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert file.bytes is None or file.bytes < file.most_megabytes << 20
    assert bool(source.folder) == source.files[0].name.endswith(".zip")


def test_the_sets_that_the_benchmarks_need_can_be_fetched():
    assert {f"amazon-{part}-2014" for part in ("beauty", "sports", "toys", "office")} <= set(sources())
