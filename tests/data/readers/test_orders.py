"""Rows of an order log that are no interactions: returns, tests, cancelled orders, guests, copies."""

from __future__ import annotations

import polars as pl
import pytest

from tastemaker.data.filters import without_copies
from tastemaker.data.readers import read, read_items, validate
from tastemaker.data.readers.orders import Rows
from tastemaker.errors import DataError

LOG = """Bestellnr;Bestelldatum;Kundennr;Artikelnr;Menge;Status
1;01.12.2025;anna;007;1;Versendet
1;01.12.2025;anna;008;2,00;Versendet
2;02.12.2025;;007;1;Versendet
2;02.12.2025;;009;1;Versendet
3;02.12.2025;NULL;009;1;Versendet
4;03.12.2025;99999;007;1;Test
5;04.12.2025;anna;009;1;Storniert
6;09.12.2025;anna;008;-2;Retoure
7;10.12.2025;ben;007;1;
"""


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "orders.csv"
    path.write_text(LOG)
    return path


def rows_of(data):
    """Shopper and product of each interaction."""
    return sorted(zip(data.users.ids(data.log["user"]), data.items.ids(data.log["item"]), strict=True))


def test_returns_are_no_purchases_and_are_counted(log):
    data, report = read(log, max_bad=2)
    assert rows_of(data) == sorted(
        [("anna", "007"), ("anna", "008"), ("NULL", "009"), ("99999", "007"), ("anna", "009"), ("ben", "007")]
    )
    assert f"{log}: 1 return left out (Menge is below 0); what was bought before stays" in report.notes
    assert report.kinds() == ["2 user_id: empty-id"]
    assert "--guests" in next(report.problems).hint


def test_the_quantity_may_be_named(log):
    log.write_text(LOG.replace("Menge", "Wie viele"))
    assert len(read(log, max_bad=2)[0]) == 7
    data, report = read(log, columns={"quantity": "Wie viele"}, max_bad=2)
    assert len(data) == 6
    assert "Wie viele" in data.log.columns
    assert report.options == ("--column", "quantity=Wie viele")
    with pytest.raises(DataError, match="no column 'Wieviele'; did you mean 'Wie viele'"):
        read(log, columns={"quantity": "Wieviele"}, max_bad=2)


@pytest.mark.parametrize("written", ["-2,00", "2,00-", "2-", "− 2 Stk"])
def test_a_return_is_one_however_its_minus_is_written(log, written):
    log.write_text(LOG.replace(";-2;", f";{written};"))
    assert any("1 return left out" in note for note in read(log, max_bad=2)[1].notes)


def test_a_log_of_returns_alone_says_so(log):
    log.write_text("Kundennr;Artikelnr;Menge\nanna;007;-1\nben;008;-2\n")
    with pytest.raises(DataError, match=r"no row is left: Menge is below 0 in all of them, .* --column quantity="):
        read(log)


def test_rows_are_chosen_by_a_column_under_its_own_or_its_canonical_name(log):
    rows = Rows(without=(("Kundennr", ""), ("user_id", "NULL"), ("Kundennr", "99999"), ("Status", "Storniert")))
    data, report = read(log, rows=rows)
    assert report.ok
    assert rows_of(data) == [("anna", "007"), ("anna", "008"), ("ben", "007")]
    assert f"{log}: 2 rows left out: Kundennr is empty" in report.notes
    assert f"{log}: 1 row left out: user_id is 'NULL'" in report.notes
    only = Rows(only=(("Status", "Versendet"), ("Status", "")), without=(("Kundennr", ""),))
    data, report = read(log, rows=only)
    assert rows_of(data) == sorted([("anna", "007"), ("anna", "008"), ("NULL", "009"), ("ben", "007")])
    assert f"{log}: 3 rows left out: Status is not 'Versendet' or empty" in report.notes
    assert report.command() == (
        f"tastemaker data validate {log} --only Status=Versendet --only Status= --without Kundennr="
    )
    assert validate(log, rows=only).ok


