"""What goes wrong in one place stays there, and is told; ids in any Unicode form; products that nobody may see."""

from __future__ import annotations

import asyncio
import threading
import unicodedata

import polars as pl
import pytest
from httpx2 import ASGITransport, AsyncClient
from shops import fitted

from tastemaker.data.dataset import Dataset
from tastemaker.serve.engine.calling.batching import Batcher
from tastemaker.serve.engine.workers import Workers
from tastemaker.store.records import Arrangement


def listed(client, path="/v1/recommend", **body):
    answer = client.post(path, json={"budget_ms": 5000, **body})
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


@pytest.mark.parametrize("threads", [0, 1])
def test_a_question_that_cannot_be_answered_fails_alone(threads):
    asked = []

    def answer(questions):
        asked.append(len(questions))
        if 13 in questions or 40 in questions:
            raise ValueError("unlucky")
        return [question * question for question in questions]

    async def ask():
        workers = Workers(1, waiting=9, name="batches") if threads else None
        batcher = Batcher(answer, wait=0.001, most=64, expected=lambda: 64, workers=workers)
        found = await asyncio.gather(*(batcher.ask(number) for number in range(64)), return_exceptions=True)
        if workers is not None:
            await asyncio.to_thread(workers.close, within=1)
        return found

    found = asyncio.run(ask())
    for number, one in enumerate(found):
        if number in (13, 40):
            assert isinstance(one, ValueError)
        else:
            assert one == number**2
    assert sum(asked) <= 64 * (1 + 6), "halves of halves, not one by one"


@pytest.mark.parametrize("quick", [True, False])
def test_a_shopper_who_breaks_the_retriever_gets_a_degraded_list_alone(serve, folder, quick):
    client = serve(folder)
    live = client.service.shops["default"].engine.views.now.live
    live.quick = quick
    popular, well, real = listed(client, strategy="popular"), listed(client, user_id="u002"), live.retriever.answer
    broken = live.users.number("u001")

    def answer(questions):
        if any(question.user == broken for question in questions):
            raise FloatingPointError("secret")
        return real(questions)

    live.retriever.answer = answer
    client.service.shops["default"].engine._batchers.clear()

    async def both():
        transport = ASGITransport(client.app)
        async with AsyncClient(transport=transport, base_url="http://127.0.0.1") as shop:
            bodies = [{"user_id": user, "budget_ms": 5000} for user in ("u001", "u002", "u001", "u002")]
            return await asyncio.gather(*(shop.post("/v1/recommend", json=body) for body in bodies))

    answers = [answer.json() for answer in client.portal.call(both)]
    assert [answer["degraded_reason"] for answer in answers] == ["retriever: failed", None] * 2
    assert [item["item_id"] for item in answers[1]["items"]] == well
    assert {item["source"] for item in answers[0]["items"]} == {"popular"}
    assert len(answers[0]["items"]) == len(popular)
    assert 'tastemaker_faults_total{fault="retriever: failed"} 2.0' in client.get("/metrics").text


def test_filters_without_time_are_asked_for_again_and_never_left_out(serve, folder):
    client = serve(folder)
    engine, end = client.service.shops["default"].engine, threading.Event()

    async def occupy():
        return [asyncio.ensure_future(engine._explaining.run(end.wait)) for _ in range(4)]

    waiting = client.portal.call(occupy)
    try:
        body = {"user_id": "u001", "filters": {"price_to": 12}, "budget_ms": 60}
        answer = client.post("/v1/recommend", json=body)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "filters" in answer.json()["detail"]
        assert answer.headers["content-type"] == "application/problem+json"
    finally:
        end.set()

    async def settle():
        await asyncio.gather(*waiting)

    client.portal.call(settle)
    assert client.post("/v1/recommend", json={**body, "budget_ms": 5000}).status_code == 200


