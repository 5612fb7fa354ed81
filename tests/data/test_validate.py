"""Every rule with its exact file, line, column, value and name."""

from __future__ import annotations

import gzip
import json

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tastemaker.data.readers import read, validate
from tastemaker.errors import DataError

LOG = "user_id,item_id,timestamp,value\n"
FRAGMENTS = [
    *(
        b"u,i,1,1\n",
        b"u\ti\t1\t1\r\n",
        b"user_id,item_id\n",
        b'"',
        b'""',
        b"\r",
        b"\n",
        b",",
        b"\t",
        b"::",
        b";",
        b"\0",
    ),
    *(
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xfe\xff",
        b"\x1f\x8b",
        b"\xe9",
        b"\x85",
        "é\u2028".encode(),
        b"\x1f",
        b" ",
        b"\\u",
    ),
    *(b"{", b"}", b"[", b"]", b'{"user_id": 1, "item_id": "i"}\n', b'{"user_id": null, "item_id": [1], "value": {}}\n'),
    *(
        b"{'user_id': 1, 'item_id': 2}\n",
        b'{"user_id": "\\ud800", "item_id": 1}\n',
        b"NaN",
        b"-1e999",
        b"9" * 30,
        b"null",
    ),
]


def found(source, **options):
    """The problems as (file name, line, column, value, rule)."""
    return [
        (p.file.rsplit("/", 1)[-1], p.line, p.column, p.value, p.rule) for p in validate(source, **options).problems
    ]


@pytest.fixture
def log(tmp_path):
    """Write interactions.csv with these rows and return what is wrong with it."""

    def check(rows, header=LOG):
        path = tmp_path / "interactions.csv"
        path.write_bytes(header.encode() + (rows if isinstance(rows, bytes) else rows.encode()))
        return [problem[1:] for problem in found(path)]

    return check


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (",i,1,1", ("user_id", None, "empty-id")),
        ('u,"",1,1', ("item_id", "", "empty-id")),
        ("u,   ,1,1", ("item_id", "   ", "empty-id")),
        ("u," + "é" * 129 + ",1,1", ("item_id", "é" * 80 + "…", "id-too-long")),
        ("u,a\0b,1,1", ("item_id", "a\0b", "nul-byte")),
        ("u,a\x07b,1,1", ("item_id", "a\x07b", "control-character")),
        ("u,a\tb,1,1", ("item_id", "a\tb", "control-character")),
        ("u,a\u202eb,1,1", ("item_id", "a\u202eb", "bidi-character")),
        ("u,a\u200bb,1,1", ("item_id", "a\u200bb", "invisible-character")),
        ("u,i,1,nan", ("value", "nan", "not-finite")),
        ("u,i,1,-inf", ("value", "-inf", "not-finite")),
        ("u,i,1,-1", ("value", "-1", "negative")),
        ("u,i,1,1e39", ("value", "1e39", "too-large")),
        ("u,i,1,five", ("value", "five", "not-a-number")),
        ("u,i,yesterday,1", ("timestamp", "yesterday", "bad-timestamp")),
        ("u,i,-5,1", ("timestamp", "-5", "timestamp-out-of-range")),
        ("u,i,4102444800,1", ("timestamp", "4102444800", "timestamp-out-of-range")),
        ("u,i,nan,1", ("timestamp", "nan", "bad-timestamp")),
        ("u,i,,1", ("timestamp", None, "missing-timestamp")),
        ("u,i,1", (None, "u,i,1", "field-count")),
        ("u,i,1,1,1", (None, "u,i,1,1,1", "field-count")),
        ('u,i"j,1,1', (None, 'u,i"j,1,1', "bad-quote")),
        ('u,"i"j,1,1', (None, 'u,"i"j,1,1', "bad-quote")),
        ('"u"\rx,i,1,1', (None, '"u"\rx,i,1,1', "bad-quote")),
        ('"u"\r,i,1,1', (None, '"u"\r,i,1,1', "bad-quote")),
        ('u,"i,1,1', (None, 'u,"i,1,1', "bad-quote")),
    ],
)
def test_a_bad_row_is_named_by_line_column_value_and_rule(log, row, problem):
    good = "u1,i1,1000,5\n"
    assert log(good * 2 + row + "\n" + good * 2) == [(4, *problem)]