def test_each_order_of_a_guest_is_a_shopper(log):
    data, report = read(log, rows=Rows(guests="Bestellnr", only=(("Status", "Versendet"),)))
    assert report.ok
    assert rows_of(data) == sorted(
        [("anna", "007"), ("anna", "008"), ("guest-2", "007"), ("guest-2", "009"), ("guest-3", "009")]
    )
    assert f"{log}: 3 rows of guests: 2 shoppers, one for each Bestellnr" in report.notes


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (Rows(only=(("Statsu", "Test"),)), "no column 'Statsu'; did you mean 'Status'"),
        (
            Rows(only=(("Status", "versendet"),)),
            "no row is left: Status is not 'versendet' in all of them; there: 'Versendet', ",
        ),
        (Rows(guests="Nummer"), "no column 'Nummer'.*; found: .*Kundennr"),
    ],
)
def test_what_cannot_be_chosen_is_said(log, rows, message):
    with pytest.raises(DataError, match=message):
        read(log, rows=rows)


def test_rows_are_chosen_in_order_logs_only(tmp_path):
    path = tmp_path / "x.inter"
    path.write_text("user_id:token\titem_id:token\n1\t2\n")
    with pytest.raises(DataError, match="rows are chosen by columns only for the format canonical; recbole"):
        read(path, rows=Rows(without=(("user_id", "1"),)))


def test_an_id_that_stands_for_everybody_is_named(tmp_path):
    path = tmp_path / "orders.csv"
    rows = [f"u{n},i{n % 7}" for n in range(300)] + [f"NULL,i{n % 7}" for n in range(60)]
    path.write_text("user_id,item_id\n" + "\n".join(rows))
    (words,) = [note for note in read(path)[1].notes if "NULL" in note]
    assert words.startswith("user 'NULL' has 60 of 360 interactions: everybody without an account is no shopper")
    path.write_text("user_id,item_id\n" + "\n".join(rows).replace("NULL", "Nuller"))
    assert read(path)[1].notes == ()


def test_copies_are_alike_in_shopper_product_and_time(log):
    log.write_text(LOG + "1;01.12.2025;anna;007;1;Versendet\n8;05.12.2025;anna;007;1;Versendet\n")
    data, _ = read(log, max_bad=2)
    kept = without_copies(data)
    assert (len(data), len(kept)) == (8, 7)
    assert rows_of(kept).count(("anna", "007")) == 2
    log.write_text("user_id,item_id\nu,i\nu,i\n")
    assert len(without_copies(read(log)[0])) == 2
    log.write_text("user_id,item_id,timestamp,event_type\nu,i,9,view\nu,i,9,purchase\nu,i,9,view\n")
    data, report = read(log)
    assert without_copies(data).log["event_type"].to_list() == ["view", "purchase"]
    assert any("same user, item, event_type and time as another: 1 interaction; kept" in one for one in report.notes)


PRODUCTS = """Artikelnr;Vaterartikel;Titel des Artikels;Preis;EAN
007-L;007;Hemd L;12,50;1
007-S;007;Hemd S;9,90;2
007;;Hemd;1.000,00;
008;;Hose;19,00;3
"""


def test_variants_of_a_shops_own_table_are_rolled_up_where_their_column_is_named(tmp_path):
    log, products = tmp_path / "orders.csv", tmp_path / "artikel.csv"
    log.write_text("Kundennr;Artikelnr\nanna;007-S\nanna;007\nben;007-L\nben;008\nben;009\n")
    products.write_text(PRODUCTS)
    named = {"title": "Titel des Artikels", "item_group_id": "Vaterartikel"}
    data, report = read(log, items=products, items_columns=named)
    assert report.ok
    assert rows_of(data) == [("anna", "007"), ("anna", "007"), ("ben", "007"), ("ben", "008"), ("ben", "009")]
    assert data.items.frame.select("id", "title", "price").rows() == [
        ("007", "Hemd", 9.9),
        ("008", "Hose", 19.0),
        ("009", None, None),
    ]
    assert any("2 by its own id, 2 by id of a variant" in note for note in report.notes)
    assert any("rolled up 3 rows to 1 product" in note for note in report.notes)
    assert report.options[:4] == ("--items", str(products), "--items-column", "title=Titel des Artikels")
    apart, _ = read(log, items=products)
    assert len(apart.items) == 5
    with pytest.raises(DataError, match="no column 'Vater'; found: "):
        read(log, items=products, items_columns={"item_group_id": "Vater"})
    with pytest.raises(DataError, match="a column of the products is named, but no products"):
        read(log, items_columns=named)


