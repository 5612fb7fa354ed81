"""Shop data as Gorse reads them, and back."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tastemaker.data import Dataset
from tastemaker.data.readers import read
from tastemaker.data.writers.gorse import write_gorse
from tastemaker.errors import DataError

SAMPLE = Path(__file__).parent / "samples" / "gorse"
words = st.text(st.sampled_from("aB1é日\"':;|,.-_= #{}[]"), min_size=1, max_size=6).filter(lambda text: text.strip())


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def same(left, right):
    """Whether two data sets hold the same, columns in any order."""
    return left.fingerprint == right.fingerprint


def test_what_gorse_exported_comes_back(tmp_path):
    data, _ = read(SAMPLE)
    write_gorse(data, tmp_path / "out")
    assert same(read(tmp_path / "out")[0], data)
    assert {row["ItemId"]: row["Labels"] for row in lines(tmp_path / "out" / "items.jsonl")} == {
        "MUG-1": {"material": "enamel", "brand": "Kaffa", "price": 12.5},
        "0042": None,
    }


def test_rows_as_gorse_has_them(tmp_path):
    log = {
        "user_id": ["u", "u", "u"],
        "item_id": ["a", "a", "b"],
        "timestamp": [1, 2, 3],
        "event_type": ["buy", "buy", None],
    }
    items = {
        "item_id": ["a", "b"],
        "title": ["A", None],
        "categories": [["x"], None],
        "hidden": [True, None],
        "other": [1, 2],
    }
    data = Dataset.from_frames(pl.DataFrame(log), pl.DataFrame(items))
    folder = write_gorse(data, tmp_path / "out")
    assert lines(folder / "feedback.jsonl") == [
        {"FeedbackType": "buy", "UserId": "u", "ItemId": "a", "Value": 0.0, "Timestamp": "1970-01-01T00:00:02Z"},
        {
            "FeedbackType": "interaction",
            "UserId": "u",
            "ItemId": "b",
            "Value": 0.0,
            "Timestamp": "1970-01-01T00:00:03Z",
        },
    ]
    assert lines(folder / "items.jsonl") == [
        {"ItemId": "a", "IsHidden": True, "Categories": ["x"], "Labels": None, "Comment": "A"},
        {"ItemId": "b", "IsHidden": False, "Categories": [], "Labels": None, "Comment": ""},
    ]
    assert lines(folder / "users.jsonl") == [{"UserId": "u", "Labels": None, "Comment": ""}]


def test_what_gorse_cannot_hold_is_refused_and_other_files_are_kept(tmp_path):
    data = Dataset.from_frames(pl.DataFrame({"user_id": ["u"], "item_id": ["toys/1"]}))
    with pytest.raises(DataError, match=r"1 of the items have an id with '/', which Gorse forbids \('toys/1'\)"):
        write_gorse(data, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    plain = Dataset.from_frames(pl.DataFrame({"user_id": ["u"], "item_id": ["1"]}))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(DataError, match="holds other files too"):
        write_gorse(plain, tmp_path / "mine", overwrite=True)
    write_gorse(plain, tmp_path / "out")
    with pytest.raises(DataError, match="not empty"):
        write_gorse(plain, tmp_path / "out")
    write_gorse(plain, tmp_path / "out", overwrite=True)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(words, words, words, st.integers(1, 10**9), st.integers(1, 5)), min_size=1, max_size=6),
    words,
)
def test_any_shop_comes_back(rows, title):
    log = pl.DataFrame(rows, schema=["user_id", "item_id", "event_type", "timestamp", "value"], orient="row")
    log = log.unique(["user_id", "item_id", "event_type"], keep="last", maintain_order=True)
    log = log.unique(["user_id", "timestamp"], maintain_order=True)
    items = log.select("item_id").unique(maintain_order=True).with_columns(title=pl.lit(title), hidden=pl.lit(False))
    data = Dataset.from_frames(log, items)
    with tempfile.TemporaryDirectory() as folder:
        write_gorse(data, Path(folder) / "out")
        back, report = read(Path(folder) / "out")
    assert report.ok
    assert back.fingerprint == data.fingerprint
