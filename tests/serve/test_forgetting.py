"""After an erasure a search of every file that the service wrote finds nothing of the shopper, and of what was said."""

from __future__ import annotations

import json
import time

import pytest
from model_server import chat, running
from shops import fitted

from tastemaker import saved
from tastemaker.lm.cache import CachedLM
from tastemaker.serve.engine.live import Live
from tastemaker.serve.precomputing.stages import Stages
from tastemaker.serve.precomputing.tasks import Task
from tastemaker.serve.precomputing.worker import _loaded

VICTIM = "victim-5f1c"
TITLE = "Canary title 7f31"
"""What the language model writes as the shopper's next product."""
STAGES = (
    {"model": "transitions", "keep": 10},
    {"model": "grounded", "gamma": 1.0},
    {"model": "listwise", "mode": "generate", "weight": 1.0, "candidates": 10, "max_rise": 9},
)


@pytest.fixture
def server():
    with running() as server:
        server.script = [chat("C, B, A")]
        yield server


@pytest.fixture
def folder(server, tmp_path, monkeypatch):
    """A model whose language model keeps its answers on disk, as it does if nobody says otherwise."""
    monkeypatch.setenv("TASTEMAKER_CACHE", str(tmp_path / "cache"))
    lm = {"url": server.url, "model": "qwen", "attempts": 1}
    return fitted(*STAGES, folder=tmp_path / "models" / "asking", lm=lm)


def found(folder, *words):
    """Return which words stand in the bytes of which files below a folder."""
    held = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert held
    return {word: names for word in words if (names := [p.name for p, data in held.items() if word.encode() in data])}


def speak(server, sentence):
    """Let the server answer each kind of prompt, and return the kinds that were asked."""
    kinds = []

    def say(handler, body):
        text = str(body["messages"]).lower()
        kind = "reason" if "facts:" in text else "order" if "candidate" in text else "title"
        kinds.append(kind)
        handler.reply(200, json.loads(json.dumps(chat({"reason": sentence, "title": TITLE}.get(kind, "C, B, A")))))

    server.script = [say]
    return kinds


def test_nothing_that_was_said_of_an_erased_shopper_is_left_in_any_file(serve, folder, server, store, tmp_path):
    client = serve(folder, store=store, precompute_reasons=1, index_folder=tmp_path / "indexes")
    events = [
        {"event_id": f"canary-{item}-{VICTIM}", "user_id": VICTIM, "item_id": item, "event_type": "purchase"}
        for item in ("i003", "i004")
    ]
    assert client.post("/v1/events", json={"events": events}).status_code == 202
    asked = {"user_id": VICTIM, "n": 5, "budget_ms": 10_000, "explain": True, "strategy": "full"}
    speak(server, "")
    first = client.post("/v1/recommend", json=asked).json()["items"][0]["reason"]
    [cited, *_] = [one for one in first["evidence"] if one["kind"] == "history"]
    sentence = f'We recommend this because you bought "{cited["name"]}" before.'
    kinds = speak(server, sentence)
    answer = client.post("/v1/recommend", json={**asked, "wish": "soap"}).json()
    assert not answer["degraded"], answer["degraded_reason"]
    job = client.post("/v1/precompute?wait_seconds=60", json={"user_ids": [VICTIM]}).json()
    end = time.monotonic() + 240
    while job["state"] == "running" and time.monotonic() < end:
        time.sleep(0.1)
        job = client.get(f"/v1/jobs/{job['job_id']}").json()
    assert job["result"]["made"] == 1, job
    assert {*kinds} == {"reason", "title", "order"}, "every kind of call was made"
    served = client.post("/v1/recommend", json={**asked, "strategy": "auto"}).json()["items"][0]["reason"]
    assert served["text"] == sentence
    client.portal.call(client.service.traces.flush)
    store.flush()
    said = json.dumps(sentence)[1:-1]
    assert {*found(tmp_path, VICTIM, said, sentence)} >= {VICTIM, said}, "the search finds what is there"
    assert client.delete(f"/v1/users/{VICTIM}").status_code == 200
    assert found(tmp_path, VICTIM, said, sentence, TITLE) == {}
    assert server.requests, "and it was asked"


def test_a_command_that_keeps_answers_would_be_found(folder, server, tmp_path):
    speak(server, "")
    task = Task([3, 4], -1, [5, 6, 7, 8], [4.0, 3.0, 2.0, 1.0])
    kept = Stages(saved.load(folder).pipeline, depth=3, reasons=0)
    assert not kept.ask([task])[0].fault
    assert "answers.sqlite" in str(found(tmp_path, TITLE)[TITLE])


def test_whatever_the_service_loads_asks_without_a_memory_on_disk(folder):
    assert any(isinstance(stage.recommender.lm, CachedLM) for stage in saved.load(folder).pipeline.stages)
    for pipeline in (Live.load(folder, "v").pipeline, _loaded(folder, "")):
        models = [stage.recommender.lm for stage in pipeline.stages if stage.recommender.lm is not None]
        assert models
        assert not any(isinstance(one, CachedLM) for one in models)
