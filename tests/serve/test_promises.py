"""What is hidden, erased, or outside of what was asked for stays away, also where something else goes wrong."""

from __future__ import annotations

import asyncio
import gc
import shutil
import threading
import time
import weakref

import numpy as np
import pytest

from tastemaker import saved
from tastemaker.serve.backing import item_of
from tastemaker.serve.engine.asks import Ask
from tastemaker.serve.engine.live import Live
from tastemaker.serve.engine.retrieval import Question
from tastemaker.serve.engine.texts import Texts
from tastemaker.serve.engine.views import Views
from tastemaker.serve.recording import Traces
from tastemaker.store.errors import StoreBusy
from tastemaker.store.records import AuditLine, Impression, ModelVersion


def listed(client, path="/v1/recommend", **body):
    answer = client.post(path, json={"budget_ms": 5000, **body})
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


@pytest.mark.parametrize("rule", [None, {"name": "off", "enabled": False, "pin": {"items": ["i038"]}}])
def test_hidden_products_stay_away_without_rules_in_force(serve, folder, store, rule):
    client = serve(folder, store=store)
    if rule is not None:
        assert client.put("/v1/rules", json={"rules": {"rule": [rule]}}).status_code == 200
    engine = client.service.shops["default"].engine
    assert engine.views.now.rules is None
    gone = listed(client, n=3)[0]
    client.patch(f"/v1/items/{gone}", json={"hidden": True})
    for strategy in ("fast", "text", "popular"):
        assert gone not in listed(client, user_id="u001", n=100, strategy=strategy)
    assert gone not in listed(client, "/v1/rerank", item_ids=[gone, "i001"])
    assert gone not in listed(client, "/v1/similar", item_id="i001", n=100)


def test_pins_keep_to_what_was_asked_for(serve, folder, store):
    client = serve(folder, store=store)
    items = saved.load(folder).pipeline.items
    dear = items.ids([int(items.frame["price"].arg_max())])[0]
    rules = {"rule": [{"name": "pin", "pin": {"items": [dear]}}, {"name": "spare", "fallback": {"items": [dear]}}]}
    assert client.put("/v1/rules", json={"rules": rules}).status_code == 200
    assert listed(client, user_id="u001", n=3)[0] == dear
    assert dear not in listed(client, user_id="u001", n=3, filters={"price_to": items.frame["price"].min()})
    assert dear not in listed(client, user_id="u001", n=3, context_item_id=dear)
    others = [item for item in ("i001", "i002", "i003") if item != dear]
    assert sorted(listed(client, "/v1/rerank", item_ids=others)) == others


def test_an_erasure_that_must_be_asked_for_again_is_in_force_at_once(serve, folder, store, monkeypatch):
    client, erase = serve(folder, store=store), store.erase_user
    known = listed(client, user_id="u001")

    def busy(tenant, user_id):
        erase(tenant, user_id)
        raise StoreBusy("a reader keeps old pages alive", 1.0)

    monkeypatch.setattr(store, "erase_user", busy)
    assert client.delete("/v1/users/u001").status_code == 503
    assert listed(client, user_id="u001") == listed(client, user_id="nobody") != known


def test_an_erasure_by_another_process_is_followed(serve, folder, store, monkeypatch):
    monkeypatch.setattr(type(store), "exclusive", False)
    client = serve(folder, store=store, follow_seconds=60)
    known = listed(client, user_id="u001")
    store.erase_user("default", "u001")
    client.portal.call(client.service.shops["default"].follow)
    assert listed(client, user_id="u001") == listed(client, user_id="nobody") != known


def test_erased_shoppers_are_not_found(serve, folder, store):
    client = serve(folder, store=store)
    before = [one["user_id"] for one in client.get("/v1/users").json()["users"]]
    client.delete(f"/v1/users/{before[1]}")
    after = [one["user_id"] for one in client.get("/v1/users").json()["users"]]
    assert after == [before[0], *before[2:]]


def test_an_event_during_an_answer_counts_for_all_later_ones(serve, text_folder, store):
    client = serve(text_folder, store=store)
    engine = client.service.shops["default"].engine
    client.portal.call(engine.views.settled)
    real, happened = engine._in_batch, []

    async def slow(asked, retriever, question, *, quick):
        found = await real(asked, retriever, question, quick=quick)
        if not happened:
            happened.append(True)
            engine.shoppers.happened("u001", [("i030", "purchase", 1)])
            await engine.recommend(Ask(time.perf_counter(), 5, 5.0, "fast", "u001"))
        return found

    engine._in_batch = slow
    client.portal.call(engine.recommend, Ask(time.perf_counter(), 5, 5.0, "fast", "u001"))
    shopper = engine.shoppers.here("u001")
    [expected] = engine.views.now.live.retriever.vectors([Question(shopper.history, 5)])
    assert shopper.history[-1] == engine.views.now.shelf.number("i030")
    np.testing.assert_array_equal(shopper.vector.values, expected.values)


def test_a_new_product_without_texts_is_listed_without_a_reason(serve, folder, store, monkeypatch):
    monkeypatch.setattr(Texts, "of", classmethod(lambda cls, pipeline, retriever: None))
    client = serve(folder, store=store)
    client.put("/v1/items/new", json={"title": "soap"})
    answer = client.post("/v1/explain", json={"item_ids": ["new", "i001"], "budget_ms": 5000})
    assert answer.status_code == 200
    assert [(one["item_id"], one["reason"] is None) for one in answer.json()["items"]] == [
        ("new", True),
        ("i001", False),
    ]


