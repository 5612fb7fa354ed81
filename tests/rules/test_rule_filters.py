"""Filters: hand-worked on six products, and against a slow version on random catalogues."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from rule_shop import DAY, NOW

from tastemaker.errors import DataError
from tastemaker.rules import CatalogueColumns, Context, RuleSet, Selection, Shopper, compile_rules, plan

EVERY = ["i0", "i1", "i2", "i3", "i4", "i5"]


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        ({"hide": {"items": ["i3", "nowhere"]}}, ["i0", "i1", "i2", "i4", "i5"]),
        ({"hide": {"brands": ["ACME"]}}, ["i2", "i3", "i4", "i5"]),
        ({"keep": {"brands": ["Acme", "Cosy"]}}, ["i0", "i1", "i5"]),
        ({"keep": {"brands": ["Acme"], "missing": True}}, ["i0", "i1", "i4"]),
        ({"keep": {"categories": ["food"]}}, ["i0", "i1", "i5"]),
        ({"keep": {"categories": ["food"], "but_not": {"categories": ["wine"]}}}, ["i0", "i5"]),
        ({"keep": {"availability": ["in-stock", "preorder"]}}, ["i0", "i1", "i3", "i5"]),
        ({"hide": {"availability": ["out_of_stock"]}}, ["i0", "i1", "i3", "i4", "i5"]),
        ({"keep": {"price": {"min": 6, "max": 40}}}, ["i1", "i2", "i5"]),
        ({"keep": {"price": {"max": 6, "currency": "eur"}}}, ["i0", "i5"]),
        ({"keep": {"price": {"max": 6, "currency": "usd"}}}, []),
        ({"keep": {"groups": ["g2"]}}, ["i2", "i3"]),
        ({"keep": {"attributes": {"seller": ["Jones"], "minimum_age": {"min": 1}}}}, ["i5"]),
        ({"keep": {"newer_than_days": 5}}, ["i0", "i4", "i5"]),
        ({"keep": {"newer_than_days": 5, "missing": True}}, ["i0", "i3", "i4", "i5"]),
        ({"hide": {"categories": ["food"], "but_not": {"newer_than_days": 2}}}, ["i0", "i2", "i3", "i4"]),
        ({"keep": {"brands": ["nobody"]}}, []),
        ({"hide": {"attributes": {"no such column": ["x"]}}}, EVERY),
        ({"hide": {"brands": ["Acme"]}, "enabled": False}, EVERY),
    ],
)
def test_selections(allowed, rule, left):
    assert allowed(rule) == left


@pytest.mark.parametrize(
    ("rule", "age", "left"),
    [
        ({"categories": ["wine"], "age": 18}, 17.9, ["i0", "i2", "i3", "i4", "i5"]),
        ({"categories": ["wine"], "age": 18}, 18, EVERY),
        ({"categories": ["wine"], "age": 18}, "18", EVERY),
        ({"categories": ["wine"], "age": 18}, None, ["i0", "i2", "i3", "i4", "i5"]),
        ({"categories": ["wine"], "age": 18}, "grown up", ["i0", "i2", "i3", "i4", "i5"]),
        ({"categories": ["wine"], "age": 18}, True, ["i0", "i2", "i3", "i4", "i5"]),
        ({"categories": ["wine"], "age": 18}, float("nan"), ["i0", "i2", "i3", "i4", "i5"]),
        ({"categories": ["wine"], "age": 18, "unknown": "show"}, None, EVERY),
        ({"column": "minimum_age"}, 17, ["i0", "i2", "i3", "i4", "i5"]),
        ({"column": "minimum_age"}, 3, ["i0", "i2", "i3", "i4"]),
        ({"column": "minimum_age", "categories": ["coffee"]}, None, ["i0", "i1", "i2", "i3", "i4"]),
    ],
)
def test_minimum_age(allowed, rule, age, left):
    shopper = Shopper({} if age is None else {"age": age})
    assert allowed({"minimum_age": rule}, shopper=shopper) == left


@pytest.mark.parametrize(
    ("rule", "region", "left"),
    [
        ({}, "de", ["i0", "i1", "i2", "i3", "i4"]),
        ({}, "CH", ["i1", "i2", "i3", "i4"]),
        ({}, "FR", ["i2", "i3", "i4"]),
        ({}, ["CH", "US"], ["i1", "i2", "i3", "i4", "i5"]),
        ({}, None, ["i2", "i3", "i4"]),
        ({"unknown": "show"}, None, EVERY),
        ({"categories": ["wine"]}, "FR", ["i0", "i2", "i3", "i4", "i5"]),
    ],
)
def test_region(allowed, rule, region, left):
    shopper = Shopper({} if region is None else {"region": region})
    assert allowed({"region": rule}, shopper=shopper) == left


HISTORY = Shopper(
    {},
    np.asarray([0, 1, 2, -1, 3], dtype=np.int32),
    ("purchase", "Purchase", "view", "purchase", "return"),
    np.asarray([NOW - 40 * DAY, NOW - 10 * DAY, NOW, NOW, NOW]),
)


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        ({}, ["i2", "i3", "i4", "i5"]),
        ({"days": 30}, ["i0", "i2", "i3", "i4", "i5"]),
        ({"days": 10}, ["i0", "i2", "i3", "i4", "i5"]),
        ({"event_types": ["view", "return"]}, ["i0", "i1", "i4", "i5"]),
        ({"same": "group_id"}, ["i2", "i3", "i4"]),
        ({"but_not": {"categories": ["coffee"]}}, ["i0", "i2", "i3", "i4", "i5"]),
        ({"categories": ["wine"]}, ["i0", "i2", "i3", "i4", "i5"]),
    ],
)
def test_already_bought(allowed, rule, left):
    assert allowed({"already_bought": rule}, shopper=HISTORY) == left


HIDING = {"hide": {"items": ["i0"]}}


@pytest.mark.parametrize(
    ("when", "shopper", "context", "holds"),
    [
        ({"strategies": ["Home"]}, {}, {"strategy": "home"}, True),
        ({"strategies": ["home"]}, {}, {"strategy": "basket"}, False),
        ({"strategies": ["home"]}, {}, {}, False),
        ({"user": {"region": ["DE", "AT"]}}, {"region": "at"}, {}, True),
        ({"user": {"region": ["DE"]}}, {"region": "FR"}, {}, False),
        ({"user": {"region": ["DE"]}}, {}, {}, False),
        ({"user": {"segments": ["loyal"]}}, {"segments": ["new", "Loyal"]}, {}, True),
        ({"user": {"member": [True]}}, {"member": True}, {}, True),
        ({"user": {"member": [True]}}, {"member": False}, {}, False),
        ({"user": {"visits": {"min": 3, "max": 5}}}, {"visits": 5}, {}, True),
        ({"user": {"visits": {"min": 3}}}, {"visits": 2}, {}, False),
        ({"user": {"visits": {"min": 3}}}, {"visits": [4]}, {}, False),
        ({"user": {"region": ["DE"], "age": {"min": 18}}}, {"region": "DE", "age": 3}, {}, False),
        ({"since": "2026-11-27"}, {}, {}, True),
        ({"since": "2026-11-28"}, {}, {}, False),
        ({"until": "2026-11-27"}, {}, {}, True),
        ({"until": "2026-11-26"}, {}, {}, False),
        ({"until": "2026-11-27T12:00"}, {}, {}, False),
        ({"since": "2026-11-27T12:00", "until": "2026-11-27T12:00:01"}, {}, {}, True),
        ({"since": "2026-11-27T14:00+02:00"}, {}, {}, True),
        ({"since": datetime(2026, 11, 27, 12, tzinfo=UTC)}, {}, {}, True),
        ({"context": {"categories": ["tools"]}}, {}, {"items": [0, 2]}, True),
        ({"context": {"categories": ["tools"]}}, {}, {"items": [0, -1, 99]}, False),
        ({"context": {"categories": ["tools"]}}, {}, {}, False),
        ({"variants": {"price-test": ["B"]}}, {}, {"variants": {"price-test": "b"}}, True),
        ({"variants": {"price-test": ["b"]}}, {}, {"variants": {"price-test": "a"}}, False),
        ({"variants": {"price-test": ["b"]}}, {}, {}, False),
    ],
)
def test_when_and_unless(allowed, when, shopper, context, holds):
    asked = {"shopper": Shopper(shopper), "context": Context(NOW, **context)}
    assert ("i0" not in allowed({**HIDING, "when": when}, **asked)) is holds
    assert ("i0" in allowed({**HIDING, "unless": when}, **asked)) is holds
    assert "i0" in allowed({**HIDING, "when": when, "unless": when}, **asked)


def test_a_pin_or_boost_brings_nothing_back(arranged):
    rules = [
        {"name": "hero", "pin": {"items": ["i2"]}},
        {"name": "push", "boost": {"items": ["i2"], "factor": 1000}},
        {"name": "spare", "fallback": {"items": ["i2"]}},
        {"name": "stock", "hide": {"availability": ["out_of_stock"]}},
    ]
    ids, notes, _ = arranged(rules, ["i0", "i2", "i1"])
    assert ids == ["i0", "i1"]
    assert notes == [("stock", "suppressed", "i2", 2, None)]


def test_hidden_products_need_no_rule():
    rows = [{"item_id": "a", "hidden": True}, {"item_id": "b", "hidden": False}, {"item_id": "c", "hidden": None}]
    made = plan(RuleSet(), CatalogueColumns.from_rows(rows), Shopper(), Context(NOW))
    assert made.allowed.tolist() == [False, True, True]
    assert made.why(0) == ["hidden product"]
    assert made.why(1) == []


def test_the_request_has_filters_of_its_own(columns):
    made = compile_rules(RuleSet.parse({"rule": [{"name": "it", **HIDING}]}), columns).plan(
        Shopper(), Context(NOW), keep=Selection(categories=("food",)), exclude=np.asarray([1, -1, 99], dtype=np.int32)
    )
    assert columns.ids(np.flatnonzero(made.allowed)) == ["i5"]
    assert made.suppressed() == {"it": 1, "request filter": 3, "request exclusion": 1}
    assert made.why(0) == ["it"]
    assert made.why(1) == ["request exclusion"]
    assert made.why(2) == ["request filter"]


def test_rules_are_compiled_once_for_a_document_and_a_catalogue(columns):
    document = {"rule": [{"name": "it", **HIDING}]}
    first = compile_rules(RuleSet.parse(document), columns)
    assert compile_rules(RuleSet.parse(document), columns) is first
    assert compile_rules(RuleSet.parse({**document, "timezone": "Asia/Tokyo"}), columns) is not first
    assert compile_rules(RuleSet.parse(document), CatalogueColumns(columns.frame)) is not first
    for number in range(20):
        compile_rules(RuleSet.parse({"rule": [{"name": f"n{number}", **HIDING}]}), columns)
    assert len(columns.compiled) == 2


def test_plans_share_nothing_that_changes(columns):
    rules = RuleSet.parse({"rule": [{"name": "it", **HIDING}]})
    first = plan(rules, columns, Shopper(), Context(NOW))
    first.allowed[:] = False
    assert plan(rules, columns, Shopper(), Context(NOW)).allowed.sum() == 5


def test_a_history_must_be_whole():
    with pytest.raises(DataError, match="1 items, 0 event types and 0 timestamps"):
        Shopper({}, np.asarray([1], dtype=np.int32))


def _slow(rule: dict, row: dict, age: float | None, region: str | None) -> bool:
    """Say of one product whether one rule forbids it, cell by cell."""
    selection = rule.get("keep") or rule.get("hide") or rule.get("minimum_age") or rule.get("region") or {}
    fits = True
    if "brands" in selection:
        fits &= (row["brand"] or "").lower() in [brand.lower() for brand in selection["brands"]]
    if "categories" in selection:
        fits &= bool({c.lower() for c in row["categories"] or []} & {c.lower() for c in selection["categories"]})
    if "price" in selection:
        fits &= row["price"] is not None and selection["price"]["min"] <= row["price"] <= selection["price"]["max"]
    if "keep" in rule:
        return not fits
    if "hide" in rule:
        return fits
    if "minimum_age" in rule:
        return fits and (age is None or age < selection["age"])
    return fits and bool(row["regions"]) and region not in row["regions"]


def test_random_documents_forbid_what_the_slow_version_forbids():
    rng = np.random.default_rng(7)
    brands, names, regions = ["Acme", "bolt", None], ["Food", "Wine", "Tools"], ["DE", "CH"]
    for _ in range(60):
        rows = [
            {
                "item_id": f"i{number}",
                "brand": brands[rng.integers(3)],
                "categories": [names[c] for c in range(3) if rng.random() < 0.4] or None,
                "price": None if rng.random() < 0.2 else round(rng.random() * 100, 2),
                "regions": [regions[c] for c in range(2) if rng.random() < 0.4],
            }
            for number in range(30)
        ]
        document = []
        for number in range(rng.integers(1, 6)):
            selection = {}
            if rng.random() < 0.5:
                selection["brands"] = [["ACME"], ["Bolt", "acme"]][rng.integers(2)]
            if rng.random() < 0.5:
                selection["categories"] = [["wine"], ["Food", "TOOLS"]][rng.integers(2)]
            if rng.random() < 0.3 or not selection:
                selection["price"] = {"min": 20, "max": 90}
            kind = ["keep", "hide", "minimum_age", "region"][rng.integers(4)]
            if kind == "minimum_age":
                selection["age"] = 18
            document.append({"name": f"r{number}", kind: selection})
        age, region = [None, 17, 18][rng.integers(3)], [None, "DE", "CH"][rng.integers(3)]
        shopper = Shopper({key: value for key, value in (("age", age), ("region", region)) if value is not None})
        made = plan(RuleSet.parse({"rule": document}), CatalogueColumns.from_rows(rows), shopper, Context(NOW))
        for number, row in enumerate(rows):
            causes = [rule["name"] for rule in document if _slow(rule, row, age, region)]
            assert made.why(number) == causes
            assert made.allowed[number] == (not causes)


def test_columns_of_many_kinds():
    @dataclasses.dataclass
    class Item:
        item_id: str
        brand: str = ""
        categories: tuple[str, ...] = ()
        created_at: datetime | None = None
        attributes: dict = dataclasses.field(default_factory=dict)

    rows = [
        Item("a", "Acme", ("x", "y"), datetime(2026, 11, 26), {"size": 3, "organic": True, "deep": {"no": 1}}),
        Item("b", attributes={"size": "XL", "brand": "not this one", "tags": ["p", "q"]}),
        Item("c", "", ("y",), None, {"size": 3.0}),
    ]
    columns = CatalogueColumns.from_rows(dataclasses.asdict(row) for row in rows)
    assert columns.index("size").of("3").tolist() == [0, 2]
    assert columns.index("size").of("xl").tolist() == [1]
    assert columns.index("organic").of("true").tolist() == [0]
    assert columns.index("tags").of("q").tolist() == [1]
    assert columns.index("brand").slots == {"acme": 0}
    assert columns.index("category").of("y").tolist() == [0, 2]
    assert columns.index("category").codes().tolist() == [0, -1, 0]
    assert columns.times("created_at")[0] == datetime(2026, 11, 26, tzinfo=UTC).timestamp() * 1000
    assert np.isnan(columns.times("created_at")[1:]).all()
    assert len(CatalogueColumns.from_rows([])) == 0


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame({"sku": ["a"]}), "a column 'id'; found: sku"),
        (pl.DataFrame({"id": ["a", "a"]}), "an id of its own"),
        (pl.DataFrame({"id": ["a", None]}), "an id of its own"),
    ],
)
def test_a_catalogue_needs_ids(frame, message):
    with pytest.raises(DataError, match=message):
        CatalogueColumns(frame)