def test_reasons_that_fail_leave_the_list(serve, folder, monkeypatch):
    def broken(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr("tastemaker.serve.engine.explaining.reasons", broken)
    body = {"user_id": "u001", "explain": True, "budget_ms": 5000}
    answer = serve(folder).post("/v1/recommend", json=body)
    assert answer.status_code == 200
    assert len(answer.json()["items"]) == 10
    assert answer.json()["notes"] == ["reasons were left out: they failed"]


def accented(number, form):
    return unicodedata.normalize(form, f"café-{number}")


@pytest.fixture(scope="module")
def decomposed(tmp_path_factory):
    """A model whose ids of products and shoppers are in another form than requests and the store have them in."""
    log = pl.DataFrame(
        {
            "user_id": [accented(f"u{user}", "NFD") for user in range(20) for _ in range(4)],
            "item_id": [accented((user * 3 + step * 7) % 15, "NFD") for user in range(20) for step in range(4)],
        }
    )
    items = [accented(item, "NFD") for item in range(15)]
    twin = accented(0, "NFC")  # the same text once more, as other systems have written it
    data = Dataset.from_frames(log, pl.DataFrame({"item_id": [*items, twin]}))
    return fitted({"model": "transitions"}, folder=tmp_path_factory.mktemp("models") / "nfd", data=data)


def test_ids_of_a_model_in_another_unicode_form_are_hidden_bought_erased_and_noted(serve, decomposed, store):
    client = serve(decomposed, store=store)
    user, everything = accented("u3", "NFC"), listed(client, n=100)
    assert len(everything) >= 10
    assert listed(client, user_id=user) != listed(client, user_id="nobody"), "the history of the fit is found"
    first, second, third, *_ = [unicodedata.normalize("NFC", item) for item in listed(client, user_id=user)]
    assert client.patch(f"/v1/items/{first}", json={"hidden": True}).status_code == 200
    assert client.delete(f"/v1/items/{second}").status_code == 200
    event = {"user_id": user, "item_id": third, "event_type": "purchase"}
    assert client.post("/v1/events", json={"events": [event]}).json()["accepted"] == 1
    after = [unicodedata.normalize("NFC", item) for item in listed(client, user_id=user, n=100)]
    assert not {first, second, third} & {*after}
    client.portal.call(client.service.traces.flush)
    store.flush()
    shown = store.impressions_between("default", 0, 2**53)
    assert len(shown) == 5
    assert client.service.traces.dropped == 0
    assert client.delete(f"/v1/users/{user}").status_code == 200
    assert listed(client, user_id=user) == listed(client, user_id="nobody")
    named = [one["user_id"] for one in client.get("/v1/users", params={"n": 100}).json()["users"]]
    assert len(named) == 19
    assert user not in [unicodedata.normalize("NFC", one) for one in named]


def test_two_ids_that_are_one_text_are_hidden_together(serve, decomposed, store):
    client = serve(decomposed, store=store)
    both = {accented(0, "NFC"), accented(0, "NFD")}
    client.patch(f"/v1/items/{accented(0, 'NFC')}", json={"hidden": True})
    assert not both & {*listed(client, n=100)}
    assert not both & {*listed(client, "/v1/rerank", item_ids=[accented(number, "NFC") for number in range(3)])}
    client.patch(f"/v1/items/{accented(0, 'NFC')}", json={"hidden": False})
    assert both & {*listed(client, n=100)}


def test_products_that_nobody_may_see_are_not_explained(serve, folder, store):
    client = serve(folder, store=store)
    client.put("/v1/items/new", json={"title": "soap"})
    client.patch("/v1/items/i003", json={"hidden": True})
    client.delete("/v1/items/i004")
    client.delete("/v1/items/new")

    def explain(*items):
        return client.post("/v1/explain", json={"item_ids": list(items), "budget_ms": 5000})

    for item, why in (("i003", "hidden"), ("i004", "taken out"), ("new", "no such product"), ("never", "no such")):
        answer = explain(item)
        assert answer.status_code == 404, answer.text
        assert why in answer.json()["detail"]
        assert answer.json()["errors"] == [{"place": "item_ids.0", "message": answer.json()["errors"][0]["message"]}]
    answer = explain("i005", "i003", "i004", "never").json()
    assert [item["item_id"] for item in answer["items"]] == ["i005"]
    assert answer["missing_ids"] == ["never"]
    assert answer["notes"] == ["i003: this product is hidden", "i004: this product was taken out of the catalogue"]
    rules = {"rule": [{"name": "off", "hide": {"items": ["i005"]}}]}
    assert client.put("/v1/rules", json={"rules": rules}).status_code == 200
    assert explain("i005").status_code == 200, "what a rule suppresses for some can be explained"


def test_lines_of_rules_are_found_by_product_and_list_and_their_log_is_bounded(serve, folder, store):
    client = serve(folder, store=store, rule_lists=300)
    [first, *_] = listed(client, user_id="u001")
    bury = {"name": "down", "bury": {"items": [first], "places": 3}}
    client.put("/v1/rules", json={"rules": {"rule": [bury]}})
    answers = [client.post("/v1/recommend", json={"user_id": "u001"}).json() for _ in range(3)]
    client.portal.call(client.service.traces.flush)
    store.flush()

    def lines(**query):
        return client.get("/v1/audit", params={"kind": "rules", **query}).json()["lines"]

    assert [line["subject"] for line in lines()] == [answer["request_id"] for answer in answers[::-1]]
    [line] = lines(request_id=answers[0]["request_id"])
    assert [one["item_id"] for one in line["detail"]["lines"]] == [first]
    assert len(lines(item_id=first)) == 3
    assert lines(item_id="i039") == []
    assert lines(item_id='%"_') == []
    assert {line["action"] for line in client.get("/v1/audit").json()["lines"]} == {"rules.put"}
    for number in range(30):
        rows = [{"rule": "r", "action": "bury", "item_id": f"x{n}", "before": 1, "after": 2} for n in range(450)]
        store.add_arrangements("default", [store_row(f"q{number}-{part}", rows) for part in range(10)], keep=300)
        store.flush()
    kept = store.arrangements("default", 10_000)
    assert 300 <= len(kept) <= 300 + 256
    assert kept[0].request_id == "q29-9"
    assert len(kept[1].lines) == 200, "a list of 450 lines makes three rows"


def store_row(request_id, rows):
    return Arrangement(request_id, 1, tuple(rows))
