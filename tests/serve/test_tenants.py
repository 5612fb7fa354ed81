"""Many shops in one process: threads and memory do not grow with their number."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time

import pytest
from httpx2 import ASGITransport, AsyncClient
from shops import fitted

from tastemaker.serve import service
from tastemaker.serve.auth import Access
from tastemaker.serve.backing import StoredShop
from tastemaker.serve.engine.calling.pools import Pools
from tastemaker.serve.engine.workers import Busy
from tastemaker.serve.settings import Settings
from tastemaker.serve.shops import Shop
from tastemaker.store.errors import StoreCorrupt
from tastemaker.store.folders import model_in
from tastemaker.store.records import Item, ModelVersion

TENANTS = [f"shop{number:02}" for number in range(50)]


class Named:
    """Keys that are the names of tenants."""

    def find(self, secret):
        return Access(secret, secret, frozenset({"read", "write", "admin"}))

    def any(self):
        return True


def ask(client, tenant, **body):
    headers = {"x-api-key": tenant}
    answer = client.post("/v1/recommend", json={"budget_ms": 5000, "n": 5, **body}, headers=headers)
    if tenant in client.service.shops:
        client.portal.call(client.service.shops[tenant].engine.views.settled)
    return answer


@pytest.fixture
def many(folder, store):
    """A store with the shops, each with the same model and a product of its own that is hidden."""
    for number, tenant in enumerate(TENANTS):
        store.put_model(tenant, ModelVersion("v", str(folder)))
        store.activate_model(tenant, "v")
        store.put_items(tenant, [Item(f"i{number % 40:03}", hidden=True)])
    return store


def test_threads_are_bounded_however_many_shops_there_are_and_end_with_the_service(serve, many):
    before = set(threading.enumerate())
    client = serve(None, store=many, keys=[Named()], tenants=60)
    counts = []
    for number, tenant in enumerate(TENANTS):
        answer = ask(client, tenant, user_id="u001", explain=True, filters={"price_to": 15})
        assert answer.status_code == 200, answer.text
        assert f"i{number % 40:03}" not in [item["item_id"] for item in answer.json()["items"]]
        counts.append(threading.active_count())
    assert counts[-1] <= counts[4] + 6, counts
    pools = Pools(Settings())
    assert counts[-1] - len(before) <= sum(one._most for one in vars(pools).values()) + 10
    client.__exit__(None, None, None)
    left = [thread.name for thread in set(threading.enumerate()) - before if thread.is_alive()]
    assert left == []


def test_the_shop_that_was_not_asked_for_longest_is_closed_and_opened_again(serve, many):
    client = serve(None, store=many, keys=[Named()], tenants=3)
    shops = client.service.shops
    assert len(shops) == 3
    for tenant in ("shop10", "shop11", "shop12"):
        assert ask(client, tenant, user_id="u001").status_code == 200
    assert sorted(shops) == ["shop10", "shop11", "shop12"]
    event = {"user_id": "u001", "item_id": "i020", "event_type": "purchase"}
    client.post("/v1/events", json={"events": [event]}, headers={"x-api-key": "shop10"})
    shops["shop11"].under_way += 1  # somebody is busy there
    assert ask(client, "shop13", user_id="u001").status_code == 200
    assert sorted(shops) == ["shop10", "shop11", "shop13"]
    assert ask(client, "shop14").status_code == 200
    assert sorted(shops) == ["shop11", "shop13", "shop14"]
    shops["shop11"].under_way -= 1
    for tenant in ("shop20", "shop21", "shop22"):
        ask(client, tenant)
    assert "shop10" not in shops
    answer = ask(client, "shop10", user_id="u001", n=40)
    found = [item["item_id"] for item in answer.json()["items"]]
    assert found
    assert not {"i020", "i010"} & {*found}, "purchase and hidden product are known again"


def test_a_shop_that_is_closed_leaves_its_memory_to_others(serve, many):
    client = serve(None, store=many, keys=[Named()], tenants=2, shoppers=10)
    room, shops = client.service.room, client.service.shops
    for turn in range(5):
        for tenant in TENANTS[:6]:
            assert ask(client, tenant, user_id=f"u{turn:03}").status_code == 200
            kept = [shop.engine.shoppers for shop in shops.values()]
            assert room.shoppers == sum(one.count for one in kept) <= 10
            assert room.weight == sum(one.weight for one in kept)
    assert len(room._tenants) == len(shops) == 2


def test_shops_that_push_each_other_out_still_answer_as_themselves(serve, many):
    client = serve(None, store=many, keys=[Named()], tenants=1)

    async def all_at_once():
        async with AsyncClient(transport=ASGITransport(client.app), base_url="http://127.0.0.1") as shop:
            return await asyncio.gather(
                *(
                    shop.post("/v1/recommend", json={"n": 40, "budget_ms": 5000}, headers={"x-api-key": tenant})
                    for tenant in TENANTS[:6] * 3
                )
            )

    for tenant, answer in zip(TENANTS[:6] * 3, client.portal.call(all_at_once), strict=True):
        assert answer.status_code == 200, answer.text
        shown = {item["item_id"] for item in answer.json()["items"]}
        assert shown
        assert f"i{TENANTS.index(tenant):03}" not in shown


def test_a_shop_that_takes_its_time_to_open_is_asked_for_again(serve, many, monkeypatch):
    client = serve(None, store=many, keys=[Named()], tenants=2)
    go, real = threading.Event(), Shop.begin

    async def slow(self):
        await self.engine.background.run(go.wait)
        await real(self)

    monkeypatch.setattr(Shop, "begin", slow)
    monkeypatch.setattr(service, "OPENING", 0.05)
    answer = ask(client, "shop40")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    go.set()
    end = time.monotonic() + 20
    while ask(client, "shop40").status_code != 200 and time.monotonic() < end:
        time.sleep(0.02)
    assert ask(client, "shop40").status_code == 200


def test_a_shop_whose_language_model_hangs_leaves_the_others_theirs():
    async def hang():
        pools, end = Pools(Settings(language_model_calls=2)), threading.Event()
        shares = [pools.language_model.share(2) for _ in range(4)]
        hung = [asyncio.ensure_future(shares[0].run(end.wait)) for _ in range(2)]
        await asyncio.sleep(0.02)
        with pytest.raises(Busy):
            await shares[0].run(int)
        assert await shares[1].run(lambda: 3) == 3
        with pytest.raises(TimeoutError):
            await shares[2].run(end.wait, within=0.01)
        end.set()
        await asyncio.gather(*hung)
        assert await shares[0].run(lambda: 4) == 4
        assert await asyncio.to_thread(pools.close, within=2)
        with pytest.raises(Busy):
            await shares[0].run(int)

    asyncio.run(hang())


def test_a_thread_that_hangs_does_not_hold_the_stop_up(serve, folder, monkeypatch):
    monkeypatch.setattr(service, "ENDING", 0.2)
    before, end = set(threading.enumerate()), threading.Event()
    client = serve(folder)
    engine = client.service.shops["default"].engine

    async def hang():
        return asyncio.ensure_future(engine.background.run(end.wait))

    client.portal.call(hang)
    client.__exit__(None, None, None)
    left = [thread for thread in set(threading.enumerate()) - before if thread.is_alive()]
    assert {thread.name for thread in left} == {"background-0"}
    end.set()
    for thread in left:
        thread.join(5)
        assert not thread.is_alive()


def test_a_service_stays_ready_while_only_shops_without_a_model_are_open(serve, many):
    client = serve(None, store=many, keys=[Named()], tenants=1)
    assert ask(client, "shop01").status_code == 200
    assert client.get("/health/ready").status_code == 200
    assert ask(client, "empty").status_code == 409
    assert set(client.service.shops) == {"empty"}
    assert client.get("/health/ready").status_code == 200, "the next request opens the other shop again"
    assert ask(client, "shop01").status_code == 200


def test_a_shop_that_cannot_be_opened_at_the_start_keeps_no_other_away(serve, many, monkeypatch):
    real = StoredShop.changes_after

    def read(self, revision):
        if self.tenant == "shop03":
            raise StoreCorrupt("shop.db: damaged")
        return real(self, revision)

    monkeypatch.setattr(StoredShop, "changes_after", read)
    client = serve(None, store=many, keys=[Named()])
    assert ask(client, "shop04").status_code == 200
    assert ask(client, "shop03").status_code == 503
    monkeypatch.undo()
    assert ask(client, "shop03").status_code == 200


@pytest.fixture
def two_versions(folder, text_folder, store, tmp_path):
    """Folders of the versions "spring", then "autumn", of the shop "other"."""
    for version, place in (("spring", folder), ("autumn", text_folder)):
        shutil.copytree(place, tmp_path / version)
        store.put_model("other", model_in(tmp_path / version, version))
        store.activate_model("other", version)
    return tmp_path


def told(client, path, tenant="other"):
    return client.get(path, headers={"x-api-key": tenant})


def test_a_shop_whose_model_was_fitted_anew_while_it_was_closed_goes_on_with_the_one_before(
    serve, two_versions, store, folder, caplog
):
    store.put_model("first", model_in(folder, "first"))
    store.activate_model("first", "first")
    client = serve(None, store=store, keys=[Named()], tenants=1)
    assert ask(client, "other").json()["model_version"] == "autumn"
    assert told(client, "/v1/models").json()["fault"] is None
    assert ask(client, "first").json()["model_version"] == "first", "it pushes the other one out"
    fitted({"model": "popular"}, folder=two_versions / "autumn")
    answer = ask(client, "other")
    assert (answer.status_code, answer.json()["model_version"]) == (200, "spring")
    assert {"model autumn cannot be loaded", "model spring answers instead of autumn"} <= {
        message.partition(":")[0] for message in caplog.messages
    }
    models = told(client, "/v1/models").json()
    assert models["active"]["version"] == "spring"
    assert "'spring' answers, as the active version 'autumn' cannot be loaded" in models["fault"]
    assert str(two_versions) not in str(models), "folders are for keys with admin"
    why = told(client, "/v1/models/autumn").json()["fault"]
    assert "fitted anew" in why
    assert str(two_versions / "autumn") in why
    assert told(client, "/v1/models/spring").json()["fault"] is None
    assert client.get("/health/ready").json()["model_faults"] == 1
    assert 'tastemaker_model_fault{tenant="other"} 1.0' in told(client, "/metrics").text
    assert store.active_model("other").version == "autumn", "what the shop decided is left alone"
    store.put_model("other", model_in(two_versions / "autumn", "winter"))
    done = client.post("/v1/models/winter:activate", headers={"x-api-key": "other"})
    assert done.json()["state"] == "done"
    assert ask(client, "other").json()["model_version"] == "winter"
    assert told(client, "/v1/models").json()["fault"] is None
    assert client.get("/health/ready").json()["model_faults"] == 0
    assert 'tastemaker_model_fault{tenant="other"} 0.0' in told(client, "/metrics").text


def test_a_shop_of_which_no_version_can_be_loaded_says_why_and_what_would_help(serve, two_versions, store, folder):
    shutil.rmtree(two_versions / "autumn")
    fitted({"model": "popular"}, folder=two_versions / "spring")
    client = serve(None, store=store, keys=[Named()])
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json()["detail"]) == (503, "the active model cannot be loaded; the log says why")
    answer = ask(client, "other")
    assert answer.status_code == 409
    detail = answer.json()["detail"]
    for part in ("no model answers", "'autumn' cannot be loaded", "GET /v1/models/autumn", "POST /v1/models/VERSION"):
        assert part in detail
    assert str(two_versions) not in detail
    assert "not a saved model" in told(client, "/v1/models/autumn").json()["fault"]
    store.put_model("other", model_in(folder, "anew"))
    assert client.post("/v1/models/anew:activate", headers={"x-api-key": "other"}).json()["state"] == "done"
    assert ask(client, "other").json()["model_version"] == "anew"
    assert client.get("/health/ready").json()["model_faults"] == 0
