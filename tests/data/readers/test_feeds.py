"""Product feeds of three systems, alone and with an order log, from files as the systems write them."""

from __future__ import annotations

import csv
import math
import tempfile
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tastemaker.data.readers import detect, read, read_items, validate
from tastemaker.errors import DataError

SAMPLES = Path(__file__).parent / "samples"
ORDERS = SAMPLES / "orders.csv"


def products(source, **options):
    """Items by id, without what is null."""
    items, _ = read_items(source, **options)
    rows = {row.pop("id"): row for row in items.frame.to_dicts()}
    return {key: {name: value for name, value in row.items() if value is not None} for key, row in rows.items()}


def edited(tmp_path, name, old, new, *, count=1):
    """A copy of a sample with some text replaced."""
    text = (SAMPLES / name).read_text()
    assert old in text
    path = tmp_path / name
    path.write_text(text.replace(old, new, count))
    return path


def problems(source, **options):
    """Line, column, value and rule of each problem."""
    return [(p.line, p.column, p.value, p.rule) for p in validate(source, **options).problems]


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("shopify_old.csv", "shopify"),
        ("shopify_new.csv", "shopify"),
        ("woocommerce.csv", "woocommerce"),
        ("merchant.tsv", "merchant"),
        ("merchant_rss.xml", "merchant"),
        ("merchant_atom.xml", "merchant"),
    ],
)
def test_each_is_told_by_content_and_refused_without_orders(tmp_path, name, format):
    path = tmp_path / "export.csv"
    path.write_bytes((SAMPLES / name).read_bytes())
    assert detect(path) == format
    assert validate(path).ok
    with pytest.raises(DataError, match=rf"products only \({format}\).*convert ORDERS DEST --items"):
        read(path)


@pytest.mark.parametrize("name", ["shopify_old.csv", "shopify_new.csv"])
def test_shopify(name):
    found = products(SAMPLES / name)
    shirt = found["linen-shirt"]
    assert shirt["title"] == "Linen shirt"
    assert shirt["description"] == "Cool & light. Woven in Porto"
    assert (shirt["brand"], shirt["price"], shirt["compare_at_price"]) == ("Alba", 45.5, 60.0)
    assert shirt["categories"] == ["Apparel & Accessories", "Clothing", "Shirts & Tops"]
    assert shirt["options"] == "Size: S, M; Colour: White, Sand"
    assert (shirt["availability"], shirt["hidden"]) == ("in_stock", False)  # one of three variants is there
    assert shirt["image_link"] == "https://cdn.example/ls-1.jpg"
    mug, towel = found["enamel-mug"], found["tea-towel"]
    assert (mug["sku"], mug["categories"], mug["availability"]) == ("007", ["Mugs"], "in_stock")
    assert "options" not in mug
    assert towel["hidden"] is True


def test_shopify_sold_out_and_back_order(tmp_path):
    path = edited(tmp_path, "shopify_old.csv", "shopify,4,deny", "shopify,0,deny")
    assert products(path)["linen-shirt"]["availability"] == "out_of_stock"
    path = edited(tmp_path, "shopify_old.csv", "shopify,4,deny", "shopify,-2,continue")
    assert products(path)["linen-shirt"]["availability"] == "backorder"


def test_shopify_rows_that_break_rules_are_named_with_their_own_lines(tmp_path):
    path = edited(tmp_path, "shopify_old.csv", "45.50", "forty")
    assert problems(path) == [(4, "price", "forty", "bad-price")]
    assert products(path, max_bad=1)["linen-shirt"]["price"] == 49.0
    path = edited(tmp_path, "shopify_old.csv", "linen-shirt,,,", "linen-shirt,Woollen shirt,,")
    assert problems(path) == [(4, "title", "Woollen shirt", "handle-used-twice")]
    path = edited(tmp_path, "shopify_old.csv", "linen-shirt,Linen", ",Linen")
    assert (2, "item_id", None, "empty-id") in problems(path)
    path = edited(tmp_path, "shopify_old.csv", "manual,49.00,60.00", "manual,dear,60.00")
    assert list(products(path, max_bad=1)) == ["enamel-mug", "tea-towel"]  # the row with title and text is left out


