"""Jobs: how they end is known, also where the process that ran them is gone."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
import time

import pytest
import requests
from live_server import Process
from model_server import chat, hang, running
from shops import fitted

from tastemaker.serve import jobs as jobs_module
from tastemaker.serve.engine.workers import Workers
from tastemaker.serve.jobs import LEASE, LOST, STOPPED, Jobs
from tastemaker.store import open_store
from tastemaker.store.errors import StoreFull
from tastemaker.store.records import Job, now

STAGES = (
    {"model": "transitions", "keep": 10},
    {"model": "listwise", "mode": "generate", "weight": 1.0, "candidates": 10, "max_rise": 9},
)


def left(store, **states):
    for name, state in states.items():
        store.put_job("default", Job(name, "precompute", state, created_at=5, updated_at=now()))


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_job_whose_process_is_gone_has_failed_and_says_so(end, tmp_path):
    store = tmp_path / "shop.db"
    with running() as server:
        server.script = [chat("C, B, A")]
        lm = {"url": server.url, "model": "qwen", "attempts": 1}
        model = fitted(*STAGES, folder=tmp_path / "models" / "asking", lm=lm)
        server.script = [hang]
        with Process(model, "--store", store) as service:
            job = requests.post(f"{service.url}/v1/precompute", json={"user_ids": ["u001"]}, timeout=60).json()
            assert job["state"] == "running"
            service.process.send_signal(end)
            service.process.wait(timeout=60)
        server.over.set()
    with open_store(store, read_only=True) as kept:
        told = kept.get_job("default", job["job_id"])
    if end == signal.SIGTERM:
        assert (told.state, told.error) == ("failed", STOPPED)
    else:
        assert told.state == "running"
    with Process(model, "--store", store) as service:
        again = requests.get(f"{service.url}/v1/jobs/{job['job_id']}", timeout=60).json()
    assert (again["state"], again["created_at"]) == ("failed", job["created_at"])
    assert again["error"] == (STOPPED if end == signal.SIGTERM else LOST)


def test_what_is_done_stays_as_it_is(serve, folder, store):
    left(store, done="done", failed="failed", queued="queued")
    before = store.get_job("default", "failed")
    client = serve(folder, store=store)
    states = {name: client.get(f"/v1/jobs/{name}").json()["state"] for name in ("done", "failed", "queued")}
    assert states == {"done": "done", "failed": "failed", "queued": "failed"}
    assert store.get_job("default", "failed") == before


def test_a_store_in_trouble_keeps_no_start_back(serve, folder, store, monkeypatch):
    def full(self, error, before=None):
        raise StoreFull("full")

    monkeypatch.setattr(type(store), "fail_jobs", full)
    assert serve(folder, store=store).post("/v1/recommend", json={"user_id": "u001"}).status_code == 200


def test_over_postgresql_only_those_without_a_sign_of_life_are_lost(postgresql_url, monkeypatch):
    monkeypatch.setattr(jobs_module, "BEAT", 0.02)

    async def play():
        workers = Workers(2, waiting=10, name="test")
        here, there, end = Jobs(store, workers), Jobs(other, workers), asyncio.Event()
        job = await here.begin("shop", "precompute", end.wait)
        long_ago = now() - int(LEASE * 1000) - 5000
        other.put_job("shop", Job("lost", "precompute", "running", created_at=7, updated_at=long_ago))
        other.put_job("shop", dataclasses.replace(job, updated_at=long_ago))  # its beat was late
        touched = time.monotonic() + 20
        while other.get_job("shop", job.job_id).updated_at == long_ago and time.monotonic() < touched:
            await asyncio.sleep(0.02)
        lost = await there.get("shop", "lost")
        assert (lost.state, lost.error, lost.created_at) == ("failed", LOST, 7)
        await there.start()
        assert (await there.get("shop", job.job_id)).state == "running", "somebody is at it"
        assert (await there.get("shop", "none")) is None
        end.set()
        while (await there.get("shop", job.job_id)).state == "running":
            await asyncio.sleep(0.01)
        assert (await there.get("shop", job.job_id)).state == "done"
        while here._beating is not None:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(workers.close, within=2)

    with open_store(postgresql_url) as store, open_store(postgresql_url) as other:
        asyncio.run(play())


def test_jobs_that_are_under_way_at_a_stop_are_told(store):
    async def play():
        workers = Workers(1, waiting=10, name="test")
        jobs = Jobs(store, workers)
        job = await jobs.begin("shop", "activate", asyncio.Event().wait)
        await jobs.close()
        assert (await jobs.get("shop", job.job_id)).error == STOPPED
        assert (store.get_job("shop", job.job_id).state, store.get_job("shop", job.job_id).error) == ("failed", STOPPED)
        await asyncio.to_thread(workers.close, within=1)

    asyncio.run(play())


def test_a_job_under_way_is_neither_forgotten_nor_taken_for_lost_however_many_come_after_it(store, monkeypatch):
    monkeypatch.setattr(jobs_module, "KEPT", 3)
    monkeypatch.setattr(jobs_module, "LEASE", -1.0)  # whatever the store says is long ago

    async def nothing():
        return {}

    async def play():
        workers, end = Workers(1, waiting=10, name="test"), asyncio.Event()
        jobs = Jobs(store, workers)
        job = await jobs.begin("shop", "precompute", end.wait)
        others = [await jobs.begin("shop", "activate", nothing, wait=20) for _ in range(5)]
        assert (await jobs.get("shop", job.job_id)).state == "running"
        assert [one.state for one in others] == ["done"] * 5
        assert store.get_job("shop", job.job_id).state == "running"
        assert len(jobs._known) <= 3
        end.set()
        while jobs._tasks:
            await asyncio.sleep(0.01)
        assert [(await jobs.get("shop", one.job_id)).state for one in (job, *others)] == ["done"] * 6
        await asyncio.to_thread(workers.close, within=2)

    asyncio.run(play())
