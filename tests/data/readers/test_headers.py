"""Headers of other exports: which column is taken for what, and what is proposed where none is known."""

from __future__ import annotations

import pytest

from tastemaker.data.checks.columns import KINDS
from tastemaker.data.readers import read, read_items
from tastemaker.data.readers.headers import canonical_names
from tastemaker.errors import DataError

EXPORTS = {
    "german": ("Bestelldatum;Kundennr;Artikelnr;Einzelpreis", "31.12.2025;20001;0010404;1.299,00"),
    "jtl": ("Auftragsdatum;Kundennummer;Artikelnummer;VK Brutto", "31.12.2025 14:05:00;20001;0010404;1.299,00"),
    "hyphens": ("Datum;Kunden-Nr.;Artikel-Nr.;Preis", "31.12.2025;20001;0010404;1.299,00"),
    "shopware": (
        "order_date_time;order_customer.customer_number;line_items.product_number;line_items.unit_price",
        "2025-12-31T14:05:00.000+01:00;20001;0010404;1299.00",
    ),
    "magento": ("created_at;customer_id;sku;price", "2025-12-31 14:05:00;20001;0010404;1299.0000"),
}


@pytest.mark.parametrize("export", EXPORTS)
def test_orders_of_common_shop_systems_need_no_mapping(tmp_path, export):
    header, row = EXPORTS[export]
    path = tmp_path / "orders.csv"
    path.write_text(f"{header}\n{row}\n")
    data, report = read(path)
    assert report.ok
    assert (data.users.ids([0]), data.items.ids([0])) == (["20001"], ["0010404"])
    assert data.has_timestamps
    assert sum("taken as" in note for note in report.notes) >= 3
    assert data.log.get_column("price", default=None) is None or data.log["price"].to_list() == [1299.0]


def test_german_product_tables_are_items(tmp_path):
    path = tmp_path / "artikel.csv"
    path.write_bytes(
        "Artikelnr;Bezeichnung;Hersteller;Kategorie;Beschreibung;Preis\n"
        "007;Tagescreme für trockene Haut;Dr. Müller;Kosmetik > Gesicht;<p>Gut</p>;1.299,50 €\n".encode("cp1252")
    )
    items, report = read_items(path)
    assert report.ok
    assert items.frame.drop("description").rows() == [
        ("007", "Tagescreme für trockene Haut", "Dr. Müller", ["Kosmetik", "Gesicht"], 1299.5)
    ]


def test_no_column_is_taken_twice_and_the_exact_name_wins():
    known = tuple(KINDS["interactions"])
    assert canonical_names(["user_id", "UserID", "sku", "Artikelnr"], known) == {"sku": "item_id"}
    assert canonical_names(["CUSTOMER_ID", "customer-id", "item_id"], known) == {"CUSTOMER_ID": "user_id"}
    assert canonical_names(["item.name", "brand.name"], tuple(KINDS["items"])) == {}


@pytest.mark.parametrize(
    ("header", "proposed"),
    [
        ("order,line_item.price,line_item.quantity,line_item.code", "item_id=line_item.code"),
        ("Mein Artikel,Artikelpreis", "item_id='Mein Artikel'"),
        ("product_price,product_title", "item_id=product_title"),
        ("product_price,total", "item_id=HEADER"),
    ],
)
def test_what_is_proposed_for_an_id_is_no_price_and_no_name(tmp_path, header, proposed):
    path = tmp_path / "orders.csv"
    path.write_text(f"user_id,{header},value\n" + ",".join("x" * (header.count(",") + 3)) + "\n")
    with pytest.raises(DataError) as caught:
        read(path)
    assert f"--column {proposed}" in str(caught.value).replace("'item_id=Mein Artikel'", "item_id='Mein Artikel'")


def test_times_and_quantities_of_other_things_are_none_of_the_order(tmp_path):
    path = tmp_path / "orders.csv"
    path.write_text(
        "user_id,item_id,product.created_at,order_customer.created_at,line_item.created_at,product.stock.quantity\n"
        "anna,007,2020-01-01,2021-01-01,2026-01-01,-3\n"
    )
    data, report = read(path)
    assert data.log["timestamp"].to_list() == [1_767_225_600]
    assert f"{path}: column 'line_item.created_at' taken as timestamp" in report.notes


def test_a_table_of_products_alone_is_sent_to_its_option(tmp_path):
    path = tmp_path / "artikel.csv"
    path.write_text("Artikelnr;Bezeichnung\n007;Hammer\n")
    with pytest.raises(DataError, match="a table of products stands behind --items"):
        read(path)


def test_the_first_line_of_a_spreadsheet_that_names_its_separator(tmp_path):
    path = tmp_path / "orders.csv"
    path.write_text("sep=;\nKundennr;Artikelnr\n1;007\n;008\n")
    data, report = read(path, max_bad=1)
    assert data.items.ids([0]) == ["007"]
    assert [problem.line for problem in report.problems] == [4]
    assert not any("blank" in note for note in report.notes)


def test_ids_that_an_export_changed_are_said(tmp_path):
    path = tmp_path / "orders.csv"
    path.write_text("user_id;item_id\nu ;4,01E+12\nu;4.02E+12\nu;E+1\n")
    data, report = read(path)
    assert len(data) == 3
    assert f"{path}: column 'user_id': 1 id begin or end" in "".join(report.notes)
    assert f"{path}: column 'item_id': 2 ids look like long numbers that a spreadsheet has rounded" in "".join(
        report.notes
    )


def test_a_table_under_another_suffix_is_told_its_name(tmp_path):
    path = tmp_path / "orders.txt"
    path.write_text("Kundennr;Artikelnr\n1;007\n")
    with pytest.raises(DataError, match=r"no known format; .*let its name end in \.parquet, \.csv"):
        read(path)
