"""The canonical folder: every notation, aliases, and exact round trips of hostile values."""

from __future__ import annotations

import datetime as dt
import gzip
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tastemaker.characters import strip_hostile
from tastemaker.data import Dataset
from tastemaker.data.readers import detect, read, validate
from tastemaker.data.readers.canonical import DTYPES
from tastemaker.data.writers.canonical import to_frames, write
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


TYPED = {
    "string": ["", " a"],
    "bool": [True, False],
    "date": [dt.date(1969, 12, 31), dt.date(2024, 2, 29)],
    "list[string]": [[], ["a|b", ""]],
    "null": [None, None],
    "float32": [0.1, -1e30],
    "float64": [1.0, 1e300],
}


@pytest.mark.parametrize(
    ("word", "notation"),
    [
        (word, notation)
        for word, dtype in DTYPES.items()
        for notation in ("parquet", "jsonl", *(() if dtype.is_nested() else ("csv", "tsv")))
    ],
)
def test_every_type_survives_every_notation(tmp_path, word, notation):
    dtype = DTYPES[word]
    if dtype.is_integer():
        values = list(pl.select(dtype.min().alias("least"), dtype.max().alias("largest")).row(0))
    else:
        values = TYPED.get(word) or [dt.datetime(2020, 1, 2, 3, 4, 5, 678_000), dt.datetime(1960, 1, 1)]
    column = pl.Series([values[0], None, values[1]], dtype=dtype)
    log = {"user_id": ["u"] * 3, "item_id": list("abc"), "x": column, "empty": column.clear(3)}
    data = shop(log)
    back, report = read(write(data, tmp_path / "out", format=notation))
    assert report.ok
    assert same(back, data)
    assert back.log.schema["x"] == dtype


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
    assert data.items.frame["id"].to_list() == ["a", "b"]
    assert (data.users.frame["id"].to_list(), data.log["item"].to_list()) == (["u", "v"], [1, 0, 1])
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
    assert report.notes[2].endswith("1 blank line skipped")


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
    schema.write_text('{"tastemaker": 1, "interactions": {"n": "int64", "ok": "bool"}}')
    data, report = read(tmp_path, max_bad=1)
    assert data.log.select("n", "ok").rows() == [(1, True), (None, None)]
    assert [(p.line, p.column, p.value, p.rule) for p in report.problems] == [(3, "n", "x", "wrong-type")]
    schema.write_text('{"tastemaker": 1, "interactions": {"n": "quaternion"}}')
    with pytest.raises(DataError, match=r"schema.json: not a role"):
        read(tmp_path)


def test_a_schema_file_may_not_type_canonical_columns(tmp_path):
    (tmp_path / "interactions.csv").write_text("user_id,item_id\n007,i\n")
    (tmp_path / "schema.json").write_text('{"tastemaker": 1, "interactions": {"user_id": "int64"}}')
    with pytest.raises(DataError, match=r"schema.json: interactions.user_id has a type of its own"):
        read(tmp_path)
    (tmp_path / "schema.json").write_text('{"tastemaker": 3, "interactions": {}}')
    with pytest.raises(DataError, match="written by another version"):
        read(tmp_path)


