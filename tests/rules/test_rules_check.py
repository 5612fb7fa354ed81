"""Checking rules against a catalogue, from Python and as the page says."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from rule_shop import NOW, frame

from tastemaker.rules import CatalogueColumns, RuleSet
from tastemaker.rules.check import check

PAGE = Path(__file__).resolve().parents[2] / "docs" / "rules.md"


def checked(*rules, columns=None, now=NOW):
    return check(RuleSet.parse({"rule": list(rules)}), columns or CatalogueColumns(frame()), now=now)


def warnings(**rule):
    return list(checked({"name": "it", **rule}).rules[0].warnings)


@pytest.mark.parametrize(
    ("rule", "products", "hides"),
    [
        ({"hide": {"brands": ["acme"]}}, 2, 2),
        ({"keep": {"brands": ["acme"]}}, 2, 4),
        ({"minimum_age": {"categories": ["wine"], "age": 18}}, None, 1),
        ({"region": {}}, None, 3),
        ({"already_bought": {}}, None, 0),
        ({"boost": {"categories": ["food"], "factor": 2}}, 3, None),
        ({"pin": {"items": ["i0", "i4"]}}, 2, None),
        ({"cap": {"by": "seller", "at_most": 1}}, 5, None),
        ({"fallback": {"items": ["i0"]}}, 1, None),
        ({"diversity": {"strength": 0.5}}, None, None),
    ],
)
def test_what_a_rule_touches(rule, products, hides):
    found = checked({"name": "it", **rule}).rules[0]
    assert (found.products, found.hides, found.holds, found.warnings) == (products, hides, "always", ())


@pytest.mark.parametrize(
    ("rule", "warning"),
    [
        ({"hide": {"brands": ["acmee"]}}, "no product has brand 'acmee'; did you mean 'Acme'?"),
        (
            {"keep": {"brands": ["acme"], "but_not": {"categories": ["wines"]}}},
            "but_not: no product has categories 'wines'",
        ),
        ({"hide": {"items": ["i77"]}}, "no product has the id 'i77'"),
        ({"hide": {"attributes": {"selller": ["x"]}}}, "the catalogue has no column 'selller'; it has id, brand"),
        ({"keep": {"price": {"currency": "usd"}}}, "no product has currency 'usd'"),
        ({"keep": {"price": {"min": 1000}}}, "no product fits"),
        ({"cap": {"by": "vendor", "at_most": 1}}, "the catalogue has no column 'vendor'"),
        ({"minimum_age": {"column": "brand"}}, "no product has a number in column 'brand'"),
        ({"region": {"column": "lands"}}, "the catalogue has no column 'lands'"),
        ({"pin": {"items": ["nowhere"]}}, "no product has the id 'nowhere'"),
        (
            {"hide": {"brands": ["acme"]}, "when": {"until": "2026-11-26"}},
            "is over since 2026-11-26; remove it",
        ),
        (
            {"hide": {"brands": ["acme"]}, "when": {"since": "2026-12-02", "until": "2026-12-01"}},
            "can never hold: it ends before it begins",
        ),
        (
            {"hide": {"brands": ["acme"]}, "when": {"context": {"brands": ["nobody"]}}},
            "context: no product has brand 'nobody'",
        ),
    ],
)
def test_what_was_probably_not_meant(rule, warning):
    found = warnings(**rule)
    assert len(found) == 1
    assert found[0].startswith(warning)


def test_columns_without_values_are_named():
    columns = CatalogueColumns(pl.DataFrame({"id": ["a"], "price": [None], "created_at": [None]}))
    rule = {"name": "it", "boost": {"price": {"max": 3}, "newer_than_days": 3, "factor": 2}}
    assert checked(rule, columns=columns).rules[0].warnings == ("no product has a price", "no product has a created_at")


def test_many_unknown_values_are_one_warning_more():
    found = warnings(hide={"brands": [f"nobody{number}" for number in range(9)], "items": [f"x{n}" for n in range(5)]})
    assert found[3] == "and 2 more ids that no product has"
    assert found[-1] == "and 6 more values of brand that no product has"


def test_rules_that_stand_in_each_others_way():
    found = checked(
        {"name": "stock", "hide": {"availability": ["out_of_stock"]}},
        {"name": "hero", "pin": {"items": ["i2", "i0"]}},
        {"name": "first", "diversity": {"strength": 0.5}},
        {"name": "second", "diversity": {"strength": 0.2}},
        {"name": "off", "hide": {"brands": ["x"]}, "enabled": False},
    ).rules
    assert found[1].warnings == ("'i2' will not be shown: 'stock' hides it",)
    assert found[3].warnings == ("where 'first' holds as well, that one counts",)
    assert found[4].holds == "never: enabled = false"


def test_a_shop_without_products_left():
    found = checked({"name": "a", "keep": {"brands": ["acme"]}}, {"name": "b", "keep": {"brands": ["bolt"]}})
    assert found.allowed == 0
    assert found.warnings == ("no product is left for a shopper of whom nothing is known: 'a' hides 4, 'b' hides 4",)


def test_when_in_words():
    when = {
        "strategies": ["home"],
        "user": {"region": ["DE", "AT"], "age": {"min": 18}, "orders": {"min": 1, "max": 5}},
        "since": "2026-11-27",
        "variants": {"test": ["b"]},
    }
    rule = {"name": "it", "hide": {"brands": ["acme"]}, "when": when, "unless": {"context": {"brands": ["bolt"]}}}
    assert checked(rule).rules[0].holds == (
        "in home, region is de or at, age from 18, orders from 1 to 5, since 2026-11-27, in variant b of test; "
        "not beside certain products"
    )


def example() -> str:
    return re.search(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]


def test_the_example_of_the_page_means_what_it_says(tmp_path):
    (tmp_path / "rules.toml").write_text(example())
    rules = RuleSet.read(tmp_path / "rules.toml")
    rows = [
        {
            "item_id": f"i{number}",
            "brand": ["Acme", "Bolt"][number % 2],
            "categories": [["Food", "Coffee"], ["Food", "Wine"], ["Tools"]][number % 3],
            "price": float(number),
            "availability": "in_stock" if number else "out_of_stock",
            "seller": f"s{number % 4}",
            "regions": ["DE"] if number == 9 else None,
            "created_at": NOW - number * 86_400_000 * 5,
        }
        for number in range(10)
    ]
    found = check(rules, CatalogueColumns.from_rows(rows), now=NOW)
    assert [one.warnings for one in found.rules] == [()] * 10
    assert [one.hides for one in found.rules[:4]] == [1, 3, 1, 0]
    assert found.rules[4].holds == "in home, since 2026-11-23, until 2026-11-30"
    assert found.allowed == 5


def test_columns_of_a_data_set_are_enough():
    columns = CatalogueColumns(pl.DataFrame({"id": ["a"], "title": ["x"]}))
    assert check(RuleSet(), columns, now=NOW).allowed == 1
