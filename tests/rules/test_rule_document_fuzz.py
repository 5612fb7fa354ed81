"""Whatever is sent as a rule document is either understood, and then works, or refused with a message."""

from __future__ import annotations

import copy
import json
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_shop import NOW, frame

from tastemaker.errors import ConfigError
from tastemaker.rules import CatalogueColumns, Context, RuleSet, Shopper, plan
from tastemaker.rules.check import check
from tastemaker.rules.schema import ACTIONS

COLUMNS = CatalogueColumns(frame())
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["\ud800", "\x00", "2026-11-27", "9999-12-31", "Acme", "i1", 10**400, 1e308, "in stock"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
RULES = [
    {"name": "a", "when": {"since": "2026-11-27", "user": {"age": {"min": 3}}}, "hide": {"brands": ["Acme"]}},
    {"name": "b", "unless": {"context": {"price": {"max": 3}}}, "minimum_age": {"age": 18, "categories": ["Wine"]}},
    {"name": "c", "boost": {"newer_than_days": 3, "but_not": {"items": ["i1"]}, "factor": 2}},
    {"name": "d", "pin": {"items": ["i1", "i2"], "positions": [1, 3]}},
    {"name": "e", "cap": {"by": "brand", "at_most": 1, "top": 4}},
    {"name": "f", "already_bought": {"days": 3, "same": "group_id"}},
    {"name": "g", "region": {"column": "regions"}, "when": {"until": "2026-11-30", "variants": {"x": ["b"]}}},
    {"name": "h", "diversity": {"strength": 0.5}},
    {"name": "i", "fallback": {"items": ["i3"]}},
]


def try_it(document) -> bool:
    try:
        rules = RuleSet.parse(document)
    except ConfigError as error:
        assert str(error)
        str(error).encode()
        return False
    json.dumps(rules.to_dict(), ensure_ascii=False).encode()
    assert RuleSet.parse(rules.to_dict()).rules == rules.rules
    check(rules, COLUMNS, now=NOW)
    shopper = Shopper({"age": 20}, np.asarray([1], np.int32), ["purchase"], np.asarray([NOW]))
    made = plan(rules, COLUMNS, shopper, Context(NOW, "home", [0], {"x": "b"}))
    done = made.apply(
        np.arange(6, dtype=np.int32), np.linspace(1, 0, 6, dtype=np.float32), n=6, vectors=lambda rows: np.eye(6)[rows]
    )
    assert made.allowed[done.items].all()
    return True


@settings(max_examples=60, deadline=None, derandomize=True)
@given(VALUES)
def test_any_value(value):
    try_it(value)
    try_it({"rule": value})
    try_it({"rule": [value], "timezone": value})


SPECIAL = [
    *(None, True, 0, -1, 1, 3, 10**30, 10**400, 0.5, 1e308, float("inf"), float("nan")),
    *("", " ", "x", "Acme", "\ud800", "\x00", "i1", "x" * 300, "2026-11-27", "9999-12-31", "0001-01-01T00:00+14:00"),
    *([], ["Acme"], ["i1"], [None], [[]], [1], {}, {"min": 1}, {"x": 1}, {"\ud800": 1}, date(9999, 12, 31)),
]


def places(value, path=()):
    """Every place inside a document."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["name"])
def test_a_good_rule_with_one_value_changed(rule):
    outcomes = set()
    for path in places(rule):
        for special in SPECIAL:
            document = {"rule": [copy.deepcopy(rule)]}
            at = document
            *parents, last = ("rule", 0, *path)
            for key in parents:
                at = at[key]
            at[last] = special
            outcomes.add(try_it(document))
    assert outcomes == {True, False}


def test_the_rules_that_are_changed_are_good():
    assert all(try_it({"rule": [rule]}) for rule in RULES)
    assert {next(key for key in rule if key in ACTIONS) for rule in RULES} >= set(ACTIONS) - {"keep", "bury"}
