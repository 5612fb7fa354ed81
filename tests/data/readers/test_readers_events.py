"""Event streams of Google Analytics 4, Gorse and Metarank, from files as the systems write them."""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tastemaker.data import Dataset
from tastemaker.data.readers import detect, read, read_items, validate
from tastemaker.data.readers.ga4 import EVENTS
from tastemaker.errors import DataError

SAMPLES = Path(__file__).parent / "samples"


def events(data, *columns):
    """The log as (user id, item id, further columns)."""
    ids = zip(data.users.ids(data.log["user"].to_numpy()), data.items.ids(data.log["item"].to_numpy()), strict=True)
    return [(*pair, *row[1:]) for pair, row in zip(ids, data.log.select("user", *columns).rows(), strict=True)]


def lines(*rows):
    """Rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("ga4.jsonl", "ga4"),
        ("datalayer.jsonl", "ga4"),
        ("measurement_protocol.jsonl", "ga4"),
        ("gorse", "gorse"),
        ("metarank.jsonl", "metarank"),
    ],
)
def test_each_is_told_by_content(name, format):
    assert detect(SAMPLES / name) == format
    assert validate(SAMPLES / name).ok


def test_ga4_export():
    data, report = read(SAMPLES / "ga4.jsonl")
    assert events(data, "timestamp", "event_type", "price", "quantity", "session_id", "transaction_id") == [
        ("anna", "MUG-1", 1704445210, "view_item", 12.0, None, "11", None),  # by device, before she signed in
        ("anna", "MUG-1", 1704445300, "purchase", 11.5, 2.0, "11", "T1"),
        ("anna", "LS-M", 1704445300, "purchase", 45.0, 1.0, "11", "T1"),
        ("dev.2", "0042", 1704445500, "add_to_cart", None, None, None, None),
    ]
    mug = data.items.frame.row(0, named=True)
    assert mug == {
        "id": "MUG-1",
        "title": "Enamel mug, blue",
        "brand": "Kaffa",
        "categories": ["Home", "Kitchen"],
        "price": 11.5,
    }
    notes = "\n".join(report.notes)
    for words in (
        "timestamps are microseconds",
        "events left out: session_start 1, view_item_list 1",
        "nobody to be named by user_id or device: 1 event",
        "1 device counted as the one user who signed in there",
    ):
        assert words in notes


def test_ga4_data_layer_and_measurement_protocol():
    data, _ = read(SAMPLES / "datalayer.jsonl")
    assert events(data, "timestamp", "event_type", "price") == [
        ("dev.1", "MUG-1", 1704445200, "view_item", 12.0),
        ("dev.1", "MUG-1", 1704445320, "purchase", 12.0),
        ("dev.1", "TT-1", 1704445320, "purchase", 8.0),
    ]
    data, _ = read(SAMPLES / "measurement_protocol.jsonl")
    assert events(data, "timestamp", "event_type", "currency") == [
        ("anna", "MUG-1", 1704445200, "add_to_cart", "EUR"),
        ("anna", "MUG-1", 1704445260, "purchase", None),
    ]


def test_ga4_devices_of_two_users_stay_devices(tmp_path):
    event = {"event_name": "view_item", "event_timestamp": "1704445200000000", "items": [{"item_id": "a"}]}
    path = tmp_path / "e.jsonl"
    path.write_text(
        lines(*({**event, "user_pseudo_id": "d", "user_id": user} for user in ("u", "v", "(not set)", None)))
    )
    data, _ = read(path)
    assert sorted(user for user, _ in events(data)) == ["d", "d", "u", "v"]


def test_ga4_problems_are_named(tmp_path):
    event = {"event_name": "purchase", "event_timestamp": 1704445200000000, "user_pseudo_id": "d"}
    path = tmp_path / "e.jsonl"
    path.write_text(
        lines(
            {**event, "items": [{"item_id": "a", "price": "9.5"}]},
            {**event, "items": "a"},
            {**event, "items": [{"item_name": "b"}]},
            {**event, "items": [{"item_id": ["c"]}]},
            {**event, "items": [{"item_id": "d", "price": "dear"}]},
            {**event, "event_timestamp": 1704445200, "items": [{"item_id": "e"}]},
        )
        + "{oops\n"
    )
    found = [(p.line, p.column, p.value, p.rule) for p in validate(path).problems]
    assert found == [
        (2, None, "a", "bad-items"),
        (3, "item_id", None, "empty-id"),
        (4, "item_id", '["c"]', "wrong-type"),
        (5, "price", "dear", "not-a-number"),
        (6, "timestamp", "1704445200", "other-unit"),
        (7, None, "{oops", "bad-json"),
    ]
    data, _ = read(path, max_bad=6)
    assert events(data) == [("d", "a")]


def test_ga4_shards_are_read_behind_each_other(tmp_path):
    shards = tmp_path / "export"
    shards.mkdir()
    rows = (SAMPLES / "ga4.jsonl").read_bytes().splitlines(keepends=True)
    (shards / "events-0.json.gz").write_bytes(gzip.compress(b"".join(rows[:3])))
    (shards / "events-1.json.gz").write_bytes(gzip.compress(b"".join(rows[3:])))
    joined = tmp_path / "events.jsonl"
    joined.write_bytes(b"".join(path.read_bytes() for path in sorted(shards.iterdir())))
    whole, _ = read(SAMPLES / "ga4.jsonl")
    assert read(joined)[0].fingerprint == whole.fingerprint
    (shards / "schema.json").write_text('{"fields": []}')
    data, report = read(shards)
    assert (detect(shards), data.fingerprint) == ("ga4", whole.fingerprint)
    assert any("2 files are read behind each other" in note for note in report.notes)
    assert any("without an event of GA4, left out: schema.json" in note for note in report.notes)
    assert read(shards / "events-*")[0].fingerprint == whole.fingerprint
    assert len(read(shards / "events-[0].json*")[0]) == 1
    with pytest.raises(DataError, match="no such file or folder"):
        read(shards / "none-*")
    (shards / "events-1.json.gz").unlink()
    assert len(read(shards)[0]) == 1


def test_ga4_events_of_two_shards_count_once(tmp_path):
    def view(item, time, **more):
        return {
            **{"event_name": "view_item", "event_timestamp": time, "user_pseudo_id": "d", "items": [{"item_id": item}]},
            **more,
        }

    times = [1704445200000000 + second * 10**6 for second in range(9)]
    (tmp_path / "events_20240105.jsonl").write_text(lines(*[view("a", times[0])] * 2, view("b", times[1])))
    (tmp_path / "events_20240106.json").write_text(
        lines(view("b", times[1]), view("b", times[2]), view("c", times[1]), view("b", times[1], user_id="u"))
        + "\n{oops\n"
    )
    again = lines(view("a", times[0]), view("a", None), view("a", None), {**view("a", times[3]), "items": "x"})
    (tmp_path / "events_intraday_20240106.ndjson").write_text(again)
    found = [(p.file, p.line, p.rule, p.hint.rpartition("(")[2]) for p in validate(tmp_path).problems]
    assert found[0] == (str(tmp_path), 9, "bad-json", "events_20240106.json:6)")
    assert found[-1] == (str(tmp_path), 13, "bad-items", "events_intraday_20240106.ndjson:4)")
    assert [rule for _, _, rule, _ in found] == ["bad-json", "missing-timestamp", "missing-timestamp", "bad-items"]
    data, report = read(tmp_path, max_bad=4)
    assert "events that an earlier file has too, left out: 2 events" in " ".join(report.notes)
    assert (report.rows["interactions"], len(data)) == (10, 6)


def test_a_flat_table_with_the_names_of_ga4_is_no_export(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(lines({"event_name": "buy", "event_timestamp": 1704445200, "user_id": "u", "product_id": "i"}))
    assert detect(path) == "canonical"


json_texts = st.text(st.sampled_from("aZ0-_./é日"), min_size=1, max_size=5)
happenings = st.tuples(
    json_texts, json_texts, st.sampled_from(EVENTS), st.integers(1_600_000_000, 1_700_000_000), st.integers(0, 999)
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(happenings, min_size=1, max_size=8), st.booleans())
def test_any_events_are_read_as_they_were_written(rows, export):
    """Against a data set made without the reader."""
    priced = [(*row[:-1], row[-1] / 100) for row in rows]
    log = pl.DataFrame(priced, schema=["user_id", "item_id", "event_type", "timestamp", "price"], orient="row")
    events = [
        {
            **{"event_name": kind, "event_timestamp": str(second * 10**6), "user_pseudo_id": user, "event_params": []},
            **{"items": [{"item_id": item, "price": cents / 100}]},
        }
        if export
        else {
            **{"event": kind, "client_id": user, "timestamp": second * 1000},
            "ecommerce": {"items": [{"item_id": item, "price": str(cents / 100)}]},
        }
        for user, item, kind, second, cents in rows
    ]
    last = {item: cents / 100 for _, item, _, _, cents in rows}
    items = pl.DataFrame({"item_id": list(last), "price": list(last.values())})
    expected = Dataset.from_frames(log, items)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "e.jsonl"
        path.write_text(lines(*events))
        data, report = read(path)
    assert report.ok
    assert data.users == expected.users
    assert data.items.frame.select("id", "price").equals(expected.items.frame)
    columns = ["user", "item", "event_type", "timestamp", "price"]
    assert data.log.select(columns).equals(expected.log.select(columns))


def test_ga4_without_shopping_says_what_there_is(tmp_path):
    path = tmp_path / "e.jsonl"
    path.write_text(lines({"event_name": "page_view", "event_timestamp": "1", "user_pseudo_id": "d"}))
    with pytest.raises(DataError, match=r"no item in any event of view_item.*found: page_view 1"):
        read(path)


def test_gorse_folder():
    data, _ = read(SAMPLES / "gorse")
    assert events(data, "timestamp", "event_type", "value") == [
        ("anna", "MUG-1", 1704445320, "purchase", 1.0),
        ("ben", "MUG-1", 1704355200, "read", 2.5),
        ("ben", "0042", 1704445200, "read", 0.0),
    ]
    assert data.items.frame.to_dicts() == [
        {
            "id": "MUG-1",
            "title": "Enamel mug",
            "brand": "Kaffa",
            "price": 12.5,
            "categories": ["Home", "Kitchen"],
            "hidden": False,
            "created_at": "2023-06-01T00:00:00Z",
            "labels": '{"material": "enamel"}',
        },
        {"id": "0042", "title": "Tea towel", "hidden": True}
        | dict.fromkeys(("brand", "price", "categories", "created_at", "labels")),
    ]
    assert data.users.frame.rows() == [("anna", '{"city": "Porto", "age": 34}', None), ("ben", None, "wholesale")]


def test_gorse_files_by_content_alone(tmp_path):
    folder = tmp_path / "dump"
    shutil.copytree(SAMPLES / "gorse", folder)
    (folder / "feedback.jsonl").rename(folder / "part-0.json")
    assert len(read(folder)[0]) == 3
    assert len(read(folder / "part-0.json")[0]) == 3
    assert len(read_items(folder)[0]) == len(read_items(folder / "items.jsonl")[0]) == 2
    with pytest.raises(DataError, match="users of Gorse, but no feedback"):
        read(folder / "users.jsonl")
    shutil.copy(folder / "part-0.json", folder / "part-1.json")
    with pytest.raises(DataError, match=r"part-0.json and part-1.json both hold feedback"):
        read(folder)


def test_gorse_zeros_say_nothing(tmp_path):
    row = {"FeedbackType": "read", "UserId": "u", "ItemId": "i", "Value": 0, "Timestamp": "0001-01-01T00:00:00Z"}
    path = tmp_path / "feedback.json"
    path.write_text(lines(row))
    data, report = read(path)
    assert not data.has_values
    assert not data.has_timestamps
    assert any("every Value is 0" in note for note in report.notes)
    path.write_text(lines(row, {**row, "ItemId": {"a": 1}}))
    assert [(p.line, p.column, p.rule) for p in validate(path).problems] == [(2, "item_id", "wrong-type")]


def test_metarank():
    data, report = read(SAMPLES / "metarank.jsonl")
    assert events(data, "timestamp", "event_type", "session_id", "request_id", "event_id", "count") == [
        ("anna", "MUG-1", 1704445204, "click", "s1", "r1", "e4", None),
        ("s2", "0042", 1704445205, "purchase", "s2", None, "e5", 2),
    ]
    assert data.items.frame.to_dicts() == [
        {"id": "MUG-1", "title": "Enamel mug", "price": 11.5, "colours": ["blue", "white"]},
        {"id": "0042", "title": "Tea towel", "price": None, "colours": None},
    ]
    assert data.users.frame.rows() == [("anna", 34), ("s2", None)]
    notes = "\n".join(report.notes)
    for words in ("not read: 1 ranking event", "session counts as one: 1 interaction", "field 'name' taken as title"):
        assert words in notes


def test_metarank_problems(tmp_path):
    event = {"event": "interaction", "id": "e", "timestamp": "1704445200000", "user": "u", "type": "click", "item": "i"}
    path = tmp_path / "events.jsonl"
    path.write_text(
        lines(
            event,
            {**event, "item": None},
            {**event, "event": "deletion"},
            {"event": "item", "id": "x", "timestamp": "1", "item": ["i"], "fields": []},
            {**event, "user": None},
            {**event, "fields": [{"name": "item_id", "value": "j"}, "odd"]},
        )
    )
    report = validate(path)
    assert [(p.line, p.column, p.rule) for p in report.problems] == [
        (2, None, "bad-event"),
        (3, None, "bad-event"),
        (4, "item_id", "wrong-type"),
    ]
    notes = "\n".join(report.notes)
    assert "left out, neither user nor session: 1 interaction" in notes
    assert "fields not read, as the event has them: item_id" in notes
    assert events(read(path, max_bad=3)[0]) == [("u", "i"), ("u", "i")]


def test_metarank_items_alone(tmp_path):
    path = tmp_path / "items.jsonl"
    path.write_text(lines({"event": "item", "id": "e", "timestamp": "1", "item": "i", "fields": []}))
    assert len(read_items(path)[0]) == 1
    with pytest.raises(DataError, match="products only"):
        read(path)