def test_woocommerce():
    found = products(SAMPLES / "woocommerce.csv")
    assert list(found) == ["44", "49", "50"]
    hoodie = found["44"]
    assert (hoodie["title"], hoodie["brand"], hoodie["description"]) == ("Hoodie", "Nord", "Warm")
    assert (hoodie["price"], hoodie["sale_price"]) == (42.5, 39.9)
    assert hoodie["categories"] == ["Clothing", "Hoodies"]
    assert hoodie["all_categories"] == "Clothing > Hoodies, Sale"
    assert hoodie["options"] == "Colour: Blue, Red; Size: S, M"
    assert (hoodie["availability"], hoodie["hidden"]) == ("in_stock", False)
    assert hoodie["image_link"] == "https://shop.example/h1.jpg"
    assert (found["49"]["price"], found["49"]["categories"], found["49"]["hidden"]) == (1000.0, ["Gifts, cards"], True)
    assert (found["50"]["availability"], found["50"]["hidden"]) == ("backorder", True)


def test_woocommerce_stock_is_that_of_the_variations_and_hiding_that_of_the_parent(tmp_path):
    path = edited(tmp_path, "woocommerce.csv", "taxable,parent,1,3", "taxable,parent,0,0")
    assert products(path)["44"]["availability"] == "out_of_stock"
    path = edited(tmp_path, "woocommerce.csv", "Hoodie,1,0,visible", "Hoodie,0,0,visible")
    assert products(path)["44"]["hidden"] is True


def test_woocommerce_problems_and_lone_variations(tmp_path):
    path = edited(tmp_path, "woocommerce.csv", ",HOOD,,,,,,2", ",HOODY,,,,,,2")
    assert problems(path) == [(4, "Parent", "HOODY", "unknown-parent")]
    path = edited(tmp_path, "woocommerce.csv", '49,"simple', '44,"simple')
    assert problems(path) == [(5, "ID", "44", "duplicate-id")]
    lines = (SAMPLES / "woocommerce.csv").read_text().splitlines(keepends=True)
    path = tmp_path / "variations.csv"
    path.write_text(lines[0] + lines[2])
    assert (
        products(path)["44"]["title"] == "Hoodie - Blue, S"
    )  # the parent is known by id, though it is not in the file
    with pytest.raises(DataError, match="no column 'type'"):
        read_items(ORDERS, format="woocommerce")


@pytest.mark.parametrize("name", ["merchant.tsv", "merchant_rss.xml"])
def test_merchant(name):
    found = products(SAMPLES / name)
    mug, shirt = found["MUG-1"], found["LS"]
    assert (mug["title"], mug["description"]) == ("Enamel mug", "Holds 0.3 l & a lot")
    assert (mug["price"], mug["sale_price"], mug["currency"]) == (12.0, 9.5, "EUR")
    assert (mug["categories"], mug["availability"], mug["brand"]) == (["Home", "Kitchen", "Mugs"], "in_stock", "Kaffa")
    assert mug["google_product_category"] == "2169"
    assert (shirt["title"], shirt["price"], shirt["availability"]) == ("Linen shirt, S", 45.0, "backorder")
    assert shirt["options"] == "color: white; size: S, M"
    if name.endswith("xml"):
        assert mug["additional_image_link"] == "https://shop.example/mug-2.jpg, https://shop.example/mug-3.jpg"
        assert any("not read: shipping" in note for note in validate(SAMPLES / name).notes)
    else:
        assert shirt["categories"] == ["Apparel & Accessories", "Clothing"]
        assert shirt["description"] == 'Cool "and" light'


def test_merchant_atom_prefers_googles_names():
    mug = products(SAMPLES / "merchant_atom.xml")["MUG-1"]
    assert (mug["title"], mug["link"], mug["availability"]) == ("Enamel mug", "https://shop.example/mug", "in_stock")


