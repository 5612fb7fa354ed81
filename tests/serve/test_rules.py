"""Pins and fallbacks of business rules, and what a shopper has already."""

from __future__ import annotations

import time

import pytest

from tastemaker import saved
from tastemaker.store.records import Event

DAY = 86_400_000
SPARE = {"name": "spare", "fallback": {"items": ["i030", "i031", "i032"]}}
HERO = {"name": "hero", "pin": {"items": ["i030"]}}
ONLY = {"name": "only", "keep": {"items": ["i030", "i031", "i032"]}}
"""Leaves nothing but what the rules bring in."""


def put(client, *rules):
    assert client.put("/v1/rules", json={"rule": [*rules]}).status_code == 200


def shown(client, **body):
    answer = client.post("/v1/recommend", json={"user_id": "ann", "n": 10, "budget_ms": 5000, **body})
    assert answer.status_code == 200, answer.text
    return [(item["item_id"], item["source"]) for item in answer.json()["items"]]


def happened(client, item, kind, *, days=0):
    now = time.time_ns() // 1_000_000
    event = {"user_id": "ann", "item_id": item, "event_type": kind, "timestamp": now - days * DAY}
    assert client.post("/v1/events", json={"events": [event]}).json()["accepted"] == 1


@pytest.mark.parametrize("kind", ["purchase", "add-to-cart", "like"])
def test_what_was_bought_is_neither_pinned_nor_the_last_resort(serve, folder, store, kind):
    client = serve(folder, store=store)
    put(client, HERO, SPARE)
    assert shown(client)[0] == ("i030", "rule:pinned")
    put(client, SPARE, ONLY)
    assert {item for item, _ in shown(client)} == {"i030", "i031", "i032"}
    happened(client, "i030", kind)
    assert {item for item, _ in shown(client)} == {"i031", "i032"}
    assert {item for item, _ in shown(client, user_id="ben")} == {"i030", "i031", "i032"}
    put(client, HERO, SPARE)
    assert "i030" not in [item for item, _ in shown(client)]
    assert shown(client, seen=True)[0] == ("i030", "rule:pinned"), "the request wants what was seen, too"
    client.portal.call(client.service.traces.flush)
    store.flush()
    causes = [line["rule"] for one in store.arrangements("default", item_id="i030") for line in one.lines]
    assert causes[:2] == ["hero", "shopper has it"]


def test_what_was_only_looked_at_is_still_pinned_and_a_last_resort(serve, folder, store):
    client = serve(folder, store=store)
    put(client, HERO)
    happened(client, "i030", "view")
    assert shown(client)[0] == ("i030", "rule:pinned")
    put(client, SPARE, ONLY)
    assert ("i030", "rule:fallback") in shown(client)


def test_what_the_model_was_fitted_with_counts_as_bought_lately(serve, folder, store):
    client = serve(folder, store=store)
    model = saved.load(folder)
    user = model.users.ids([0])[0]
    item = model.pipeline.items.ids(model.histories.history(0)[:1])[0]
    pin = {"name": "hero", "pin": {"items": [item]}}
    put(client, pin)
    assert item not in [one for one, _ in shown(client, user_id=user)]
    lately = {"name": "lately", "already_bought": {"days": 90}}
    put(client, pin, lately)
    assert item not in [one for one, _ in shown(client, user_id=user)], "nobody knows when"
    bought = Event("e1", user, item, "purchase", time.time_ns() // 1_000_000 - 91 * DAY)
    store.append_events("default", [bought])
    client.service.shops["default"].engine.shoppers.forget(user)
    assert shown(client, user_id=user)[0] == (item, "rule:pinned"), "the rule says when it may come again"


def test_a_rule_on_purchases_decides_instead(serve, folder, store):
    client = serve(folder, store=store)
    lately = {"name": "lately", "already_bought": {"days": 90, "but_not": {"items": ["i031"]}}}
    put(client, HERO, SPARE, ONLY, lately)
    happened(client, "i030", "purchase", days=10)
    happened(client, "i031", "purchase", days=10)
    happened(client, "i032", "purchase", days=100)
    assert shown(client) == [("i031", "rule:fallback"), ("i032", "rule:fallback")]
    put(client, HERO, SPARE, ONLY, {**lately, "when": {"strategies": ["basket"]}})
    assert shown(client) == []
    assert shown(client, place="basket") == [("i031", "rule:fallback"), ("i032", "rule:fallback")]
