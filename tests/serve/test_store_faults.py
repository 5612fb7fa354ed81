"""A full disk, a damaged page, a store that cannot be written, under a running service: said clearly, lists go on."""

from __future__ import annotations

import asyncio

import pytest
import requests
from disks import damage, mounted
from live_server import AMPLE, in_thread

from tastemaker.serve.app import create_app
from tastemaker.serve.service import Service
from tastemaker.serve.settings import Settings
from tastemaker.store import open_store
from tastemaker.store.errors import StoreCorrupt
from tastemaker.store.records import Item, MadeRanking


class Shop:
    """A service on a socket, as a shop's server sees it."""

    def __init__(self, url):
        self.url = url
        self.sent = 0
        self.acknowledged = set()

    def ask(self, method, path, body=None):
        return requests.request(method, self.url + path, json=body, timeout=30)

    def send(self, count):
        """Post events of a shopper; return the answer."""
        ids = [f"e{self.sent + number}" for number in range(count)]
        self.sent += count
        rows = [
            {"event_id": one, "user_id": f"u{one}", "item_id": "i001", "event_type": "view", "session_id": "s" * 200}
            for one in ids
        ]
        answer = self.ask("POST", "/v1/events", {"events": rows})
        if answer.status_code == 202:
            self.acknowledged |= {one["event_id"] for one in answer.json()["results"]}
        return answer

    def condition(self):
        answer = self.ask("GET", "/health/ready")
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"] == "ready"
        return answer.json()["store"]

    def lists(self, user):
        answer = self.ask("POST", "/v1/recommend", {"user_id": user, "n": 5, "budget_ms": 5000})
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["items"]) == 5
        return answer.json()

    def refused(self, answer, status, words):
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 1
        assert words in answer.json()["detail"]
        assert "/" not in answer.json()["detail"], "no path of the server"


@pytest.fixture
def running(folder):
    """A function that starts the service of a store."""
    from contextlib import contextmanager

    @contextmanager
    def run(store):
        service = Service(Settings(budget_ms=AMPLE), store=store)
        service.add_model(folder)
        with in_thread(service) as url:
            yield Shop(url)

    return run


def test_on_a_full_disk_lists_go_on_and_room_mends_it(running, tmp_path):
    with mounted("-t", "tmpfs", "-o", "size=3m", "tmpfs", tmp_path):
        filler = tmp_path / "filler"
        filler.write_bytes(b"x" * 700_000)
        with open_store(tmp_path / "shop.db") as store, running(store) as shop:
            assert shop.condition() == {"state": "ok", "since": None}
            shop.send(1)
            while (answer := shop.send(100)).status_code == 202:
                shop.lists("ue0")  # what lists showed waits in the same queue
            shop.refused(answer, 507, "the disk of the store is full; nothing was stored")
            for _ in range(3):
                shop.refused(shop.send(500), 507, "full")
            for user in ("u001", "ue0", "nobody"):
                assert not shop.lists(user)["degraded"]
            large = {"items": [{"item_id": f"i{n}", "description": "d" * 20_000} for n in range(100)]}
            shop.refused(shop.ask("POST", "/v1/items:batch", large), 507, "full")
            found = shop.condition()
            assert found["state"] == "full"
            assert found["since"] > 1_600_000_000_000
            assert 'tastemaker_store_fault{state="full"} 1.0' in shop.ask("GET", "/metrics").text
            filler.unlink()
            assert shop.condition()["state"] == "ok", "it is tried again when somebody asks"
            assert shop.send(100).status_code == 202
        with open_store(tmp_path / "shop.db", read_only=True) as store:
            stored = {event.event_id for _, event in store.events_after("default", 0, limit=10**6)}
            assert stored >= shop.acknowledged


def test_a_damaged_page_keeps_no_list_away(running, tmp_path):
    with open_store(tmp_path / "shop.db") as store, running(store) as shop:
        shop.send(300)
    damage(tmp_path / "shop.db", "events")
    with open_store(tmp_path / "shop.db") as store, running(store) as shop:
        assert shop.condition()["state"] == "ok", "nobody has seen it yet"
        answer = shop.lists("ue0")
        assert (answer["degraded"], answer["degraded_reason"]) == (True, "history: the store cannot be read")
        assert answer["notes"] == []
        shop.sent = 300
        shop.refused(shop.send(2), 503, "the store is damaged; nothing was stored")
        assert shop.condition()["state"] == "damaged"
        assert shop.ask("PUT", "/v1/items/new", {"title": "soap"}).status_code == 200, "the other tables go on"
        assert not shop.lists(None)["degraded"]
        assert shop.condition()["state"] == "damaged", "it does not mend itself"


def test_a_damaged_ranking_costs_no_history(running, tmp_path):
    with open_store(tmp_path / "shop.db") as store, running(store) as shop:
        shop.send(1)
        store.put_rankings("default", [MadeRanking("ue0", "v", "d", (), (), "s")])
    damage(tmp_path / "shop.db", "rankings")
    with open_store(tmp_path / "shop.db") as store, running(store) as shop:
        assert not shop.lists("ue0")["degraded"]
        assert shop.condition()["state"] == "damaged"


def test_a_store_that_cannot_be_written_any_more(running, tmp_path):
    with open_store(tmp_path / "shop.db") as store, running(store) as shop:
        store.put_items("default", [Item("i1")])

        def forbid(word):
            store._alone(lambda: query_only(store, word))

        forbid("ON")
        shop.refused(shop.send(1), 503, "the store cannot be written; nothing was stored")
        assert not shop.lists("u001")["degraded"]
        assert shop.condition()["state"] == "read_only"
        forbid("OFF")
        assert shop.send(1).status_code == 202
        assert shop.condition() == {"state": "ok", "since": None}


def query_only(store, word):
    with store._database._alone() as connection:
        connection.execute(f"PRAGMA query_only = {word}")


def test_without_a_store_there_is_nothing_to_say_of_it(serve, folder):
    assert serve(folder).get("/health/ready").json() == {"status": "ready", "store": None, "model_faults": 0}


def test_a_catalogue_that_is_damaged_at_the_start_is_said_without_a_traceback(folder, tmp_path):
    with open_store(tmp_path / "shop.db") as store:
        store.put_items("default", [Item("x", title="X")])
    damage(tmp_path / "shop.db", "items")
    with open_store(tmp_path / "shop.db") as store:
        service, said = Service(Settings(budget_ms=AMPLE), store=store), []
        service.add_model(folder)
        app = create_app(service)

        async def begin():
            async def receive():
                return {"type": "lifespan.startup"}

            async def send(message):
                said.append(message)

            with pytest.raises(StoreCorrupt):
                await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
            await service.stop()

        asyncio.run(begin())
    [failed] = said
    assert failed["type"] == "lifespan.startup.failed"
    assert "tastemaker db check" in failed["message"]
    assert "Traceback" not in failed["message"]