def test_what_a_store_does_not_take_keeps_no_product_from_being_hidden(store):
    columns = {"id": "i", "title": "soap", "price": float("nan"), "group_id": 7, "created_at": -1, "brand": 3}
    item = item_of("i", {**columns, "rating": float("inf"), "sizes": [1], "size": 3, "organic": True})
    assert store.put_items("default", [item]) == 1
    assert store.patch_item("default", "i", {"hidden": True}).hidden
    assert (item.title, item.price, item.attributes) == ("soap", None, {"size": 3, "organic": True})
    assert item_of("i", {"price": 2.5, "categories": ["a", "b"], "created_at": 5, "group_id": "g"}) == type(item)(
        "i", price=2.5, categories=("a", "b"), created_at=5, group_id="g"
    )


def test_a_trace_that_cannot_be_stored_keeps_no_other_out(serve, folder, store):
    client = serve(folder, store=store)
    traces = Traces(store, client.service.workers)
    for tenant, item in (("a", "i\x00"), ("b", "i001")):
        traces._impressions[tenant] = [Impression("r", 1, "u", None, None, "v", "fast", (item,))]
    traces._audit.append(("a", AuditLine(1, "k", "model.activate", "v")))
    client.portal.call(traces.flush)
    store.flush()
    assert traces.dropped == 1
    assert [one.item_ids for one in store.impressions_between("b", 0, 9)] == [("i001",)]
    assert [line.action for line in store.audit("a")] == ["model.activate"]


def test_long_work_beside_requests_keeps_no_history_away(serve, folder, store):
    client = serve(folder, store=store)
    engine, end = client.service.shops["default"].engine, threading.Event()

    async def occupy():
        return [asyncio.ensure_future(engine.background.run(end.wait)) for _ in range(8)]

    waiting = client.portal.call(occupy)
    try:
        answer = client.post("/v1/recommend", json={"user_id": "u001", "budget_ms": 5000}).json()
        assert (answer["degraded"], answer["degraded_reason"]) == (False, None)
    finally:
        end.set()

    async def settle():
        await asyncio.gather(*waiting)

    client.portal.call(settle)


def test_a_roll_back_to_a_model_that_cannot_be_loaded_changes_nothing(serve, folder, store, tmp_path):
    client = serve(folder, store=store)
    answering = store.active_model("default").version
    gone = ModelVersion("gone", str(tmp_path / "gone"))
    store.put_model("default", gone)
    store.activate_model("default", "gone")
    store.activate_model("default", answering)
    assert client.post("/v1/models:rollback").status_code == 409
    assert store.active_model("default").version == answering
    assert client.post("/v1/recommend", json={"n": 3}).json()["model_version"] == answering


def test_events_that_fail_in_an_unforeseen_way_leave_nobody_waiting(serve, folder, store, monkeypatch):
    client = serve(folder, store=store)

    def fail(tenant, events):
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(store, "submit_events", fail)
    answer = client.post("/v1/events", json={"events": [{"user_id": "u", "item_id": "i", "event_type": "view"}]})
    assert answer.status_code == 500
    assert "unforeseen" not in answer.text


def test_it_answers_at_once_and_is_ready_once_the_indexes_are_there(serve, folder, store, monkeypatch):
    go, real = threading.Event(), Views._built

    def slow(self, live, **how):
        go.wait(20)
        return real(self, live, **how)

    monkeypatch.setattr(Views, "_built", slow)
    client = serve(folder, store=store, settle_seconds=0.01)
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json()["detail"]) == (503, "indexes are being made")
    assert listed(client, user_id="u001")
    go.set()
    client.portal.call(client.service.shops["default"].engine.views.settled)
    client.portal.call(asyncio.sleep, 0.01)
    assert client.get("/health/ready").status_code == 200


def test_another_model_answers_only_once_it_has_its_indexes_and_is_not_loaded_twice(
    serve, folder, text_folder, store, monkeypatch
):
    client = serve(folder, store=store)
    views = client.service.shops["default"].engine.views
    client.portal.call(views.settled)
    first, seen, loads, real = views.now.live, [], [], Live.load

    def built(self, live, *, at_ease):
        seen.append((views.now.live is first, at_ease))
        return build(self, live, at_ease=at_ease)

    def load(folder, version):
        loads.append(version)
        return real(folder, version)

    build = Views._built
    monkeypatch.setattr(Views, "_built", built)
    monkeypatch.setattr(Live, "load", load)
    store.put_model("default", ModelVersion("texts", str(text_folder)))
    assert client.post("/v1/models/texts:activate").json()["state"] == "done"
    assert seen == [(True, True)], "beside the model that answers, and giving way to it"
    assert views.now.texts is not None
    assert views.now.live.indexed
    assert client.post("/v1/models:rollback").json()["state"] == "done"
    assert views.now.live is first
    assert client.post("/v1/models/texts:activate").json()["state"] == "done"
    assert loads == ["texts"], "both are still there"
    assert views.now.live.indexed


def test_a_model_that_no_longer_answers_is_freed(serve, folder, text_folder, store, tmp_path):
    client = serve(folder, store=store)
    views = client.service.shops["default"].engine.views
    client.portal.call(views.settled)
    gone = weakref.ref(views.now.live)
    other = shutil.copytree(text_folder, tmp_path / "other")
    gc.collect()
    gc.disable()  # what is frozen at a start is never looked through
    try:
        for version, place in (("texts", text_folder), ("other", other)):
            store.put_model("default", ModelVersion(version, str(place)))
            assert client.post(f"/v1/models/{version}:activate").json()["state"] == "done"
            listed(client, user_id="u001")
        client.portal.call(asyncio.sleep, 0.05)
        assert gone() is None
    finally:
        gc.enable()