@pytest.mark.parametrize("content", [b'{"$schema": "x", "interactions": {"user_id": "int64"}}', b"[1]", b"\xff", b""])
def test_an_unrelated_schema_file_is_left_alone_and_said(tmp_path, content):
    (tmp_path / "interactions.csv").write_text("user_id,item_id\n007,i\n")
    (tmp_path / "schema.json").write_bytes(content)
    data, report = read(tmp_path)
    assert data.users.ids([0]) == ["007"]
    assert any("schema.json: not a schema of tastemaker" in note for note in report.notes)
    with pytest.raises(DataError, match=r"holds other files too \(schema.json\)"):
        write(data, tmp_path, overwrite=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("reviews.json", b'{"reviewerID": "A", "asin": "B000000001", "overall": 5, "unixReviewTime": 1}\n'),
        ("ratings.csv", b"userId,movieId,rating,timestamp\n1,2,3,4\n"),
        ("x.inter", b"user_id:token\titem_id:token\n1\t2\n"),
        ("bom.csv", b"\xef\xbb\xbf"),
        ("bom.json", b"\xff\xfe"),
        ("zstd.csv", b"\x28\xb5\x2f\xfd"),
        ("broken.json.gz", b"\x1f\x8bxx"),
        ("interactions.old.csv", b"a,b\n"),
    ],
)
def test_other_files_do_not_take_over_a_canonical_folder(tmp_path, name, content):
    (tmp_path / "interactions.csv").write_text("user_id,item_id\nu,i\n")
    (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.csv").mkdir()
    assert detect(tmp_path) == "canonical"
    assert len(read(tmp_path)[0]) == 1


def test_names_of_files_may_be_in_upper_case(tmp_path):
    (tmp_path / "Interactions.CSV.GZ").write_bytes(gzip.compress(b"user_id,item_id\nu,i\n"))
    (tmp_path / "ITEMS.JSONL").write_text('{"item_id": "i", "title": "A"}')
    assert read(tmp_path)[0].items.frame.rows() == [("i", "A")]


def test_a_column_beside_the_one_that_counts_is_said(tmp_path):
    path = tmp_path / "interactions.csv"
    path.write_text("user_id,USER_ID,item_id,value,rating\nu,v,i,1,2\n")
    data, report = read(path)
    assert data.users.ids([0]) == ["u"]
    for name in ("USER_ID", "rating"):
        assert any(f"column '{name}' is kept under its own name" in note for note in report.notes)


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**400])
def test_whole_numbers_beyond_64_bits_are_kept(tmp_path, number):
    path = tmp_path / "interactions.jsonl"
    path.write_text(f'{{"user_id": {number}, "item_id": 1, "n": {number}}}\n{{"user_id": 2, "item_id": 1, "n": 0.5}}')
    data, report = read(path, max_bad=1)
    assert data.users.frame["id"].to_list()[-1] == "2"
    if number < 10**300:
        assert data.users.ids([0]) == [str(number)]
        assert data.log["n"].to_list() == [str(number), "0.5"]
    else:
        assert [problem.rule for problem in report.problems] == ["id-too-long"]


def test_json_rows_without_one_good_are_all_reported(tmp_path):
    path = tmp_path / "interactions.jsonl"
    path.write_text('[{"user_id": "u", "item_id": "i"},\n{"user_id": "u", "item_id": "j"}]\n')
    report = validate(path)
    assert [(problem.line, problem.rule) for problem in report.problems] == [(1, "bad-json"), (2, "bad-json")]
    assert all("JSON array" in problem.hint for problem in report.problems)
    with pytest.raises(DataError, match="2 bad rows, no interaction would be left"):
        read(path)


def test_json_objects_that_repeat_a_key_and_ids_of_other_types_are_problems(tmp_path):
    rows = [
        '{"user_id": "u", "item_id": 1}',
        '{"user_id": "u", "user_id": "v", "item_id": 1}',
        '{"user_id": "u", "item_id": 1, "box": {"a": 1, "a": 2}}',
        '{"user_id": {"a": 1}, "item_id": 1}',
        '{"user_id": "u", "item_id": true}',
        '{"user_id": 2.0, "item_id": ["x"]}',
    ]
    path = tmp_path / "interactions.jsonl"
    path.write_text("\n".join(rows))
    assert [(p.line, p.column, p.value, p.rule) for p in validate(path).problems if p.column] == [
        (4, "user_id", '{"a": 1}', "wrong-type"),
        (5, "item_id", "true", "wrong-type"),
        (6, "user_id", "2.0", "wrong-type"),
    ]
    assert [(p.line, p.rule) for p in validate(path).problems if not p.column] == [
        (2, "repeated-key"),
        (3, "repeated-key"),
    ]


