"""The typed client, against a service on a socket."""

from __future__ import annotations

import pytest
from live_server import AMPLE, in_thread

from tastemaker.serve.client import Client, Event, ServiceError
from tastemaker.serve.service import Service
from tastemaker.serve.settings import Settings


@pytest.fixture
def shop(folder, store):
    service = Service(Settings(rate=500.0, budget_ms=AMPLE), store=store)
    service.add_model(folder)
    pauses = []
    with in_thread(service) as url, Client(url, pause=pauses.append) as client:
        client.service, client.pauses = service, pauses
        yield client


def test_the_round_of_a_visit(shop):
    assert shop.ready()
    answer = shop.recommend(user_id="u001", n=5, explain=True, budget_ms=5000)
    assert [one.rank for one in answer.items] == [1, 2, 3, 4, 5]
    assert answer.items[0].reason.text
    bought = Event("u001", answer.items[0].item_id, "purchase", request_id=answer.request_id, position=0)
    assert shop.send([bought, bought]) == ["accepted", "duplicate"]
    after = shop.recommend(user_id="u001", n=5)
    assert bought.item_id not in [one.item_id for one in after.items]
    assert {one.item_id for one in shop.rerank(["i003", "i005"], user_id="u002").items} == {"i003", "i005"}
    assert [one.item_id for one in shop.explain(["i007"], user_id="u001").items] == ["i007"]
    assert shop.similar("i001", n=3).items
    assert shop.complementary("i001", n=3).items
    shop.put_item("a/b", title="soap", price=2.0)
    shop.hide_item("a/b")
    shop.delete_item("a/b")
    shop.put_user("u001", region="DE")
    assert shop.erase_user("u001")["counts"]["events"] == 1


def test_rules_are_put_and_shown(shop):
    assert shop.rules() == (0, {})
    document = {"rule": [{"name": "x", "hide": {"items": ["i001"]}}]}
    assert shop.put_rules(document) == 1
    assert shop.rules() == (1, document)
    with pytest.raises(ServiceError, match=r"HTTP 400: rules\.rule\[0\]"):
        shop.put_rules({"rule": [{"name": "x"}]})


def test_a_refusal_says_why_and_a_busy_service_is_asked_again(shop):
    with pytest.raises(ServiceError, match=r"HTTP 422: .*n: ") as refused:
        shop.recommend(n=1000)
    assert refused.value.request_id
    shop.service.limits.in_flight = 10_000
    with pytest.raises(ServiceError, match="HTTP 503"):
        shop.recommend()
    assert shop.pauses == [1.0, 1.0]
    shop.service.limits.in_flight = 0
    with (
        pytest.raises(ServiceError, match="cannot be reached"),
        Client("http://127.0.0.1:9", pause=lambda _: None) as nobody,
    ):
        nobody.recommend()
