"""What is put into the store, and what the next answer makes of it."""

from __future__ import annotations

import numpy as np
import pytest

from tastemaker import saved


def listed(client, **body):
    answer = client.post("/v1/recommend", json={"n": 10, "budget_ms": 5000, **body})
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def send(client, *events, **more):
    answer = client.post("/v1/events", json={"events": list(events), **more})
    return answer.status_code, answer.json()


def event(user, item, kind="purchase", **more):
    return {"user_id": user, "item_id": item, "event_type": kind, **more}


def test_an_acknowledged_event_is_part_of_the_next_answer(serve, folder, store):
    client, loaded = serve(folder, store=store), saved.load(folder)
    for step, item in enumerate(listed(client, user_id="somebody")[:5]):
        status, answer = send(client, event("somebody", item, event_id=f"e{step}"))
        assert (status, answer["results"]) == (202, [{"event_id": f"e{step}", "status": "accepted"}])
        assert item not in listed(client, user_id="somebody")
    bought = [one.item_id for one in store.history("default", "somebody")]
    numbers = loaded.pipeline.items.numbers(bought)
    expected = loaded.pipeline.rank(saved.Queries.from_lists([numbers]), 10).items[0]
    assert listed(client, user_id="somebody") == loaded.pipeline.items.ids(expected)


def test_events_know_what_became_of_each(serve, folder, store):
    client = serve(folder, store=store)
    good = event("u", "i001", event_id="a")
    assert send(client, good, good)[1]["results"] == [
        {"event_id": "a", "status": "accepted"},
        {"event_id": "a", "status": "duplicate"},
    ]
    status, answer = send(client, event("u", "i002", event_id="b"), {"user_id": "u"}, event("u", "i003", event_id="c"))
    assert status == 202
    assert [one["status"] for one in answer["results"]] == ["accepted", "invalid", "accepted"]
    assert answer["accepted"] == 2
    assert "item_id" in answer["results"][1]["error"]
    _, answer = send(client, good, {"event_id": "x", "user_id": "u"}, event("u", "", event_id="y"), "z", [], None)
    assert [(one["event_id"], one["status"]) for one in answer["results"]] == [
        *(("a", "duplicate"), ("x", "invalid"), ("y", "invalid"), (None, "invalid"), (None, "invalid")),
        (None, "invalid"),
    ]
    for wrong in (7, "", "i" * 300, "a\u0000", {"a": 1}):
        _, answer = send(client, good, event("u", "i001", event_id=wrong))
        assert answer["results"][1]["event_id"] is None, wrong
    _, answer = send(client, event("u", "i002", event_id="s", timestamp=1_795_710_613))
    assert "looks like seconds" in str(answer)
    assert send(client, {"user_id": "u"})[0] == 422
    assert send(client)[0] == 422
    assert send(client, *[event("u", "i001")] * 1001)[0] == 422
    assert send(client, event("u", "i009", event_id="d"), validate_only=True)[1]["results"] == [
        {"event_id": "d", "status": "valid"}
    ]
    assert [one.event_id for one in store.history("default", "u")] == ["a", "b", "c"]


def test_events_of_products_that_nobody_sells_are_named_and_counted(serve, folder, store):
    client = serve(folder, store=store)
    _, answer = send(client, event("u", "i001"), event("u", "i001.2"), event("u", "i001.2"), event("u", "SKU-7"))
    assert (answer["accepted"], answer["missing_ids"]) == (4, ["i001.2", "SKU-7"])
    assert "tastemaker_events_of_missing_products_total 3.0" in client.get("/metrics").text
    _, answer = send(client, event("u", "i002"), {"user_id": "u"}, event("u", "x", event_id="x"), validate_only=True)
    assert answer["missing_ids"] == ["x"]
    assert send(client, event("u", "i002"))[1]["missing_ids"] == []
    client.put("/v1/items/SKU-7", json={"title": "New"})
    assert "SKU-7" in [one.item_id for one in store.history("default", "u")]


def test_a_thumb_down_takes_the_product_from_the_next_list(serve, folder, store):
    client = serve(folder, store=store)
    first = listed(client, user_id="u001")
    send(client, event("u001", first[0], "dislike"))
    assert first[0] not in listed(client, user_id="u001")
    send(client, event("u001", first[1], "like"))
    after = listed(client, user_id="u001")
    assert first[1] not in after
    assert after != [item for item in first if item not in first[:2]][: len(after)]


