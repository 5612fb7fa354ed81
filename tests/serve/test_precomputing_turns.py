"""Many shops and one process that ranks ahead: each gets its turns, and what fails for one is no matter of another."""

from __future__ import annotations

import threading
import time

import pytest
from model_server import chat, running, status
from shops import ASKING, asking_shop, fitted

from tastemaker import artifact, saved
from tastemaker.serve.auth import Access
from tastemaker.serve.precomputing import background
from tastemaker.serve.precomputing.child import WorkerError
from tastemaker.serve.precomputing.stages import Stages
from tastemaker.serve.precomputing.turns import FIRST_PAUSE, LONGEST_PAUSE, TURN, Turns
from tastemaker.store import open_store
from tastemaker.store.records import ModelVersion


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def play(lasts, seconds, *, fails=()):
    """Let shops that always have somebody waiting work for a while; return the seconds and the loads of each."""
    clock, order = Clock(), []
    turns, spent = Turns(clock), dict.fromkeys(lasts, 0.0)
    while clock.now < 1000 + seconds:
        tenant = turns.next(list(lasts))
        if tenant is None:
            clock.now += 1
            continue
        clock.now += lasts[tenant]
        spent[tenant] += lasts[tenant]
        order += [tenant] if order[-1:] != [tenant] else []
        turns.worked(tenant, lasts[tenant], in_vain=tenant in fails)
    return spent, order


def test_shops_get_equal_time_whatever_their_blocks_take_and_models_are_changed_seldom():
    spent, order = play({"quick": 0.5, "slow": 7.0, "other": 2.0}, 3000)
    assert max(spent.values()) <= 1.2 * min(spent.values())
    assert len(order) <= 3000 / TURN + 1
    assert play({"alone": 1.0}, 300) == ({"alone": 300.0}, ["alone"])


@pytest.mark.parametrize("takes", [0.1, 600.0])
def test_a_shop_that_fails_leaves_the_time_to_the_others(takes):
    spent, _ = play({"broken": takes, "well": 2.0}, 7200, fails=["broken"])
    assert spent["well"] >= 3000
    assert spent["broken"] > 0, "it is tried again"


def test_pauses_grow_and_end_with_the_first_success():
    clock = Clock()
    turns, pauses = Turns(clock), []
    for _ in range(40):
        turns.worked("shop", 0.1, in_vain=True)
        assert turns.next(["shop"]) is None
        began = clock.now
        while turns.next(["shop"]) is None:
            clock.now += 0.5
        pauses.append(clock.now - began)
    assert (pauses[0], pauses[1], pauses[-1]) == (FIRST_PAUSE, 2 * FIRST_PAUSE, LONGEST_PAUSE)
    turns.worked("shop", 0.1, in_vain=False)
    assert turns.next(["shop"]) == "shop"
    turns.worked("shop", 0.1, in_vain=True)
    clock.now += FIRST_PAUSE
    assert turns.next(["shop"]) == "shop"


class Keys:
    def find(self, secret):
        return Access(secret, secret, frozenset({"read", "write", "admin"}))

    def any(self):
        return True


@pytest.fixture(scope="module")
def server():
    with running(chat("C, B, A")) as server:
        yield server


@pytest.fixture(scope="module")
def asking(server, tmp_path_factory):
    return asking_shop(server, tmp_path_factory.mktemp("models") / "asking")


@pytest.fixture
def started(monkeypatch):
    """Rank in this process, and note each start of what would be a child."""
    begun = []

    def start(folder, *, depth, reasons, digest):
        assert digest == artifact.fingerprint(folder)
        begun.append(folder)
        return Stages(saved.load(folder, keep_answers=False).pipeline, depth=depth, reasons=reasons)

    monkeypatch.setattr(background, "Child", start)
    return begun


def ask(client, tenant, user):
    body = {"user_id": user, "n": 5, "budget_ms": 5000}
    answer = client.post("/v1/recommend", json=body, headers={"x-api-key": tenant})
    assert answer.status_code == 200, answer.text
    return answer.json()["strategy"]


def wait_for(client, tenant, user):
    end = time.monotonic() + 20
    while ask(client, tenant, user) != "precomputed":
        assert time.monotonic() < end, "nothing was made"
        time.sleep(0.02)


def known(store, **folders):
    for tenant, folder in folders.items():
        store.put_model(tenant, ModelVersion("v", str(folder)))
        store.activate_model(tenant, "v")
    return store


def test_a_language_model_that_is_down_for_one_shop_keeps_no_other_waiting(serve, asking, store, started, tmp_path):
    with running() as down:
        down.script = [status(500)]
        lm = {"url": down.url, "model": "qwen", "attempts": 1, "cache": False}
        broken = fitted(*ASKING, folder=tmp_path / "models" / "broken", lm=lm)
        known(store, broken=broken, well=asking, same=asking)
        client = serve(None, store=store, keys=[Keys()], precompute=True, precompute_share=1.0)
        ahead = client.service.ahead
        for number in range(30):
            assert ask(client, "broken", f"u{number:03}") == "fast"
        end = time.monotonic() + 20
        while not ahead.counts["failed"] and time.monotonic() < end:
            time.sleep(0.02)
        began = time.monotonic()
        for tenant in ("well", "same"):
            for user in ("u001", "u002"):
                ask(client, tenant, user)
                wait_for(client, tenant, user)
        assert time.monotonic() - began < FIRST_PAUSE + 20
        assert ahead.counts["made"] == 4
        assert ahead.waiting.count("broken") > 0, "they are tried again"
        assert ahead.counts["failed"] < 30, "one after a pause"
        assert ahead._turns._places["well"].failures == 0
        assert started.count(asking) <= 1 + started.count(broken), "two shops of one model need one copy"