@pytest.mark.parametrize(
    "row", ["u,i,4102444799,0", "u,i,0,", "u,NA,1,1", "null,1e5,1,1", "007,a/b,1,3.4e38", "u," + "é" * 128 + ",1,1"]
)
def test_a_row_at_the_edge_is_good(log, row):
    assert log(row + "\nu1,i1,1000,5\n") == []


def test_quoted_line_ends_do_not_shift_line_numbers(log):
    rows = 'u,i,1,"5"\nu,"i\n1",1,5\n\nu,j,1,-1\nu,"k\n\n",1\nu,l,1,-2\n'
    assert [problem[0] for problem in log(rows)] == [3, 6, 7, 10]


def test_carriage_returns_are_line_ends(log):
    assert log("u,i,1,5\r\nu,j,1\r\n", header=LOG.replace("\n", "\r\n")) == [(3, None, "u,j,1", "field-count")]
    assert log("u,i,1,5\ru,j,1\r", header=LOG.replace("\n", "\r")) == [(3, None, "u,j,1", "field-count")]


def test_one_row_may_break_several_rules_and_counts_once(log, tmp_path):
    assert log("u,i,1,1\n,,x,-1\n") == [
        (3, "user_id", None, "empty-id"),
        (3, "item_id", None, "empty-id"),
        (3, "timestamp", "x", "bad-timestamp"),
        (3, "value", "-1", "negative"),
    ]
    assert validate(tmp_path).bad_rows == 1


def test_many_bad_quotes_are_all_found(log):
    rows = "".join(f'u,5" nail,{i},1\nu,fine,{i},"1"\n' for i in range(50))
    assert [problem[0] for problem in log(rows)] == list(range(2, 102, 2))


def test_broken_bytes_are_reported_by_line(log):
    assert log("u,café,1,1\n".encode() + b"u,caf\xe9,1,1\n") == [(3, None, "u,caf\\xe9,1,1", "broken-encoding")]


def test_windows_1252_is_read_and_stated(tmp_path):
    path = tmp_path / "interactions.csv"
    path.write_bytes(LOG.encode() + b"u,caf\xe9 \x80,1,1\nu,\x81,1,1\n")
    data, report = read(path, max_bad=1)
    assert data.items.frame["id"].to_list() == ["café €"]
    assert any("Windows-1252" in note for note in report.notes)
    assert [(p.line, p.rule) for p in report.problems] == [(3, "broken-encoding")]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_read_and_stated(tmp_path, encoding):
    path = tmp_path / "interactions.csv"
    path.write_bytes((LOG + "ü,日本,1,1\n").encode(encoding))
    data, report = read(path)
    assert (data.users.ids([0]), data.items.ids([0])) == (["ü"], ["日本"])
    assert "byte order mark" in report.notes[0]


@pytest.fixture
def shop(tmp_path):
    """Write a folder of files and return it."""

    def make(**files):
        for name, text in files.items():
            (tmp_path / name.replace("_", ".")).write_text(text, encoding="utf-8")
        return tmp_path

    return make


def test_unknown_and_repeated_ids(shop):
    folder = shop(
        interactions_csv="user_id,item_id\nu,i\nu,j\nv,i\n",
        items_csv="item_id,title\ni,A\ni,B\n",
        users_csv="user_id\nu\n",
    )
    assert found(folder) == [
        ("interactions.csv", 3, "item_id", "j", "unknown-item"),
        ("interactions.csv", 4, "user_id", "v", "unknown-user"),
        ("items.csv", 3, "item_id", "i", "duplicate-id"),
    ]
    data, report = read(folder, max_bad=3)
    assert data.items.frame.rows() == [("i", "A")]
    assert report.left_out == {"interactions": 2, "items": 1, "users": 0}


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("title", "x" * 1001, "text-too-long"),
        ("description", "x" * 100_001, "text-too-long"),
        ("colour", "red\x1b[31m", "control-character"),
        ("title", "a\u2066b", "bidi-character"),
        ("brand", "a\0b", "nul-byte"),
        ("categories", "Toys|Ga\x01mes", "control-character"),
        ("categories", "[a, b]", "nested-categories"),
        ("price", "-1", "negative"),
        ("price", "dear", "not-a-number"),
        ("price", "12,5,0", "not-a-number"),
    ],
)
def test_texts_and_prices_of_items(shop, column, value, rule):
    folder = shop(interactions_tsv="user_id\titem_id\nu\ti\n", items_tsv=f"item_id\t{column}\ni\t1\nj\t{value}\n")
    ((file, line, *cell, name),) = found(folder)
    assert (file, line, cell[0], name) == ("items.tsv", 3, column, rule)