@pytest.mark.parametrize("which", ["folder", "text_folder"])
def test_a_product_put_now_is_listed_by_its_text(serve, which, request, store):
    client = serve(request.getfixturevalue(which), store=store)
    settle(client)
    texts = {"title": "soap number 4 with lavender", "brand": "Bolt", "categories": ["Beauty", "soap"], "price": 5.5}
    assert client.put("/v1/items/brand%2Fnew", json=texts).status_code == 200
    body = {"session_items": ["i004"], "n": 10, "explain": True, "budget_ms": 5000}
    answer = client.post("/v1/recommend", json=body).json()
    [new] = [item for item in answer["items"] if item["item_id"] == "brand/new"]
    assert (new["source"], new["title"], new["price"]) == ("text", texts["title"], 5.5)
    assert new["reason"]["evidence"]
    similar = client.post("/v1/similar", json={"item_id": "brand/new", "n": 3, "budget_ms": 5000}).json()
    assert all("soap" in item["title"] for item in similar["items"])
    cheap = listed(client, session_items=["i004"], filters={"price_to": 5.6})
    assert "brand/new" in cheap
    assert "brand/new" not in listed(client, session_items=["i004"], filters={"price_to": 5.0})
    assert client.patch("/v1/items/brand%2Fnew", json={"price": 4.5}).json()["price"] == 4.5
    assert "brand/new" in listed(client, session_items=["i004"], filters={"price_to": 5.0})
    assert client.delete("/v1/items/brand/new").json() == {"deleted": True}
    assert "brand/new" not in listed(client, session_items=["i004"])
    assert client.get("/v1/items/brand/new").status_code == 404


def test_a_hidden_product_vanishes_and_comes_back(serve, folder, store):
    client = serve(folder, store=store)
    first = listed(client, user_id="u001")
    assert client.patch(f"/v1/items/{first[0]}", json={"hidden": True}).status_code == 200
    assert first[0] not in listed(client, user_id="u001")
    assert first[0] not in listed(client, user_id="nobody", n=40)
    assert client.patch(f"/v1/items/{first[0]}", json={"hidden": False}).status_code == 200
    assert listed(client, user_id="u001") == first
    assert client.delete(f"/v1/items/{first[0]}").status_code == 200
    assert first[0] not in listed(client, user_id="u001")
    assert client.get(f"/v1/items/{first[0]}").status_code == 404


def test_changed_prices_count_and_show(serve, folder, store):
    client = serve(folder, store=store)
    item = listed(client, user_id="u001")[0]
    client.patch(f"/v1/items/{item}", json={"price": 0.25})
    answer = client.post("/v1/recommend", json={"user_id": "u001", "filters": {"price_to": 0.5}, "budget_ms": 5000})
    assert [(one["item_id"], one["price"]) for one in answer.json()["items"]] == [(item, 0.25)]


def test_an_erased_shopper_is_forgotten_at_once(serve, folder, store, tmp_path):
    client = serve(folder, store=store)
    known = listed(client, user_id="u001")
    send(client, event("u001", "i030", event_id="secret-event"))
    client.put("/v1/users/u001", json={"attributes": {"town": "secret-town"}})
    assert len(client.get("/v1/users/u001/export").text.splitlines()) >= 2
    receipt = client.delete("/v1/users/u001").json()
    assert receipt["counts"]["events"] == 1
    assert listed(client, user_id="u001") == listed(client, user_id="nobody") != known
    assert send(client, event("u001", "i030"))[1]["results"][0]["status"] == "erased"
    assert listed(client, user_id="u001") == listed(client, user_id="nobody")
    client.portal.call(client.service.traces.flush)
    for file in tmp_path.iterdir():
        content = file.read_bytes()
        assert b"secret-town" not in content, file
        assert b"secret-event" not in content, file


