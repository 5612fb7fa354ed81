"""The canonical folder: every notation, aliases, and exact round trips of hostile values."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tastemaker.characters import strip_hostile
from tastemaker.data import Dataset
from tastemaker.data.readers import read
from tastemaker.data.write import to_frames, write
from tastemaker.errors import DataError

NOTATIONS = [("parquet", False), *((name, packed) for name in ("csv", "tsv", "jsonl") for packed in (False, True))]
HOSTILE_IDS = [
    "007",
    "7",
    "NA",
    "null",
    "nan",
    "None",
    "1e5",
    "true",
    "a/b",
    "ü",
    "日本",
    'a"b',
    "a,b",
    "a;b|c",
    "'",
    "#x",
]

visible = st.characters(exclude_categories=("C", "Zl", "Zp"))
ids = st.text(visible, min_size=1, max_size=9).filter(lambda text: text.strip() and strip_hostile(text) == text)
texts = st.none() | st.text(st.sampled_from(' a"\n\r,;|\t\\é'), max_size=6)


def shop(log, items=None, users=None):
    """A data set from rows."""
    return Dataset.from_frames(pl.DataFrame(log), items, users)


def same(left, right):
    """Whether two data sets are equal in every column, type and order."""
    return left.items == right.items and left.users == right.users and left.log.equals(right.log)


def rich_shop():
    log = {
        "user_id": [*HOSTILE_IDS, "7"],
        "item_id": [*HOSTILE_IDS[::-1], "7"],
        "timestamp": [1_500_000_000 - place for place in range(len(HOSTILE_IDS) + 1)],
        "value": [0.1, 3.3, 1e-7, 5.0] * 4 + [2.5],
        "event_type": ["view", None] * 8 + [""],
        "store": list(range(17)),
        "gift": [True, None] * 8 + [False],
    }
    n = len(HOSTILE_IDS) + 1
    items = {
        "item_id": [*HOSTILE_IDS, "cold"],
        "title": ["", None, ' "quoted", ', "two\nlines", "tab\there"] + ["x"] * (n - 5),
        "categories": [[], None, ["Home"], ["Home", "Kitchen & Bath"]] + [["a", "b", "c"]] * (n - 4),
        "price": [0.1, None, 1e-9, 19.99] + [3.0] * (n - 4),
        "zip": ["01234"] * n,
        "stock": pl.Series([None, *range(n - 1)], dtype=pl.Int16),
    }
    users = {"user_id": ["silent", *HOSTILE_IDS], "age": ["30-40"] * n}
    return shop(log, pl.DataFrame(items), pl.DataFrame(users))


@pytest.mark.parametrize(("notation", "packed"), NOTATIONS)
def test_a_round_trip_is_exact(tmp_path, notation, packed):
    data = rich_shop()
    write(data, tmp_path / "out", format=notation, gzip=packed)
    back, report = read(tmp_path / "out")
    assert report.ok
    assert same(back, data)
    assert back.fingerprint == data.fingerprint


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(ids, ids, texts), min_size=1, max_size=8))
def test_any_visible_id_survives_every_notation(rows):
    users, items, words = zip(*rows, strict=True)
    data = shop({"user_id": users, "item_id": items, "note": pl.Series(words, dtype=pl.String)})
    with tempfile.TemporaryDirectory() as folder:
        for notation, packed in NOTATIONS:
            write(data, Path(folder) / f"{notation}{packed}", format=notation, gzip=packed)
            assert same(read(Path(folder) / f"{notation}{packed}")[0], data)


def test_order_survives_although_times_contradict_it(tmp_path):
    data = shop({"user_id": ["u"] * 3, "item_id": list("abc"), "position": [2, 0, 1], "timestamp": [1, 2, 3]})
    assert data.log["item"].to_list() == [1, 2, 0]
    assert same(read(write(data, tmp_path / "out", format="csv"))[0], data)


@pytest.mark.parametrize("names", [["a|b"], ["a > b"], [" a"], [""], ["a", None]])
def test_categories_that_csv_cannot_keep_are_refused(tmp_path, names):
    items = pl.DataFrame({"item_id": ["ok", "bad"], "categories": [["x"], names]})
    data = shop({"user_id": ["u"], "item_id": ["ok"]}, items)
    with pytest.raises(DataError, match=r"of 'bad' cannot be told apart in csv.*use parquet or jsonl"):
        write(data, tmp_path / "out", format="csv")
    assert list(tmp_path.iterdir()) == []
    assert same(read(write(data, tmp_path / "out", format="jsonl"))[0], data)


def test_types_that_text_cannot_keep_are_refused(tmp_path):
    items = pl.DataFrame({"item_id": ["a"], "tags": [["x"]], "box": [{"w": 1}]})
    data = shop({"user_id": ["u"], "item_id": ["a"]}, items)
    with pytest.raises(DataError, match="column 'tags' holds List"):
        write(data, tmp_path / "out", format="tsv")
    with pytest.raises(DataError, match="column 'box' holds Struct"):
        write(data, tmp_path / "out", format="jsonl")
    assert same(read(write(data, tmp_path / "out"))[0], data)


def test_a_folder_with_files_is_refused_unless_told_and_never_if_foreign(tmp_path):
    data, other = shop({"user_id": ["u"], "item_id": ["a"]}), shop({"user_id": ["v"], "item_id": ["b"]})
    folder = write(data, tmp_path / "out", format="csv")
    with pytest.raises(DataError, match="not empty"):
        write(other, folder)
    write(other, folder, overwrite=True)
    assert same(read(folder)[0], other)
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match=r"other files too \(thesis.txt\)"):
        write(data, folder, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_writing_is_refused_with_a_reason(tmp_path):
    data = shop({"user_id": ["u"], "item_id": ["a"]})
    (tmp_path / "file").write_text("")
    for options, message in (
        ({"format": "xlsx"}, "unknown notation"),
        ({"gzip": True}, "compressed already"),
        ({}, "exists and is no folder"),
    ):
        with pytest.raises(DataError, match=message):
            write(data, tmp_path / "file", **options)


def test_frames_and_data_set_are_each_other_s_reverse():
    data = rich_shop()
    frames = to_frames(data)
    assert same(Dataset.from_frames(frames["interactions"], frames["items"], frames["users"]), data)


def test_one_file_without_items_is_enough(tmp_path):
    path = tmp_path / "orders.csv"
    path.write_text("item_id,user_id\nb,u\na,u\nb,v\n")
    data, report = read(path)
    assert data.items.frame["id"].to_list() == ["b", "a"]
    assert (data.users.frame["id"].to_list(), data.log["item"].to_list()) == (["u", "v"], [0, 1, 0])
    assert (report.format, report.rows, report.notes) == ("canonical", {"interactions": 3}, ())


def test_columns_in_upper_case_and_aliases_are_taken_and_stated(tmp_path):
    path = tmp_path / "interactions.csv"
    path.write_text("USER_ID,Product_ID,TIMESTAMP,EVENT_VALUE,Shelf\nu,i,5,2,left\n")
    data, report = read(path)
    assert data.log.row(0, named=True) == {"user": 0, "item": 0, "timestamp": 5, "value": 2.0, "Shelf": "left"}
    for old, new in (("USER_ID", "user_id"), ("Product_ID", "item_id"), ("EVENT_VALUE", "value")):
        assert any(f"column '{old}' taken as {new}" in note for note in report.notes)


def test_the_canonical_name_wins_over_an_alias(tmp_path):
    path = tmp_path / "interactions.csv"
    path.write_text("user_id,item_id,product_id,value,rating\nu,i,p,1,2\n")
    data, _ = read(path)
    assert data.items.ids([0]) == ["i"]
    assert data.log.select("value", "product_id", "rating").row(0) == (1.0, "p", "2")


@pytest.mark.parametrize(
    ("text", "names"), [("A|B > C", ["A", "B > C"]), ("A > B", ["A", "B"]), ("A", ["A"]), ("", None)]
)
def test_categories_of_csv(tmp_path, text, names):
    (tmp_path / "interactions.csv").write_text("user_id,item_id\nu,i\n")
    (tmp_path / "items.csv").write_text(f"item_id,categories\ni,{text}\n")
    assert read(tmp_path)[0].items.frame["categories"].to_list() == [names]


def test_another_separator_and_an_unnamed_column_are_stated(tmp_path):
    path = tmp_path / "interactions.csv"
    path.write_text(';user_id;item_id\n0;u;"a;b"\n\n1;u;c\n')
    data, report = read(path)
    assert data.items.frame["id"].to_list() == ["a;b", "c"]
    assert data.log["column_1"].to_list() == ["0", "1"]
    assert len(report.notes) == 3
    assert report.notes[2].endswith("1 blank lines skipped")


def test_gzip_is_told_by_content(tmp_path):
    path = tmp_path / "interactions.tsv"
    path.write_bytes(gzip.compress(b"user_id\titem_id\nu\ti\n"))
    assert len(read(path)[0]) == 1


def test_numbers_of_json_and_parquet_become_decimal_ids(tmp_path):
    (tmp_path / "interactions.jsonl").write_text(
        '{"user_id": 12345678901234567890, "item_id": 7, "tags": ["a"], "box": {"w": 1}}\n'
        '{"user_id": "007", "item_id": 8, "n": 3}\n'
    )
    data, report = read(tmp_path)
    assert data.users.frame["id"].to_list() == ["12345678901234567890", "007"]
    assert data.items.frame["id"].to_list() == ["7", "8"]
    assert data.log.select("tags", "box", "n").rows() == [(["a"], '{"w": 1}', None), (None, None, 3)]
    assert any("'box' mixes or nests types" in note for note in report.notes)


def test_two_files_for_one_role_are_refused(tmp_path):
    for name in ("interactions.csv", "interactions.tsv"):
        (tmp_path / name).write_text("user_id\titem_id\n")
    with pytest.raises(DataError, match=r"interactions.csv and interactions.tsv both hold interactions"):
        read(tmp_path)


def test_a_folder_without_interactions_says_what_it_holds(tmp_path):
    (tmp_path / "products.csv").write_text("")
    with pytest.raises(DataError, match=r"no known format.*products.csv"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"no interactions\.\{parquet,csv,tsv,jsonl\}; found: products.csv"):
        read(tmp_path, format="canonical")


def test_an_unknown_format_name_is_refused(tmp_path):
    with pytest.raises(DataError, match="unknown format 'recbol'; did you mean 'recbole'"):
        read(tmp_path, format="recbol")


def test_a_schema_file_types_columns_and_reports_what_does_not_fit(tmp_path):
    (tmp_path / "interactions.csv").write_text("user_id,item_id,n,ok\nu,i,1,true\nu,j,x,false\nu,k,,\n")
    schema = tmp_path / "schema.json"
    schema.write_text('{"interactions": {"n": "int64", "ok": "bool"}}')
    data, report = read(tmp_path, max_bad=1)
    assert data.log.select("n", "ok").rows() == [(1, True), (None, None)]
    assert [(p.line, p.column, p.value, p.rule) for p in report.problems] == [(3, "n", "x", "wrong-type")]
    schema.write_text('{"interactions": {"n": "quaternion"}}')
    with pytest.raises(DataError, match=r"schema.json: not a role"):
        read(tmp_path)