def test_what_to_do_about_an_amount_below_0_depends_on_the_table(shop):
    folder = shop(interactions_csv="user_id,item_id,value\nu,i,-1\n", items_csv="item_id,price\ni,-1\n")
    of_log, of_item = sorted(validate(folder).problems, key=lambda one: one.column, reverse=True)
    assert "--column quantity=HEADER" in of_log.hint
    assert of_item.hint == "no price is below 0; leave the field empty where it is not known"


def test_line_ends_and_emoji_joiners_are_fine_in_texts(shop):
    folder = shop(interactions_csv="user_id,item_id\nu,i\n", items_csv='item_id,title\ni,"two\nlines 👩\u200d🔧"\n')
    assert validate(folder).ok


def test_interactions_of_a_bad_item_are_left_out_and_counted(shop):
    folder = shop(interactions_csv="user_id,item_id\nu,i\nu,j\n", items_csv="item_id,price\ni,-1\nj,2\n")
    data, report = read(folder, max_bad=1)
    assert (len(data), report.left_out) == (1, {"interactions": 1, "items": 1})
    assert any(note.startswith("1 good interaction left out: the item is in a bad row") for note in report.notes)


def test_interactions_of_a_bad_record_stay_where_records_may_be_missing(tmp_path):
    """Amazon metadata never hold every product, so a record that breaks a rule counts as one that is missing."""
    reviews = [
        {"reviewerID": f"A{user}", "asin": item, "overall": 5.0, "unixReviewTime": 1_400_000_000 + user}
        for user in range(2)
        for item in ("B1", "B2")
    ]
    records = [{"asin": "B1", "title": "soap"}, {"asin": "B2", "title": "ink" * 100_000}]
    for name, rows in (("reviews_Tiny_5.json", reviews), ("meta_Tiny.json", records)):
        (tmp_path / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    data, report = read(tmp_path, max_bad=1)
    assert (len(data), data.n_items, report.left_out) == (4, 2, {"interactions": 0, "items": 1})
    assert data.items.frame.sort("id")["title"].to_list() == ["soap", None]
    assert "only an id, no record: 1 item with 2 interactions" in report.notes


def test_json_lines(shop):
    rows = ['{"user_id": 1, "item_id": "007"}', '{"user_id": 2', "[1]", "", '{"user_id": "\\ud800", "item_id": "x"}']
    folder = shop(interactions_jsonl="\n".join([*rows, '{"user_id": 3}']))
    assert [(p.line, p.column, p.rule) for p in validate(folder).problems] == [
        (2, None, "bad-json"),
        (3, None, "bad-json"),
        (5, None, "broken-encoding"),
        (6, "item_id", "empty-id"),
    ]


def test_parquet_lines_are_row_numbers(tmp_path):
    frame = pl.DataFrame({"user_id": [1, 2, 3], "item_id": ["a", "", "b"], "value": [1.0, 2.0, float("nan")]})
    frame.write_parquet(tmp_path / "interactions.parquet")
    assert found(tmp_path) == [
        ("interactions.parquet", 2, "item_id", "", "empty-id"),
        ("interactions.parquet", 3, "value", "NaN", "not-finite"),
    ]


def test_positions(log):
    rows = "u,i,0\nu,j,-1\nu,k,1.5\nu,l,\nu,m,x\n"
    assert log(rows, header="user_id,item_id,position\n") == [
        (3, "position", "-1", "not-a-position"),
        (4, "position", "1.5", "not-a-position"),
        (5, "position", None, "empty-position"),
        (6, "position", "x", "not-a-position"),
    ]


def test_the_error_names_the_first_problems_the_rest_and_the_cure(shop):
    folder = shop(interactions_csv="user_id,item_id,value\nu,i,1\n" + "u,i,-1\n" * 8)
    with pytest.raises(DataError) as caught:
        read(folder, max_bad=7)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{folder}: 8 bad rows, 7 allowed"
    assert lines[1].startswith(f"  {folder}/interactions.csv:3: value: negative: '-1'; ")
    assert lines[6:] == [
        "  and 3 more",
        f"see all: tastemaker data validate {folder} --json",
        "go on without them: --max-bad 8 (max_bad=8)",
    ]
    data, report = read(folder, max_bad=8)
    assert (len(data), report.left_out, report.rows) == (1, {"interactions": 8}, {"interactions": 9})


def test_a_report_is_json(shop):
    report = validate(shop(interactions_csv="user_id,item_id,value\nu,i,-1\nu,i\n")).to_dict()
    assert json.loads(json.dumps(report)) == report
    assert report["bad_rows"] == 2
    assert set(report["problems"][0]) == {"file", "line", "column", "value", "rule", "hint"}


def test_no_good_row_is_an_error_whatever_is_allowed(shop):
    with pytest.raises(DataError, match="no interaction would be left"):
        read(shop(interactions_csv="user_id,item_id\nu,\n"), max_bad=10)


def test_repeat_purchases_are_counted_and_kept(shop):
    data, report = read(shop(interactions_csv="user_id,item_id,timestamp\n" + "u,i,5\n" * 3 + "u,i,6\n"))
    assert len(data) == 4
    assert any("as another: 2 interactions; kept" in note for note in report.notes)


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        (["1483228800", "1483228801.9"], "seconds"),
        (["1483228800999", "1483228801000"], "milliseconds"),
        (["1483228800000001", "1483228801000000"], "microseconds"),
        (["1483228800000000000", "1483228801999999999"], "nanoseconds"),
        (["2017-01-01", "2017-01-01 00:00:01"], "ISO 8601"),
        (["2017-01-01T01:00+01:00", "2016-12-31T18:30:01.5-0530"], "ISO 8601"),
        (["2017-01-01T00:00Z", "2017-01-01T00:00:01Z"], "ISO 8601"),
    ],
)
def test_times_of_every_notation_become_seconds(shop, values, unit):
    rows = "".join(f"u,i,{value}\n" for value in values)
    data, report = read(shop(interactions_csv="user_id,item_id,timestamp\n" + rows))
    assert data.log["timestamp"].to_list() == [1483228800, 1483228801]
    assert any(unit in note for note in report.notes)