def test_merchant_problems_have_the_line_of_the_entry(tmp_path):
    path = edited(tmp_path, "merchant_rss.xml", "49.00 EUR", "49.00 EUR or so")
    assert problems(path) == [(25, "price", "49.00 EUR or so", "bad-price")]
    path = edited(tmp_path, "merchant_rss.xml", "<g:id>LS-M", "<g:id>LS-S")
    assert problems(path) == [(35, "id", "LS-S", "duplicate-id")]
    path = edited(tmp_path, "merchant_rss.xml", "<g:id>MUG-1</g:id>", "")
    assert problems(path) == [(7, "item_id", None, "empty-id")]
    path = edited(tmp_path, "merchant.tsv", "12.00 EUR", "12.00 USD")
    assert any("several currencies (EUR, USD)" in note for note in validate(path).notes)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "latin-1"])
@pytest.mark.parametrize("name", ["merchant.tsv", "shopify_old.csv", "woocommerce.csv"])
def test_text_feeds_in_other_encodings(tmp_path, encoding, name):
    text = (SAMPLES / name).read_text().replace("Enamel", "Émail").replace("Hoodie", "Hoodié")
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    titles = [row["title"] for row in products(path).values()]
    assert titles[0] in ("Émail mug", "Linen shirt", "Hoodié")
    assert any(title.startswith(("Émail", "Hoodié")) for title in titles)


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [("utf-8", "UTF-8"), ("utf-16", "UTF-16"), ("latin-1", "ISO-8859-1"), ("cp1252", "windows-1252")],
)
def test_xml_feeds_in_other_encodings(tmp_path, encoding, declared):
    text = (SAMPLES / "merchant_rss.xml").read_text().replace("Enamel", "Émail").replace('"UTF-8"', f'"{declared}"')
    path = tmp_path / "feed.xml"
    path.write_bytes(text.encode(encoding))
    assert products(path)["MUG-1"]["title"] == "Émail mug"


words = st.text(st.sampled_from("aZ09 é日&<>'\"/=+-"), min_size=1, max_size=8).map(str.strip).filter(bool)
offers = st.tuples(words, words, st.integers(1, 10**7), st.sampled_from(["", "G1", "G2"]), words)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(offers, min_size=1, max_size=6, unique_by=lambda offer: offer[0]))
def test_a_feed_says_the_same_as_text_and_as_xml(rows):
    """Against each other, and against what was put in."""
    names = ("id", "title", "price", "item_group_id", "link")
    values = [(own, title, f"{cents / 100:.2f} EUR", group, link) for own, title, cents, group, link in rows]
    with tempfile.TemporaryDirectory() as folder:
        table, document = Path(folder) / "feed.tsv", Path(folder) / "feed.xml"
        with table.open("w", newline="") as file:
            writer = csv.writer(file, delimiter="\t")
            writer.writerows([names, *values])
        entries = [
            "".join(f"<g:{name}>{escape(value)}</g:{name}>" for name, value in zip(names, row, strict=True))
            for row in values
        ]
        body = "".join(f"<item>{entry}</item>\n" for entry in entries)
        document.write_text(f'<rss xmlns:g="http://base.google.com/ns/1.0"><channel>{body}</channel></rss>')
        left, right = (read_items(path, format="merchant")[0].frame for path in (table, document))
    columns = sorted(left.columns)
    assert left.select(columns).equals(right.select(sorted(right.columns)))
    cheapest: dict[str, float] = {}
    for own, _, cents, group, _ in rows:
        cheapest[group or own] = min(cents / 100, cheapest.get(group or own, math.inf))
    assert dict(left.select("id", "price").iter_rows()) == cheapest


def test_orders_find_their_products_under_any_of_their_names():
    data, report = read(ORDERS, items=SAMPLES / "shopify_old.csv")
    log = data.log.select(
        user=data.users.frame["id"].gather(data.log["user"]), item=data.items.frame["id"].gather(data.log["item"])
    )
    assert log.rows() == [
        ("anna", "linen-shirt"),
        ("anna", "enamel-mug"),
        ("ben", "linen-shirt"),
        ("ben", "linen-shirt"),
        ("ben", "GONE-1"),
    ]
    assert data.items.frame["id"].to_list() == ["linen-shirt", "enamel-mug", "tea-towel", "GONE-1"]
    assert report.format == "canonical with items from shopify"
    notes = "\n".join(report.notes)
    assert "name a product of it: 1 by its own id, 2 by SKU, 1 by barcode; that name none: 1" in notes
    assert "only an id, no record: 1 item with 1 interaction" in notes


