"""Rankings made ahead: served while they hold, and nothing else; made beside the requests; forgotten with a shopper."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time

import pytest
from model_server import chat, running, status
from shops import ASKING, asking_shop, fitted

from tastemaker import artifact, saved
from tastemaker.serve.auth import Access
from tastemaker.serve.precomputing import background
from tastemaker.serve.precomputing import child as child_module
from tastemaker.serve.precomputing.child import Child, WorkerError
from tastemaker.serve.precomputing.stages import Stages
from tastemaker.serve.precomputing.tasks import Task
from tastemaker.serve.precomputing.waiting import Waiting
from tastemaker.store.errors import StoreError
from tastemaker.store.records import MadeRanking, ModelVersion


@pytest.fixture(scope="module")
def server():
    with running(chat("C, B, A")) as server:
        yield server


@pytest.fixture(autouse=True)
def scripted(server):
    server.script = [chat("C, B, A")]


@pytest.fixture(scope="module")
def asking(server, tmp_path_factory):
    return asking_shop(server, tmp_path_factory.mktemp("models") / "asking")


@pytest.fixture
def in_process(monkeypatch):
    """Rank in this process: a child of its own takes seconds to begin, and some tests are about that one."""

    def start(folder, *, depth, reasons, digest):
        assert digest == artifact.fingerprint(folder)
        return Stages(saved.load(folder, keep_answers=False).pipeline, depth=depth, reasons=reasons)

    monkeypatch.setattr(background, "Child", start)


def ask(client, user="u001", *, key=None, **body):
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    answer = client.post("/v1/recommend", json={"user_id": user, "n": 5, "budget_ms": 5000, **body}, headers=headers)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return found, [item["item_id"] for item in found["items"]]


def precompute(client, *users, key=None, **body):
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    given = {"user_ids": list(users)} if users else {}
    job = client.post("/v1/precompute?wait_seconds=60", json={**given, **body}, headers=headers).json()
    end = time.monotonic() + 240  # a child gives way to whatever else runs here
    while job["state"] == "running" and time.monotonic() < end:
        time.sleep(0.1)
        job = client.get(f"/v1/jobs/{job['job_id']}", headers=headers).json()
    assert job["state"] == "done", job
    return job["result"]


def buy(client, user, item, kind="purchase"):
    event = {"user_id": user, "item_id": item, "event_type": kind}
    assert client.post("/v1/events", json={"events": [event]}).status_code == 202


def test_a_child_ranks_and_requests_need_no_language_model(serve, asking, store, server):
    client = serve(asking, store=store)
    whole, order = ask(client, strategy="full")
    _, retrieved = ask(client, strategy="fast")
    assert order != retrieved
    assert precompute(client, "u001", "nobody") == {"made": 1, "no history": 1, "erased": 0, "failed": 0}
    server.script, asked = [status(500)], len(server.requests)
    found, ahead = ask(client)
    assert (found["strategy"], found["degraded"]) == ("precomputed", False)
    assert ahead == order
    assert [item["score"] for item in found["items"]] == [item["score"] for item in whole["items"]]
    assert {item["source"] for item in found["items"]} == {"listwise"}
    assert ask(client, strategy="full")[0]["strategy"] == "precomputed"
    assert len(server.requests) == asked, "nothing was asked of the language model"
    assert precompute(client, "u001") == {"fresh": 1}
    made = store.get_ranking("default", "u001")
    assert list(made.item_ids[:5]) == order
    assert (made.model_version, made.source) == (found["model_version"], "listwise")


def test_what_happened_since_is_never_passed_over(serve, asking, store, in_process):
    client = serve(asking, store=store)
    precompute(client, "u001")
    _, made = ask(client)
    buy(client, "u001", made[0])
    found, order = ask(client)
    assert (found["strategy"], order) == ("fast", ask(client, strategy="fast")[1]), "not the language model either"
    assert made[0] not in order
    buy(client, "u001", made[2], "impression")
    assert precompute(client, "u001")["made"] == 1
    assert ask(client)[0]["strategy"] == "precomputed"
    buy(client, "u001", made[1], "impression")
    assert ask(client)[0]["strategy"] == "precomputed", "an impression says nothing"
    buy(client, "u001", made[1], "dislike")
    found, order = ask(client)
    assert found["strategy"] == "fast"
    assert made[1] not in order
    assert ask(client, session_items=["i003"])[0]["strategy"] == "full", "the list depends on more than the shopper"
    assert ask(client, "u002")[0]["strategy"] == "full", "who never had one is answered as before"


def test_what_must_not_be_listed_now_is_not(serve, asking, store, in_process):
    client = serve(asking, store=store)
    precompute(client, "u001")
    _, made = ask(client, n=8)
    client.patch(f"/v1/items/{made[0]}", json={"hidden": True}).raise_for_status()
    client.delete(f"/v1/items/{made[1]}").raise_for_status()
    found, order = ask(client, n=8, exclude=[made[2]])
    assert found["strategy"] == "precomputed"
    assert not {*made[:3]} & {*order}
    assert order[:5] == made[3:8]
    assert len(order) == len(set(order)) == 8, "filled from below"
    rules = {"rule": [{"name": "no", "hide": {"items": [made[3]]}}]}
    client.put("/v1/rules", json={"rules": rules}).raise_for_status()
    found, order = ask(client, n=8)
    assert found["strategy"] == "precomputed"
    assert made[3] not in order
    found, order = ask(client, n=8, filters={"brands": ["Acme"]})
    assert found["strategy"] == "precomputed"
    assert order
    assert {item["brand"] for item in found["items"]} == {"Acme"}
    wanted = [item for item in store.get_ranking("default", "u001").item_ids if item in order]
    assert order[: len(wanted)] == wanted, "the order that was made, as far as it fits"


def test_another_model_answers_for_itself(serve, server, store, tmp_path, in_process):
    lm = {"url": server.url, "model": "qwen", "cache": False}
    one, two = (fitted(*ASKING, folder=tmp_path / "models" / name, lm=lm) for name in ("one", "two"))
    assert one != two
    client = serve(one, store=store)
    precompute(client, "u001")
    client.post("/v1/models", json={"folder": "two"}).raise_for_status()
    [version] = [m["version"] for m in client.get("/v1/models").json()["models"] if m["version"].startswith("two")]
    client.post(f"/v1/models/{version}:activate").raise_for_status()
    assert ask(client)[0]["strategy"] == "fast"
    client.post("/v1/models:rollback").raise_for_status()
    assert ask(client)[0]["strategy"] == "precomputed"


def test_an_erased_shopper_has_none_and_gets_none(serve, asking, store, in_process):
    client = serve(asking, store=store, precompute=True, precompute_share=1.0)
    buy(client, "new", "i003")
    precompute(client, "new")
    assert ask(client, "new")[0]["strategy"] == "precomputed"
    assert '"kind":"ranking"' in client.get("/v1/users/new/export").text
    receipt = client.delete("/v1/users/new").json()
    assert receipt["counts"]["rankings"] == 1
    assert ask(client, "new")[0]["strategy"] != "precomputed"
    assert store.get_ranking("default", "new") is None
    assert precompute(client, "new") == {"erased": 1}
    assert store.put_rankings("default", [MadeRanking("new", "v", "d", (), (), "s")]) == ["erased"]
    assert client.get("/v1/users/new/export").text == ""


class Keys:
    """A key for each of two shops."""

    def find(self, secret):
        return Access(secret, secret, frozenset({"read", "write", "admin"})) if secret in ("left", "right") else None

    def any(self):
        return True


def test_two_shops_do_not_see_each_other(serve, asking, store, in_process):
    for tenant in ("left", "right"):
        store.put_model(tenant, ModelVersion("v", str(asking)))
        store.activate_model(tenant, "v")
    client = serve(None, store=store, keys=[Keys()])
    precompute(client, "u001", key="left")
    assert ask(client, key="left")[0]["strategy"] == "precomputed"
    assert ask(client, key="right")[0]["strategy"] == "full"
    waiting = Waiting(3)
    waiting.add("left", "u")
    waiting.add("right", "u")
    assert waiting.take("right", 8) == ["u"]
    assert (waiting.count("left"), waiting.count("right"), waiting.tenants) == (1, 0, ["left"])


def test_what_another_process_made_is_seen(serve, asking, store, in_process, monkeypatch):
    monkeypatch.setattr(type(store._database), "exclusive", False)
    client = serve(asking, store=store, follow_seconds=0.05)
    assert ask(client)[0]["strategy"] == "full"
    precompute(serve(asking, store=store), "u001")
    wait_for(client)


def test_they_are_made_beside_the_requests_for_those_who_come(serve, asking, store, in_process):
    buying = serve(asking, store=store)
    buy(buying, "recent", "i002")
    client = serve(asking, store=store, precompute=True, precompute_share=1.0)
    found, _ = ask(client)
    assert found["strategy"] == "fast", "the language model is not asked while somebody waits"
    wait_for(client)
    wait_for(client, "recent")
    page = client.get("/metrics").text
    assert 'tastemaker_precomputed_total{state="missing"}' in page
    assert 'tastemaker_precomputed_total{state="hit"}' in page
    assert 'tastemaker_precompute_waiting{tenant="default"} 0.0' in page
    buy(client, "u001", "i007")
    assert ask(client)[0]["strategy"] == "fast"
    wait_for(client)
    assert 'state="stale"' in client.get("/metrics").text


def wait_for(client, user="u001"):
    end = time.monotonic() + 20
    while ask(client, user)[0]["strategy"] != "precomputed":
        assert time.monotonic() < end, "nothing was made"
        time.sleep(0.02)


def test_a_language_model_that_is_down_costs_no_answer_and_leaves_nothing(serve, asking, store, server, in_process):
    client = serve(asking, store=store)
    server.script = [chat("nothing of the kind")]
    assert precompute(client, "u001", "u002") == {"failed": 2, "made": 0, "erased": 0}
    assert store.get_ranking("default", "u001") is None
    server.script = [status(500)]
    assert precompute(client, "u001")["failed"] == 1


def test_without_a_store_the_language_model_is_asked_as_before(serve, asking):
    assert ask(serve(asking, precompute=True))[0]["strategy"] == "full", "nobody could keep what is made ahead"


def test_neither_a_store_that_is_away_nor_an_erasure_ends_the_work(serve, asking, store, in_process, monkeypatch):
    def away(self, tenant, limit):
        raise StoreError("away")

    monkeypatch.setattr(background, "LOOK", 0.05)
    with monkeypatch.context() as broken:
        broken.setattr(type(store), "recent_users", away)
        client = serve(asking, store=store, precompute=True, precompute_share=1.0)
        time.sleep(0.2)
    ahead = client.service.ahead

    async def come_and_go():
        ahead.waiting.add("default", "gone")
        ahead._wake.set()
        ahead.forget("default", "gone")

    for _ in range(3):
        client.portal.call(come_and_go)
        time.sleep(0.1)
    wait_for(client)


def test_a_ranking_weighs_in_memory(serve, asking, store, in_process):
    client = serve(asking, store=store)
    shoppers = client.service.shops["default"].engine.shoppers
    precompute(client, "u001")
    made = len(store.get_ranking("default", "u001").item_ids)
    assert made > 10
    assert shoppers.weight == made // 2
    precompute(client, "u001", again=True)
    assert shoppers.weight == made // 2, "in the place of the one before"
    shoppers.forget("u001")
    assert shoppers.weight == 0
    ask(client)
    assert shoppers.weight == made // 2, "as it is read from the store"


def test_whoever_has_rankings_made_is_noted(serve, asking, store, in_process):
    client = serve(asking, store=store)
    job = client.post("/v1/precompute?wait_seconds=60", json={"user_ids": ["u001"]}).json()
    client.portal.call(client.service.traces.flush)
    store.flush()
    [line] = client.get("/v1/audit").json()["lines"]
    assert (line["action"], line["subject"]) == ("precompute", job["job_id"])


def test_a_reason_is_served_while_its_evidence_holds(serve, asking, store, server, in_process):
    client = serve(asking, store=store, precompute_reasons=2)
    found, _ = ask(client, explain=True, strategy="full")
    first = found["items"][0]["reason"]
    [cited, *_] = [one for one in first["evidence"] if one["kind"] == "history"]
    sentence = f'We recommend this because you bought "{cited["name"]}" before.'

    def say(handler, body):
        text = str(body["messages"])
        writes = "evidence" in text.lower() or "facts" in text.lower()
        handler.reply(200, json.loads(json.dumps(chat(sentence if writes else "C, B, A"))))

    server.script = [say]
    precompute(client, "u001")
    kept = store.get_ranking("default", "u001")
    assert kept.wanted_reasons == 2
    assert kept.reasons[found["items"][0]["item_id"]]["text"] == sentence
    asked = len(server.requests)
    served = ask(client, explain=True)[0]["items"][0]["reason"]
    assert served["text"] == sentence
    assert served["phrased_by"] == kept.reasons[found["items"][0]["item_id"]]["phrased_by"] != "template"
    assert served["evidence"] == first["evidence"]
    assert precompute(client, "u001", again=True)["made"] == 1
    prompts = [str(body) for _, _, body in server.requests[asked:]]
    assert not any(cited["name"] in prompt and sentence in prompt for prompt in prompts)
    again = store.get_ranking("default", "u001")
    assert again.reasons == kept.reasons
    moved = dataclasses.replace(again, reasons={k: {**v, "evidence": []} for k, v in again.reasons.items()})
    store.put_rankings("default", [moved])
    client.service.shops["default"].engine.shoppers.forget("u001")
    assert ask(client, explain=True)[0]["items"][0]["reason"]["phrased_by"] == "template"
    invented = {k: {**v, "text": "Our best cosy jacket since 1999."} for k, v in kept.reasons.items()}
    store.put_rankings("default", [dataclasses.replace(kept, reasons=invented)])
    client.service.shops["default"].engine.shoppers.forget("u001")
    assert ask(client, explain=True)[0]["items"][0]["reason"]["phrased_by"] == "template", "it is no evidence"


def test_the_newest_come_first_and_the_oldest_give_their_place():
    waiting = Waiting(4)
    for user in "abcda":
        waiting.add("shop", user)
    assert waiting.dropped == 0
    waiting.add("shop", "e")
    assert (len(waiting), waiting.dropped) == (4, 1)
    waiting.remove("shop", "d")
    waiting.remove("shop", "nobody")
    waiting.add_behind("shop", ["x", "e", "y"])
    assert waiting.take("shop", 9) == ["e", "a", "c", "x"]
    assert waiting.take("shop", 1) == []
    assert (len(waiting), waiting.tenants) == (0, [])
    waiting.add_behind("shop", ["first", "second"])
    waiting.add("shop", "now")
    assert waiting.take("shop", 2) == ["now", "first"]


def test_a_shop_that_sends_many_pushes_nobody_else_out():
    waiting = Waiting(6)
    waiting.add("small", "rare")
    for number in range(100):
        waiting.add("large", f"u{number}")
        assert len(waiting) <= 6
    assert (waiting.count("small"), waiting.dropped) == (1, 95)
    for number in range(100):
        waiting.add("third", f"v{number}")
    assert {name: waiting.count(name) for name in waiting.tenants} in (
        {"small": 1, "large": 2, "third": 3},
        {"small": 1, "large": 3, "third": 2},
    )
    assert waiting.take("third", 1) == ["v99"]
    waiting.clear("large")
    waiting.clear("large")
    assert len(waiting) == waiting.count("small") + waiting.count("third")


def test_a_child_that_dies_is_told_and_begins_anew(asking, tmp_path):
    here = Stages(saved.load(asking).pipeline, depth=3, reasons=0)
    child, task = Child(asking, depth=3, reasons=0), Task([3], -1, [5, 6, 7, 8], [4.0, 3.0, 2.0, 1.0])
    try:
        [result] = child.ask([task])
        assert [result] == here.ask([task])
        assert (len(result.items), result.source, result.fault) == (3, "listwise", "")
        pid = child._process.pid
        assert os.getpriority(os.PRIO_PROCESS, pid) >= child_module.NICENESS > 0, "it gives way to requests"
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(WorkerError, match="ended in the middle"):
            child.ask([task])
        assert child.ask([task]) == [result]
    finally:
        for one in (child, child, here):
            one.close()
    other = Child(asking, depth=3, reasons=0, digest="of another model")
    with pytest.raises(WorkerError, match="fitted anew since the model that answers was loaded"):
        other.ask([task])
    missing = Child(tmp_path / "missing", depth=3, reasons=0)
    with pytest.raises(WorkerError, match=r"cannot begin: .*missing"):
        missing.ask([task])
