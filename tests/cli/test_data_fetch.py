"""`tastemaker data fetch`, with the network replaced by a scripted download."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import pytest

from tastemaker.data.fetching import fetch as module
from tastemaker.data.fetching.download import sha256_of
from tastemaker.data.fetching.fetch import sources


@pytest.fixture
def offline(monkeypatch):
    """Downloads that write a small file of Amazon ratings and metadata; returns the addresses asked for."""
    asked = []

    def download(remote, target, *, check, progress, pause):
        asked.append(remote.url)
        rows = [
            {
                "reviewerID": f"A{user:010}",
                "asin": f"B{item:09}",
                "overall": 5.0,
                "unixReviewTime": 1_400_000_000 + item,
            }
            for user in range(5)
            for item in range(4)
        ]
        products = [{"asin": f"B{item:09}", "title": f"Pen {item}"} for item in range(9)]
        lines = products if "meta" in remote.url else rows
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode(), mtime=0))
        check(target)
        return sha256_of(target)

    monkeypatch.setattr(module, "download", download)
    return asked


def test_without_a_name_all_sets_are_listed(tastemaker, offline):
    listed = {one["name"]: one for one in tastemaker("data", "fetch", "--json").json()}
    assert set(listed) == set(sources())
    assert {"terms", "licence", "page", "files", "users"} <= set(listed["movielens-100k"])
    outcome = tastemaker("data", "fetch")
    assert all(name in outcome.out for name in sources())
    assert "4.9 MB" in outcome.out and "1 of 1 file" in outcome.out
    assert offline == []


def test_fetching_says_the_terms_and_what_differs(tastemaker, offline, tmp_path):
    outcome = tastemaker("data", "fetch", "amazon-office-2014", "--out", tmp_path)
    assert outcome.code == 0
    assert outcome.out.split() == f"5 users, 4 items, 20 interactions written to {tmp_path}/amazon-office-2014".split()
    assert "terms (https://cseweb.ucsd.edu" in outcome.err and "do not pass the data on" in outcome.err
    assert "warning: users: 5, the literature states 4,905; figures" in outcome.err
    assert "compared with nothing: first fetch" in outcome.err
    assert [url.rpartition("/")[2] for url in offline] == [file.name for file in sources()["amazon-office-2014"].files]
    assert "already in" in tastemaker("data", "fetch", "amazon-office-2014", "--out", tmp_path).out
    assert tastemaker("data", "describe", tmp_path / "amazon-office-2014", "--json").json()["users"] == 5


def test_fetching_as_json(tastemaker, offline, tmp_path, monkeypatch):
    right = replace(sources()["amazon-office-2014"], users=5, items=4, interactions=20)
    monkeypatch.setattr(module, "sources", lambda: {"pens": replace(right, name="pens")})
    facts = tastemaker("data", "fetch", "pens", "--out", tmp_path, "--discard", "--json").json()
    assert (facts["users"], facts["items"], facts["interactions"]) == (5, 4, 20)
    assert facts["differences"] == [] and facts["already_there"] is False
    assert sorted(path.name for path in tmp_path.iterdir()) == [".fetched.lock", "downloads", "fetched.json", "pens"]
    assert list((tmp_path / "downloads").iterdir()) == []


def test_unknown_sets_are_refused(refused, offline, tmp_path):
    assert "did you mean 'amazon-toys-2014'" in refused("data", "fetch", "amazon-toy-2014", "--out", tmp_path)
    assert list(tmp_path.iterdir()) == []