def test_what_lists_showed_is_kept_for_attribution(serve, folder, store):
    client = serve(folder, store=store)
    answer = client.post("/v1/recommend", json={"user_id": "u001", "n": 3}).json()
    client.portal.call(client.service.traces.flush)
    store.flush()
    [shown] = store.impressions_between("default", 0, 2**53)
    assert shown.request_id == answer["request_id"]
    assert list(shown.item_ids) == [item["item_id"] for item in answer["items"]]
    assert (shown.user_id, shown.model_version, shown.degraded) == ("u001", answer["model_version"], False)


def test_business_rules_hold_and_leave_lines(serve, folder, store):
    client = serve(folder, store=store)
    first = listed(client, user_id="u001")
    rules = {
        "rule": [
            {"name": "no-first", "hide": {"items": [first[0]]}},
            {"name": "pin", "pin": {"items": ["i038"], "positions": [2]}},
            {"name": "one-brand", "cap": {"by": "brand", "at_most": 2}},
        ]
    }
    assert client.put("/v1/rules", json={"rules": rules}).json() == {"version": 1}
    after = client.post("/v1/recommend", json={"user_id": "u001", "n": 6}).json()["items"]
    assert first[0] not in [item["item_id"] for item in after]
    assert (after[1]["item_id"], after[1]["source"]) == ("i038", "rule:pinned")
    brands = [item["brand"] for item in after]
    assert max(brands.count(brand) for brand in set(brands)) <= 2
    client.portal.call(client.service.traces.flush)
    store.flush()
    assert [line["action"] for line in client.get("/v1/audit").json()["lines"]] == ["rules.put"]
    lines = client.get("/v1/audit", params={"kind": "rules"}).json()["lines"]
    assert {line["rule"] for line in lines[0]["detail"]["lines"]} >= {"pin"}
    assert {line["action"] for line in lines} == {"arrange"}
    assert client.put("/v1/rules", json={"rules": {"rule": [{"name": "x", "hide": {}}]}}).status_code == 400
    client.put("/v1/rules", json={"rules": {}})
    assert listed(client, user_id="u001") == first


TOML = {"content-type": "application/toml"}


def test_rules_come_as_people_write_them(serve, folder, store):
    client = serve(folder, store=store)
    [first, *_] = listed(client, user_id="u001")
    rule = f'name = "x"\nwhen = {{ since = 2026-01-31 }}\nhide = {{ items = ["{first}"] }}\n'
    text = f'timezone = "Europe/Berlin"\n[[rule]]\n{rule}'
    assert client.put("/v1/rules", content=text, headers=TOML).json() == {"version": 1}
    assert first not in listed(client, user_id="u001")
    told = client.get("/v1/rules").json()["rules"]
    assert told["rule"][0]["when"] == {"since": "2026-01-31"}
    assert client.put("/v1/rules", json=told).json() == {"version": 2}, "the document itself"
    assert client.put("/v1/rules", json={"rules": told}).json() == {"version": 3}
    assert client.get("/v1/rules").json() == {"version": 3, "rules": told}


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"[[rule]]\nname = ", 422, "not valid TOML"),
        (b"\xff", 422, "not valid TOML"),
        (b"", 422, "takes all rules away"),
        (b'[[rule]]\nname = "a"\nhyde = {}\n', 400, "did you mean 'hide'"),
        (b'rule = "x"\n', 400, "must be a list of rules"),
        (b'[[rule]]\nname = "a"\nboost = { factor = nan }\n', 422, "numbers finite"),
        (b"x = " + b"[" * 1000 + b"]" * 1000, 400, "levels deep"),
        (b"a." * 500_000 + b"b = 1", 400, "a name of more than 64 parts"),  # it was read for hours
    ],
)
def test_toml_that_is_no_rules_is_refused(serve, folder, store, content, status, words):
    client = serve(folder, store=store)
    answer = client.put("/v1/rules", content=content, headers=TOML)
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text
    assert store.get_rules("default")[0] == 0
    assert client.post("/v1/recommend", content=b"n = 3", headers=TOML).status_code == 415


@pytest.mark.parametrize("body", [{}, [], 7, {"rules": 7}, {"rules": {}, "more": 1}, {"rule": [{}]}])
def test_json_that_is_no_rules_is_refused(serve, folder, store, body):
    assert serve(folder, store=store).put("/v1/rules", json=body).status_code in (400, 422)
    assert store.get_rules("default")[0] == 0


