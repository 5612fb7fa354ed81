"""Events that a service stored come back as an order log: `tastemaker db export`, read."""

from __future__ import annotations

import json

import pytest

from tastemaker.data.readers import detect, read, read_items
from tastemaker.errors import DataError
from tastemaker.serve.engine.shoppers import Shopper
from tastemaker.store import open_store
from tastemaker.store.records import Event, Item

DAY = 86_400_000
START = 1_795_000_000_000


def event(name, user, item, kind, day, **more):
    return Event(name, user, item, kind, START + day * DAY, **more)


@pytest.fixture
def export(tmp_path):
    """Write the export of a store with these events and products."""

    def make(events, items=()):
        with open_store(tmp_path / "shop.db", create=True) as store:
            if items:
                store.put_items("default", items)
            store.append_events("default", events)
            lines = list(store.export_tenant("default"))
        path = tmp_path / "export.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return make


def rows_of(data):
    """Shopper, product and type of each interaction, in the order they happened for each shopper."""
    users, items = data.users.ids(data.log["user"]), data.items.ids(data.log["item"])
    return list(zip(users, items, data.log["event_type"].to_list(), strict=True))


def test_events_and_products_come_back(export):
    items = [Item("a", title="Seife", categories=("Bad",), price=2.5, attributes={"ean": "40"}), Item("b")]
    events = [event("2", "anna", "b", "view", 1, position=3), event("1", "anna", "a", "purchase", 0, value=2.5)]
    path = export(events, items)
    assert detect(path) == "store"
    data, report = read(path)
    assert report.ok
    assert rows_of(data) == [("anna", "a", "purchase"), ("anna", "b", "view")]
    assert data.log["timestamp"].to_list() == [START // 1000, START // 1000 + DAY // 1000]
    assert data.items.frame.select("id", "title", "categories", "price", "ean").rows() == [
        ("a", "Seife", ["Bad"], 2.5, "40"),
        ("b", None, [], None, None),
    ]
    assert read_items(path)[0].frame["id"].to_list() == ["a", "b"]


def test_a_product_stays_one_whatever_its_attributes_are_called(export):
    odd = Item("a", title="Konzert", attributes={"event_type": "concert", "kind": "event", "user_id": "x"})
    data, report = read(export([event("1", "anna", "a", "purchase", 0)], [odd]))
    assert report.ok
    assert data.items.frame.select("id", "title", "event_type").rows() == [("a", "Konzert", "concert")]


def test_what_says_nothing_or_speaks_against_a_product_is_left_out_as_in_the_service(export):
    path = export(
        [
            event("1", "anna", "a", "purchase", 0),
            event("2", "anna", "a", "Return", 1),
            event("3", "anna", "b", "impression", 1),
            event("4", "anna", "c", "dislike", 1),
            event("5", "anna", "c", "purchase", 2),
            event("6", "ben", "a", "view-item", 0),
            event("7", "anna", "a", "view", 3),
            event("8", "anna", "c", "view", 3),
        ]
    )
    data, report = read(path)
    assert rows_of(data) == [("ben", "a", "view-item"), ("anna", "c", "purchase"), ("anna", "c", "view")]
    shopper = Shopper()
    for one in (line for line in map(json.loads, path.read_text().splitlines()) if line.get("user_id") == "anna"):
        shopper.add(one["item_id"], one["event_type"], one["timestamp"])
    assert set(shopper.opinions().liked) == {item for user, item, _ in rows_of(data) if user == "anna"}
    assert f"{path}: left out, they say nothing of taste: 1 event" in report.notes
    words = "2 events, and what was done with the product before, or looked at after: 2 events"
    assert f"{path}: left out, against a product: {words}" in report.notes


def test_a_store_in_which_nothing_happened(export):
    with pytest.raises(DataError, match="neither an event that says something nor a product"):
        read(export([event("1", "anna", "a", "impression", 0)]))
