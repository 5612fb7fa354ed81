"""What `POST /v1/recommend` answers."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from shops import fitted

from tastemaker import saved
from tastemaker.data.queries import Queries


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


@pytest.mark.parametrize("which", ["folder", "text_folder"])
def test_the_list_is_the_pipelines(serve, which, request):
    folder = request.getfixturevalue(which)
    client, loaded = serve(folder), saved.load(folder)
    for row, user in enumerate(loaded.users.frame["id"].to_list()[:20]):
        expected = loaded.pipeline.rank(loaded.histories.take([row]), 5)
        answer = client.post("/v1/recommend", json={"user_id": user, "n": 5})
        assert ids(answer) == loaded.pipeline.items.ids(expected.items[0])
        assert [item["rank"] for item in answer.json()["items"]] == [1, 2, 3, 4, 5]


def test_a_shopper_nobody_knows_gets_what_is_popular(serve, folder):
    client, loaded = serve(folder), saved.load(folder)
    answer = client.post("/v1/recommend", json={"user_id": "nobody", "n": 4})
    expected = loaded.pipeline.fallback.rank(Queries.from_lists([[]]), 4).items[0]
    assert ids(answer) == loaded.pipeline.items.ids(expected)
    assert {item["source"] for item in answer.json()["items"]} == {"popular"}


def test_session_and_context_count_and_are_not_listed(serve, folder):
    client, loaded = serve(folder), saved.load(folder)
    session = loaded.pipeline.items.ids(np.array([3, 5]))
    context = loaded.pipeline.items.ids(np.array([1]))[0]
    body = {"session_items": session, "context_item_id": context, "n": 6, "strategy": "retriever"}
    listed = ids(client.post("/v1/recommend", json=body))
    expected = loaded.pipeline.stages[0].recommender.rank(Queries.from_lists([[3, 5, 1]]), 6).items[0]
    assert listed[: (expected >= 0).sum()] == loaded.pipeline.items.ids(expected[expected >= 0])
    assert not {*session, context} & {*listed}


def test_a_wish_of_words_that_no_product_has_says_so(serve, text_folder, store):
    client = serve(text_folder, store=store)

    def notes(wish):
        answer = client.post("/v1/recommend", json={"user_id": "u001", "n": 3, "wish": wish, "budget_ms": 5000})
        assert len(ids(answer)) == 3
        return answer.json()["notes"]

    assert notes("zxqv blorp") == ["wish: none of these words is in the catalogue: zxqv blorp"]
    assert notes("SOAPS zxqv") == notes("under 100") == notes("") == []
    client.put("/v1/items/new", json={"title": "Blörps"})
    assert notes("zxqv blorp") == []


def test_a_new_product_stands_at_the_end_of_what_is_popular(serve, folder, store):
    client = serve(folder, store=store)
    liked = client.get("/v1/items/i004").json()["title"]
    body = {"session_items": ["i004"], "n": 10, "strategy": "popular", "budget_ms": 5000}
    before = ids(client.post("/v1/recommend", json=body))
    client.put("/v1/items/near", json={"title": liked})
    end = time.monotonic() + 30
    while "near" not in (after := ids(client.post("/v1/recommend", json=body))) and time.monotonic() < end:
        time.sleep(0.02)
    assert after == [*before[:9], "near"]


def test_words_of_a_wish_that_no_stage_reads_are_answered_by_texts(serve, folder):
    client, loaded = serve(folder), saved.load(folder)
    titles = dict(zip(loaded.pipeline.items.frame["id"], loaded.pipeline.items.frame["title"], strict=True))

    def asked(user, wish, **more):
        answer = client.post(
            "/v1/recommend", json={"user_id": user, "n": 3, "wish": wish, "budget_ms": 5000, **more}
        ).json()
        return answer, [titles[item["item_id"]].lower() for item in answer["items"]]

    for user in ("u001", "nobody"):
        answer, listed = asked(user, "soap")
        assert (answer["strategy"], answer["notes"]) == ("text", [])
        assert sum("soap" in title for title in listed) >= 2
    for wish in ("under 100", "zxqv blorp"):  # filters alone, and words that say nothing
        assert asked("u001", wish)[0]["strategy"] == "fast"
    unread = "wish: its words change nothing with the strategy 'fast'; 'text' reads them"
    answer, _ = asked("u001", "soap", strategy="fast")
    assert (answer["strategy"], answer["notes"]) == ("fast", [unread])


def test_a_wish_that_a_blend_hardly_hears_is_answered_by_texts(serve, tmp_path):
    blend = {"model": "blend", "member": [{"model": "transitions"}, {"model": "text_knn"}]}
    folder = fitted(blend, folder=tmp_path / "blend")

    client = serve(folder)
    engine = client.service.shops["default"].engine

    def share(weights):
        """Return what the blend answers with these weights, by its own choice and as told to be fast."""
        engine.views.now.live.pipeline.stages[0].recommender._weights = np.array(weights)
        body = {"user_id": "u001", "n": 3, "wish": "soap", "budget_ms": 5000}
        return [client.post("/v1/recommend", json={**body, "strategy": one}).json() for one in ("auto", "fast")]

    auto, fast = share([0.9, 0.1])
    assert (auto["strategy"], auto["notes"]) == ("text", [])
    assert fast["notes"] == ["wish: its words count for 10% with the strategy 'fast'; 'text' reads them"]
    auto, fast = share([0.4, 0.6])
    assert (auto["strategy"], auto["notes"], fast["notes"]) == ("fast", [], [])


def test_a_wish_that_only_orders_what_others_found_is_noted(serve, tmp_path):
    client = serve(fitted({"model": "transitions", "keep": 7}, {"model": "text_knn"}, folder=tmp_path / "two"))
    body = {"user_id": "u001", "n": 3, "budget_ms": 5000}
    answer = client.post("/v1/recommend", json={**body, "wish": "soap"}).json()
    assert answer["strategy"] == "fast"
    assert answer["notes"] == ["wish: its words order what was found without them; 'text' finds products by them"]
    assert client.post("/v1/recommend", json={**body, "wish": "under 100"}).json()["notes"] == []
    offered = {"user_id": "u001", "item_ids": ["i030", "i031"], "wish": "soap", "budget_ms": 5000}
    assert client.post("/v1/rerank", json=offered).json()["notes"] == []


def test_reasons_in_the_shops_language(serve, folder, store):
    client = serve(folder, store=store, reasons_language="de")
    client.put("/v1/items/near", json={"title": client.get("/v1/items/i004").json()["title"]})
    body = {"user_id": "u001", "n": 10, "explain": True, "budget_ms": 5000}
    reasons = [item["reason"] for item in client.post("/v1/recommend", json=body).json()["items"] if item["reason"]]
    assert reasons
    assert not any("shoppers" in reason["text"] for reason in reasons)
    assert any("gekauft" in reason["text"].lower() for reason in reasons)


def test_stages_that_read_a_wish_are_left_to_answer_it(serve, text_folder):
    answer = (
        serve(text_folder).post("/v1/recommend", json={"user_id": "u001", "wish": "soap", "budget_ms": 5000}).json()
    )
    assert (answer["strategy"], answer["notes"]) == ("fast", [])


def test_what_is_excluded_or_does_not_fit_is_not_listed(serve, folder):
    client = serve(folder)
    first = ids(client.post("/v1/recommend", json={"user_id": "u001", "n": 10}))
    answer = client.post("/v1/recommend", json={"user_id": "u001", "n": 10, "exclude": [*first[:3], "unheard-of"]})
    assert not {*first[:3]} & {*ids(answer)}
    assert answer.json()["missing_ids"] == ["unheard-of"]
    filters = {"price_to": 12, "brands": ["Acme"]}
    answer = client.post("/v1/recommend", json={"user_id": "u001", "n": 10, "filters": filters})
    assert ids(answer)
    assert all(item["price"] <= 12 and item["brand"] == "Acme" for item in answer.json()["items"])
    wished = client.post("/v1/recommend", json={"user_id": "u001", "n": 10, "wish": "soap under 20"})
    assert wished.json()["wish"]["filters"]["price_to"] == 19.99
    assert all(item["price"] < 20 for item in wished.json()["items"])


def test_reasons_come_with_evidence(serve, folder):
    answer = serve(folder).post("/v1/recommend", json={"user_id": "u001", "n": 3, "explain": True, "budget_ms": 5000})
    reasons = [item["reason"] for item in answer.json()["items"]]
    assert all(reason["text"] and reason["grounded"] for reason in reasons)
    assert any(evidence["kind"] == "history" for reason in reasons for evidence in reason["evidence"])


def test_reranking_keeps_to_the_callers_candidates(serve, text_folder):
    client = serve(text_folder)
    offered = ["i020", "i000", "i008", "i016", "unheard-of"]
    answer = client.post("/v1/rerank", json={"session_items": ["i004"], "item_ids": offered})
    pipeline = saved.load(text_folder).pipeline
    scores = pipeline.stages[0].recommender.score(Queries.from_lists([pipeline.items.numbers(["i004"])]))[0]
    expected = sorted(offered[:-1], key=lambda item: -scores[pipeline.items.numbers([item])[0]])
    assert ids(answer) == expected
    assert answer.json()["missing_ids"] == ["unheard-of"]


def test_answers_never_hold_what_json_lacks(serve, folder):
    answer = serve(folder).post("/v1/recommend", json={"user_id": "u001", "n": 100})

    def refuse(word):
        raise AssertionError(word)

    json.loads(answer.content, parse_constant=refuse)


def test_wrong_bodies_are_problems_that_repeat_nothing(serve, folder):
    client = serve(folder)
    for body, status in (
        ({"user_id": "u1", "n": 101}, 422),
        ({"user_id": "", "n": 1}, 422),
        ({"user_id": "secret-person\u0000"}, 422),
        ({"wish": "secret-person" * 1000}, 422),
        ({"secret-person": 1}, 422),
        ({"diversity": float("nan")}, 422),
    ):
        answer = client.post("/v1/recommend", content=json.dumps(body), headers={"content-type": "application/json"})
        assert answer.status_code == status, body
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        if "secret-person" not in body:
            assert "secret-person" not in answer.text