def test_a_name_that_two_products_share_decides_nothing(tmp_path):
    orders = tmp_path / "orders.csv"
    orders.write_text("user_id,item_id\na,A7\na,X\na,LS\n")
    feed = tmp_path / "feed.tsv"
    rows = (SAMPLES / "merchant.tsv").read_text().replace("\tK1\t", "\tA7\t")
    feed.write_text(rows)
    data, report = read(orders, items=feed)
    assert data.items.frame["id"].to_list() == ["MUG-1", "LS", "A7", "X"]
    assert any("1 by a name that several products share" in note for note in report.notes)


def test_a_feed_of_another_shop_is_refused_with_ids_of_both(tmp_path):
    orders = tmp_path / "orders.csv"
    orders.write_text("user_id,item_id\na,77\nb,78\n")
    with pytest.raises(
        DataError, match=r"knows none of the 2 item ids of .*orders.csv: there '77', '78', here 'LS', 'MUG-1'"
    ):
        read(orders, items=SAMPLES / "merchant.tsv")


def test_items_may_come_from_any_source(tmp_path):
    table = tmp_path / "catalogue.csv"
    table.write_text("sku,title\n007,Mug\nLS-M-W,Shirt\n")
    data, _ = read(ORDERS, items=table)
    assert dict(data.items.frame.rows())["007"] == "Mug"
    items, report = read_items(table)
    assert (len(items), report.rows) == (2, {"items": 2})
    with pytest.raises(DataError, match="products only"):
        read(SAMPLES / "merchant.tsv", items=table)
    with pytest.raises(DataError, match="a format of the products is named"):
        read(ORDERS, items_format="merchant")
    with pytest.raises(DataError, match="unknown format 'merchnt'; did you mean 'merchant'"):
        read(ORDERS, items=table, items_format="merchnt")


def test_orders_with_headers_of_their_own(tmp_path):
    orders = tmp_path / "orders_export.csv"
    orders.write_text(
        "Name,Email,Created at,Lineitem quantity,Lineitem name,Lineitem sku,item_id\n"
        "#1001,anna@shop.example,2024-01-05 10:00:00 +0100,2,Enamel mug,007,x\n"
        "#1001,anna@shop.example,2024-01-05 10:00:00 +0100,1,Linen shirt,LS-M-W,y\n"
    )
    columns = {"user_id": "Email", "item_id": "Lineitem sku", "timestamp": "Created at"}
    data, _ = read(orders, items=SAMPLES / "shopify_new.csv", columns=columns)
    assert data.log.select("timestamp", "item_id_").rows() == [(1704445200, "x"), (1704445200, "y")]
    assert data.items.ids(data.log["item"].to_numpy()) == ["enamel-mug", "linen-shirt"]
    with pytest.raises(DataError, match=r"no column 'Mail'; did you mean 'Email'\?; found: Name, Email"):
        read(orders, columns={"user_id": "Mail"})
    with pytest.raises(DataError, match="columns are named only for the format canonical"):
        read(orders, format="ga4", columns=columns)


def test_personalize_tables(tmp_path):
    folder = tmp_path / "personalize"
    folder.mkdir()
    (folder / "Interactions.csv").write_text(
        "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,EVENT_VALUE\n01,A,1704445200,Purchase,9.5\n"
    )
    (folder / "Items.csv").write_text(
        "ITEM_ID,PRICE,CATEGORY_L1,PRODUCT_DESCRIPTION,CREATION_TIMESTAMP\nA,9.5,Home,Mug,1\n"
    )
    (folder / "Users.csv").write_text("USER_ID,MEMBERSHIP_STATUS\n01,gold\n")
    data, report = read(folder)
    assert report.format == "canonical"
    assert data.log.select("timestamp", "value", "event_type").rows() == [(1704445200, 9.5, "Purchase")]
    assert data.users.frame.rows() == [("01", "gold")]
    assert data.items.frame.select("id", "price", "description").rows() == [("A", 9.5, "Mug")]