def test_a_shop_that_is_closed_leaves_nobody_waiting_and_nothing_failed(serve, asking, store, started, monkeypatch):
    known(store, first=asking, second=asking)
    client = serve(None, store=store, keys=[Keys()], tenants=1, precompute=True, precompute_share=1.0)
    ahead = client.service.ahead
    client.portal.call(ahead._working.acquire)  # as if it were at work for another one
    for user in ("u001", "u002"):
        assert ask(client, "first", user) == "fast"
    end = time.monotonic() + 20
    while ahead.waiting.count("first") > 1 and time.monotonic() < end:
        time.sleep(0.01)  # taken, and waits for its turn
    for number in range(3, 6):
        ask(client, "first", f"u{number:03}")
    ask(client, "second", "u001")
    assert list(client.service.shops) == ["second"]
    assert ahead.waiting.count("first") == 0
    client.portal.call(release, ahead)
    wait_for(client, "second", "u001")
    assert ahead.counts["failed"] == 0
    assert ahead.counts["made"] >= 1


async def release(ahead):
    ahead._working.release()


def test_a_store_that_is_away_for_one_shop_is_asked_for_the_others(serve, asking, store, started, monkeypatch):
    known(store, broken=asking, well=asking)
    real = type(store).recent_users

    def recent(self, tenant, limit):
        if tenant == "broken":
            raise OSError("away")
        return real(self, tenant, limit)

    monkeypatch.setattr(type(store), "recent_users", recent)
    client = serve(None, store=store, keys=[Keys()], precompute=True, precompute_share=1.0)
    ask(client, "well", "u001")
    wait_for(client, "well", "u001")
    ask(client, "broken", "u001")
    wait_for(client, "broken", "u001")


def test_jobs_of_two_shops_take_turns_and_the_last_lets_the_child_go(serve, asking, store, started, tmp_path, server):
    lm = {"url": server.url, "model": "qwen", "attempts": 1, "cache": False}
    other = fitted(*ASKING, folder=tmp_path / "models" / "other", lm=lm)
    known(store, one=asking, two=other)
    client = serve(None, store=store, keys=[Keys()])
    users = [f"u{number:03}" for number in range(24)]
    jobs = {}
    for tenant in ("one", "two"):
        answer = client.post("/v1/precompute", json={"user_ids": users}, headers={"x-api-key": tenant})
        jobs[tenant] = answer.json()
    end = time.monotonic() + 60
    while any(job["state"] == "running" for job in jobs.values()) and time.monotonic() < end:
        time.sleep(0.05)
        for tenant, job in jobs.items():
            jobs[tenant] = client.get(f"/v1/jobs/{job['job_id']}", headers={"x-api-key": tenant}).json()
    assert [job["result"]["made"] for job in jobs.values()] == [24, 24], jobs
    assert len(started) == 2, "not one for each block"
    assert client.service.ahead._child is None


def test_what_the_child_cannot_do_is_counted_for_its_shop(serve, asking, store, monkeypatch):
    class Broken:
        def __init__(self, *_, **__):
            pass

        def ask(self, tasks):
            raise WorkerError("no memory")

        def close(self):
            pass

    monkeypatch.setattr(background, "Child", Broken)
    client = serve(asking, store=store, precompute=True, precompute_share=1.0)
    ask(client, "default", "u001")
    end = time.monotonic() + 20
    while not client.service.ahead.counts["failed"] and time.monotonic() < end:
        time.sleep(0.02)
    assert client.service.ahead.counts == {"failed": 1}


def test_two_services_over_one_database_do_not_make_the_same_ranking(serve, asking, started, server, postgresql_url):
    go_on, users = threading.Event(), ["u001", "u002", "u003"]
    with open_store(postgresql_url) as mine, open_store(postgresql_url) as theirs:
        one = serve(asking, store=mine, follow_seconds=30)
        other = serve(None, store=theirs, follow_seconds=30)
        asked = len(server.requests)

        def slow(handler, body):
            go_on.wait(30)
            handler.reply(200, chat("C, B, A"))

        server.script = [slow]
        job = one.post("/v1/precompute", json={"user_ids": users}).json()
        end = time.monotonic() + 30
        while len(server.requests) == asked and time.monotonic() < end:
            time.sleep(0.01)
        assert precompute(other, users) == {"elsewhere": 3}
        go_on.set()
        while job["state"] == "running" and time.monotonic() < end:
            time.sleep(0.02)
            job = one.get(f"/v1/jobs/{job['job_id']}").json()
        assert job["result"]["made"] == 3
        server.script = [chat("C, B, A")]
        calls = len(server.requests)
        assert precompute(other, users) == {"fresh": 3}, "made elsewhere a moment ago, though nothing was followed yet"
        assert len(server.requests) == calls
        assert precompute(other, ["u004"])["made"] == 1
        for client in (one, other):
            client.__exit__(None, None, None)


def precompute(client, users):
    job = client.post("/v1/precompute?wait_seconds=60", json={"user_ids": users}).json()
    assert job["state"] == "done", job
    return job["result"]
