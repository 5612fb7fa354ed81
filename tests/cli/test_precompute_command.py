"""`tastemaker precompute`: begun, killed, begun again; refusals that say what to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from model_server import chat, running
from shops import asking_shop, fitted

from tastemaker.serve.precomputing import run
from tastemaker.store import open_store
from tastemaker.store.records import Event


@pytest.fixture(scope="module")
def server():
    with running(chat("C, B, A")) as server:
        yield server


@pytest.fixture(scope="module")
def model(server, tmp_path_factory):
    return asking_shop(server, tmp_path_factory.mktemp("models") / "asking")


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_kill_in_the_middle_costs_one_block(tastemaker, model, server, tmp_path):
    place = tmp_path / "shop.db"
    open_store(place).close()

    def slow(handler, body):
        time.sleep(0.02)
        handler.reply(200, chat("C, B, A"))

    server.script = [slow]
    words = [sys.executable, "-m", "tastemaker", "precompute", str(model), "--store", str(place), "--shoppers", "known"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open_store(place, read_only=True) as seen:
        end = time.monotonic() + 240  # it gives way to whatever else runs here
        while not (first := len(seen.rankings_after("default", 0))):
            assert time.monotonic() < end, "nothing was made"
            assert process.poll() is None
            time.sleep(0.01)
        children = [int(pid) for pid in _children(process.pid)]
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = len(seen.rankings_after("default", 0))
    assert 0 < first <= kept < 60
    server.script = [chat("C, B, A")]
    asked = len(server.requests)
    outcome = tastemaker("precompute", model, "--store", place, "--shoppers", "all", "--json").json()
    assert (outcome["made"], outcome["fresh"], outcome["failed"]) == (60 - kept, kept, 0)
    assert len(server.requests) - asked <= 60 - kept + 8, "what was made is not made again, but for one block"
    end = time.monotonic() + 10
    while any(alive(pid) for pid in children):
        assert time.monotonic() < end, "a process that ranks outlived the one that asks"
        time.sleep(0.02)


def _children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return file.read().split()


def test_those_who_came_last_and_those_of_a_file(tastemaker, refused, model, tmp_path):
    place = tmp_path / "shop.db"
    with open_store(place) as store:
        store.append_events("default", [Event(f"e{n}", f"new{n}", "i003", "view", n) for n in range(4)])
    words = ("precompute", model, "--store", place)
    assert tastemaker(*words, "--limit", 1, "--json").json()["made"] == 1
    with open_store(place) as store:
        assert store.get_ranking("default", "new3") is not None
        assert store.get_ranking("default", "new2") is None
    (tmp_path / "ids.txt").write_text("u001\n\nnew1\nstranger\n")
    found = tastemaker(*words, "--shoppers", tmp_path / "ids.txt", "--depth", 3, "--workers", 2, "--json").json()
    assert (found["made"], found["no_history"]) == (2, 1)
    with open_store(place) as store:
        assert len(store.get_ranking("default", "u001").item_ids) == 3
    shown = tastemaker(*words, "--tenant", "other")
    assert "0 rankings" in shown.err
    assert "cannot be read" in refused(*words, "--shoppers", tmp_path / "missing")
    assert "which store?" in refused("precompute", model)


def test_what_cannot_be_made_ahead_is_refused(tastemaker, refused, server, model, tmp_path, monkeypatch):
    place = tmp_path / "shop.db"
    open_store(place).close()
    alone = fitted({"model": "transitions"}, folder=tmp_path / "alone")
    assert "there is nothing to make ahead" in refused("precompute", alone, "--store", place)
    server.script = [chat("no idea")]
    monkeypatch.setattr(run, "IN_VAIN", 2)
    try:
        said = refused("precompute", model, "--store", place, "--shoppers", "known")
    finally:
        server.script = [chat("C, B, A")]
    assert "no usable ranking in 2 blocks" in said