def test_ids_are_told_by_alias_and_only_in_their_own_table(tmp_path):
    (tmp_path / "interactions.jsonl").write_text(
        '{"User_ID": "u", "product_id": 1}\n{"User_ID": {}, "product_id": 1}\n'
    )
    (tmp_path / "items.jsonl").write_text('{"ITEM_ID": 1, "user_id": {"seller": 5}}')
    assert [(problem.line, problem.column, problem.rule) for problem in validate(tmp_path).problems] == [
        (2, "User_ID", "wrong-type")
    ]


def test_what_is_neither_file_nor_folder_is_refused():
    with pytest.raises(DataError, match="neither a file nor a folder"):
        read("/dev/null")


@pytest.mark.parametrize("name", ["date", "Created at", "order_date", "datetime", "time", "ordered_at"])
def test_times_go_by_the_names_that_shops_give_them(tmp_path, name):
    file = tmp_path / "orders.csv"
    file.write_text(f"user_id,item_id,{name}\nu,late,2026-01-02\nu,early,2026-01-01\n")
    data, report = read(file)
    assert data.items.ids(data.queries().items) == ["early", "late"]
    assert any(f"column '{name}' taken as timestamp" in note for note in report.notes)


def test_prices_of_a_shops_own_table_are_read_as_people_write_them(tmp_path):
    (tmp_path / "interactions.csv").write_text('user_id,item_id,price\nu,a,"7,50"\nu,b,\n')
    (tmp_path / "items.csv").write_text(
        'item_id,price\na,"12,50"\nb,"1.299,00 €"\nc,7\nd,\ne,"1.250"\nf,-3\ng,dear\nh,nan\n', encoding="utf-8"
    )
    data, report = read(tmp_path, max_bad=3)
    assert data.items.frame["price"].to_list() == [12.5, 1299.0, 7.0, None, 1250.0]
    assert data.log["price"].to_list() == [7.5, None]
    assert [(problem.line, problem.rule) for problem in report.problems] == [
        (7, "negative"),
        (8, "not-a-number"),
        (9, "not-finite"),
    ]
    [said] = [note for note in report.notes if "price" in note and "items.csv" in note]
    assert "2 prices with a comma or a currency read" in said
    assert "',' parts the decimals" in said


def test_plain_prices_stay_to_the_letter(tmp_path):
    (tmp_path / "interactions.csv").write_text("user_id,item_id\nu,a\n")
    (tmp_path / "items.csv").write_text("item_id,price\na,1.250\nb,1e3\nc,0.1\n")
    data, report = read(tmp_path)
    assert data.items.frame["price"].to_list() == [1.25, 1000.0, 0.1]
    assert not [note for note in report.notes if "price" in note]


def test_an_order_log_as_a_european_shop_exports_it(tmp_path):
    rows = "u;a;31.12.2025;1.299,00 €\nu;b;02.01.2026 08:05;13,52 €\nv;a;3.1.2026;-5,00 €\n"
    (tmp_path / "orders.csv").write_text("user_id;item_id;Datum;Summe\n" + rows, encoding="utf-8")
    columns = {"timestamp": "Datum", "value": "Summe"}
    data, report = read(tmp_path / "orders.csv", columns=columns, max_bad=1)
    assert data.log["timestamp"].to_list() == [1767139200, 1767341100]
    assert data.log["value"].to_list() == pytest.approx([1299.0, 13.52])
    ((line, column, rule),) = [(one.line, one.column, one.rule) for one in report.problems]
    assert (line, column, rule) == (4, "value", "negative")  # what is below 0 is never read as above
    assert any("3 prices with a comma or a currency read; ',' parts the decimals" in note for note in report.notes)
    assert any("timestamps are dates with the day first" in note for note in report.notes)