@pytest.mark.parametrize("day", ["2017-02-30", "2017-01-01T25:00", "01.02.2017"])
def test_impossible_dates(log, day):
    assert log(f"u,i,2017-01-01,1\nu,i,{day},1\nu,i,2017-01-02,1\n") == [(3, "timestamp", day, "bad-timestamp")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("interactions.csv", b"", "the file is empty"),
        ("interactions.csv", b"\n\n", "the file is empty"),
        ("interactions.jsonl", b"\n", "the file is empty"),
        ("interactions.csv", b"user_id,item_id\n", "has a header and no rows"),
        (
            "interactions.csv",
            b"usr_id,item_id\n1,2\n",
            "no column 'user_id'; .*convert takes --column user_id=usr_id; found: usr_id, item",
        ),
        (
            "interactions.csv",
            b"user,item,rating\n1,2,3\n",
            "no column 'user_id' and 'item_id'; .* --column user_id=user --column item_id=item; found: user, item",
        ),
        (
            "interactions.csv",
            b"Customer name,Article no,item\n1,2,3\n",
            "--column 'user_id=Customer name' --column item_id=item; found: Customer name, Article no, item",
        ),
        (
            "interactions.csv",
            b"user,sku,date,rating\n1,2,3,4\n",
            "no column 'user_id'; .* takes --column user_id=user; found: user, item_id, date, rating$",
        ),
        ("interactions.csv", b"\xef\xbb\xbf<head><title>a,b</title></head>", "a web page .HTML., no data"),
        ("interactions.csv", b"1,2,3\n4,5,6\n", "--column user_id=HEADER --column item_id=HEADER; is there a header"),
        (
            "interactions.csv",
            b"\n <!DOCTYPE html><html><body>",
            "interactions.csv: a web page .HTML., no data: .*log-in",
        ),
        ("interactions.csv", b"user_id,item_id,item_id\n1,2,3\n", "column 'item_id' occurs more than once"),
        ("interactions.csv", "user_id,item_id\nu,i\n".encode("utf-16-le"), "without a byte order mark"),
        ("interactions.csv", b'user_id,item"id\nu,i\n', "interactions.csv:1: the header cannot be read"),
        ("interactions.csv", b"user_id,it\rem_id\nu,i\n", "the header cannot be read: new-line"),
        ("interactions.csv", b'user_id,item_id,"' + b"h" * 200_000 + b'"\nu,i,x\n', "field limit.*; shorten its names"),
        ("interactions.csv", b"\xef\xbb\xbf", "the file is empty"),
        ("interactions.parquet", b"PAR1", "not a parquet file"),
        ("interactions.csv.gz", b"\x1f\x8bxx", "broken gzip"),
        ("interactions.csv.gz", gzip.compress(b"user_id,item_id\nu,i\n" * 99)[:30], "broken gzip"),
        ("interactions.csv", b"\x28\xb5\x2f\xfd", "zstd -d"),
    ],
)
def test_files_that_cannot_be_read_at_all(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        validate(tmp_path, format="canonical")


def test_float_ids_are_refused(tmp_path):
    pl.DataFrame({"user_id": [1.0], "item_id": [1]}).write_parquet(tmp_path / "interactions.parquet")
    with pytest.raises(DataError, match="'user_id' holds Float64; ids must be text or whole numbers"):
        read(tmp_path)


def test_a_missing_path(tmp_path):
    for options in ({}, {"format": "canonical"}):
        with pytest.raises(DataError, match="no such file or folder"):
            read(tmp_path / "nowhere", **options)


def test_direction_marks_and_c1_controls_in_texts_are_counted_and_kept(shop):
    titles = ["\u200eAmazon", "it\x92s", "\u061cx", "plain"]
    rows = "".join(f"{place},{title},a\x86b\n" for place, title in enumerate(titles))
    folder = shop(interactions_csv="user_id,item_id\nu,0\n", items_csv="item_id,title,categories\n" + rows)
    data, report = read(folder)
    assert data.items.frame["title"].to_list() == titles
    assert [note.split("items.csv: ")[1] for note in report.notes] == [
        "column 'title': 3 texts with direction marks or C1 controls; kept as written",
        "column 'categories': 4 texts with direction marks or C1 controls; kept as written",
    ]


def test_times_that_are_quoted_and_empty_are_missing(shop):
    report = validate(shop(interactions_csv='user_id,item_id,timestamp\nu,i,""\nu,j,""\n'))
    assert (report.ok, report.notes) == (True, ("no timestamp: 2 of 2 interactions",))
    report = validate(shop(interactions_csv='user_id,item_id,timestamp\nu,i,""\nu,j,5\n'))
    assert [(problem.line, problem.rule) for problem in report.problems] == [(2, "missing-timestamp")]


def test_what_is_left_out_in_words(shop):
    folder = shop(interactions_csv="user_id,item_id\nu,i\nu,j\nv,i\nu,k\n", items_csv="item_id,price\ni,-1\nk,2\n")
    assert validate(folder).left_out_words() == "left out: 3 interactions, 1 item"
    assert validate(shop(interactions_csv="user_id,item_id\nu,k\n")).left_out_words() == "left out: 1 item"
    shop(items_csv="item_id\nk\n")
    assert validate(folder).left_out_words() == ""


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(FRAGMENTS), max_size=12), st.sampled_from(["csv", "tsv", "jsonl", "csv.gz"]), st.booleans()
)
def test_whatever_the_bytes_there_is_a_report_or_an_error_of_ours(tmp_path, parts, suffix, header):
    path = tmp_path / f"interactions.{suffix}"
    path.write_bytes((LOG.encode() if header else b"") + b"".join(parts))
    try:
        report = validate(path)
    except DataError as error:
        assert path.name in str(error)
    else:
        assert sum(report.rows.values()) >= report.bad_rows


def test_the_error_shows_one_of_each_kind_and_counts_them(shop):
    folder = shop(interactions_csv="user_id,item_id,value\nu,i,1\n" + ",i,1\n" * 8 + "u,i,-1\nu,,1\n")
    with pytest.raises(DataError) as caught:
        read(folder)
    text = str(caught.value)
    for line, words in ((3, "user_id: empty-id"), (11, "value: negative"), (12, "item_id: empty-id")):
        assert f"interactions.csv:{line}: {words}" in text
    assert "and 5 more; in all: 8 user_id: empty-id, 1 value: negative, 1 item_id: empty-id" in text