def test_what_is_popular_goes_before_a_rules_fallback_and_keeps_to_caps(serve, folder, store):
    client = serve(folder, store=store)
    popular = client.post("/v1/recommend", json={"user_id": "nobody", "n": 40}).json()["items"]
    assert {item["source"] for item in popular} == {"popular"}
    ids = [item["item_id"] for item in popular]
    brands = {item["item_id"]: item["brand"] for item in popular}
    spare = {"name": "spare", "fallback": {"items": [ids[-1], ids[-2]]}}

    def shown(*rules, **body):
        assert client.put("/v1/rules", json={"rule": [*rules]}).status_code == 200
        answer = client.post("/v1/recommend", json={"user_id": "nobody", "n": 6, **body})
        return [(item["item_id"], item["source"]) for item in answer.json()["items"]]

    assert shown(spare) == [(one, "popular") for one in ids[:6]]
    few = {"name": "few", "keep": {"items": [ids[0], ids[-1]]}}
    assert shown(spare, few) == [(ids[0], "popular"), (ids[-1], "popular")]
    new = {"name": "unknown to the model", "fallback": {"items": ["new"]}}
    client.put("/v1/items/new", json={"title": "tea"})
    assert shown(new, few) == [(ids[0], "popular"), (ids[-1], "popular")]
    also = {"name": "few", "keep": {"items": [ids[0], "new"]}}
    assert shown(new, also) == [(ids[0], "popular"), ("new", "rule:fallback")]
    capped = shown({"name": "one brand", "cap": {"by": "brand", "at_most": 1}}, spare, n=20)
    assert len({brands[one] for one, _ in capped}) == len(capped) == len(set(brands.values()))
    boosted = shown({"name": "up", "boost": {"items": [ids[5]], "places": 5}})
    assert [one for one, _ in boosted] == [ids[5], *ids[:5]]
    asked = {"strategy": "popular", "n": 3}
    assert shown({"name": "up", "boost": {"items": [ids[2]], "places": 2}}, **asked)[0] == (ids[2], "popular")


def test_a_rule_for_one_place_holds_there_alone(serve, folder, store):
    client = serve(folder, store=store)
    [first, *_] = listed(client, user_id="u001")
    rule = {"name": "home", "when": {"strategies": ["home"]}, "hide": {"items": [first]}}
    client.put("/v1/rules", json={"rules": {"rule": [rule]}})
    assert first not in listed(client, user_id="u001", place="home")
    assert first in listed(client, user_id="u001", place="basket")
    assert first in listed(client, user_id="u001")


def test_an_experiment_sets_the_strategy_of_its_variant(serve, folder, store):
    client = serve(folder, store=store)
    variants = [{"name": "a"}, {"name": "b", "settings": {"strategy": "popular"}}]
    assert client.put("/v1/experiments/first", json={"experiment": {"variants": variants}}).status_code == 200
    seen = {}
    for number in range(60):
        answer = client.post("/v1/recommend", json={"user_id": f"u{number:03}"}).json()
        seen.setdefault(answer["variant"], set()).add(answer["strategy"])
    assert seen == {"a": {"fast"}, "b": {"popular"}}


def test_diversity_spreads_a_list(serve, text_folder, store):
    client = serve(text_folder, store=store)
    settle(client)

    def kinds(diversity):
        body = {"session_items": ["i004", "i008"], "n": 6, "diversity": diversity}
        return [item["categories"][-1] for item in client.post("/v1/recommend", json=body).json()["items"]]

    assert len(set(kinds(0.9))) > len(set(kinds(0.0)))


def settle(client):
    """Wait for the indexes that are made beside the requests."""
    for shop in client.service.shops.values():
        client.portal.call(shop.engine.views.settled)


def test_without_a_store_what_needs_one_says_so(serve, folder):
    client = serve(folder)
    assert listed(client, user_id="u001")
    status, answer = send(client, event("u", "i001"))
    assert status == 409
    assert "--store" in answer["detail"]


def test_shoppers_of_the_store_survive_a_restart(serve, folder, store):
    client = serve(folder, store=store)
    send(client, *[event("somebody", f"i{number:03}") for number in (3, 7, 11)])
    before = listed(client, user_id="somebody")
    assert listed(serve(folder, store=store), user_id="somebody") == before
    assert np.isin(["i003", "i007"], before).sum() == 0