def test_texts_of_a_shops_own_table_lose_their_markup(tmp_path):
    products = tmp_path / "artikel.csv"
    products.write_text(
        "Artikelnr;Bezeichnung;Beschreibung\n"
        '1;"M&uuml;ller <b>Zange</b>";"<p>F&uuml;r Sie</p><script>x()</script>"\n'
        "2;Rohr 5 < 6 & mehr;R&D  a <3 b\n3;;\n",
        encoding="utf-8",
    )
    items, report = read_items(products)
    assert items.frame.select("title", "description").rows() == [
        ("Müller Zange", "Für Sie"),
        ("Rohr 5 < 6 & mehr", "R&D  a <3 b"),
        (None, None),
    ]
    assert f"{products}: column 'description': markup or entities removed in 1 row" in report.notes


def test_the_column_of_variants_may_have_a_name_that_means_an_id_elsewhere(tmp_path):
    log, products = tmp_path / "orders.csv", tmp_path / "products.csv"
    log.write_text("user_id,item_id\nanna,v1\nben,v2\nben,v3\n")
    products.write_text("product_id,sku,title\nP,v1,Shirt M\nP,v2,Shirt L\n,v3,Trousers\n")
    data, report = read(log, items=products, items_columns={"item_group_id": "product_id"})
    assert report.ok
    assert rows_of(data) == [("anna", "P"), ("ben", "P"), ("ben", "v3")]
    assert not any("kept under its own name" in note for note in report.notes)


@pytest.mark.parametrize("none", ["", "0", "NULL", "own"])
def test_a_product_without_a_parent_is_one_of_its_own(tmp_path, none):
    products = tmp_path / "products.csv"
    rows = [
        ("7a", "7", "Shirt M"),
        ("7b", "7a", "Shirt L"),
        ("7", none, "Shirt"),
        ("8", none, "Hat"),
        ("9", none, "Bag"),
    ]
    lines = (f"{item},{item if parent == 'own' else parent},{title}\n" for item, parent, title in rows)
    products.write_text("item_id,parent,title\n" + "".join(lines))
    log = tmp_path / "orders.csv"
    log.write_text("user_id,item_id\nanna,7a\nanna,7b\nben,8\n")
    data, _ = read(log, items=products, items_columns={"item_group_id": "parent"})
    assert data.items.frame.select("id", "title").rows() == [("7", "Shirt"), ("8", "Hat"), ("9", "Bag")]
    assert rows_of(data) == [("anna", "7"), ("anna", "7"), ("ben", "8")]


def test_an_id_of_0_may_be_a_parent(tmp_path):
    products = tmp_path / "products.csv"
    products.write_text("item_id,parent,title\n0,,Shirt\n1,0,Shirt M\n")
    items, _ = read_items(products, columns={"item_group_id": "parent"})
    assert items.frame["id"].to_list() == ["0"]


def test_parents_may_be_numbers_of_which_some_are_missing(tmp_path):
    products = tmp_path / "products.parquet"
    pl.DataFrame({"item_id": [7, 8, 9], "parent": [None, 7.0, float("nan")]}).write_parquet(products)
    items, _ = read_items(products, columns={"item_group_id": "parent"})
    assert items.frame["id"].to_list() == ["7", "9"]
