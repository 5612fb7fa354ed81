"""The service as it runs: exchanged models, a stop in order, a process that is killed."""

from __future__ import annotations

import random
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest
import requests
from live_server import AMPLE, Process, in_thread
from shops import fitted

from tastemaker.data.dataset import Dataset
from tastemaker.serve.service import Service, version_of
from tastemaker.serve.settings import Settings
from tastemaker.store import open_store


def shop_of(letter, items):
    """A shop whose products all carry its letter."""
    log = pl.DataFrame(
        {
            "user_id": [f"u{user}" for user in range(30) for _ in range(4)],
            "item_id": [f"{letter}{(user * 3 + step * 7) % items}" for user in range(30) for step in range(4)],
        }
    )
    return Dataset.from_frames(log, pl.DataFrame({"item_id": [f"{letter}{item}" for item in range(items)]}))


def test_models_are_exchanged_without_a_failed_or_mixed_answer(tmp_path):
    one = fitted({"model": "transitions"}, folder=tmp_path / "models" / "one", data=shop_of("a", 40))
    fitted({"model": "transitions"}, folder=tmp_path / "models" / "two", data=shop_of("b", 60))
    with open_store(tmp_path / "shop.db") as store:
        service = Service(Settings(budget_ms=AMPLE), store=store)
        service.add_model(one)
        with in_thread(service) as url:
            requests.post(f"{url}/v1/models", json={"folder": "two"}, timeout=10).raise_for_status()
            versions = {model["version"][:3]: model["version"] for model in models(url)["models"]}
            ended, answers = threading.Event(), []

            def shop(number):
                with requests.Session() as session:
                    while not ended.is_set():
                        body = {"user_id": f"u{number}", "n": 10}
                        answers.append(session.post(f"{url}/v1/recommend", json=body, timeout=10))

            with ThreadPoolExecutor(4) as pool:
                for number in range(4):
                    pool.submit(shop, number)
                for turn in range(6):
                    version = versions[("two", "one")[turn % 2]]
                    job = requests.post(f"{url}/v1/models/{version}:activate", timeout=30).json()
                    assert job["state"] == "done", job
                    assert models(url)["active"]["version"] == version
                    asked, end = len(answers), time.monotonic() + 20
                    while len(answers) < asked + 8 and time.monotonic() < end:  # each model gets to answer
                        time.sleep(0.01)
                back = requests.post(f"{url}/v1/models:rollback", timeout=30).json()
                assert back["result"] == {"version": versions["two"]}
                ended.set()
    assert {answer.status_code for answer in answers} == {200}
    letters = {"one": "a", "two": "b"}
    seen = set()
    for answer in answers:
        found = answer.json()
        letter = letters[found["model_version"][:3]]
        assert found["items"]
        assert all(item["item_id"].startswith(letter) for item in found["items"]), found
        seen.add(letter)
    assert seen == {"a", "b"}


def models(url):
    return requests.get(f"{url}/v1/models", timeout=10).json()


def test_a_stop_ends_what_is_under_way(folder, tmp_path):
    with Process(folder, "--store", tmp_path / "shop.db") as service:
        ended, outcomes = threading.Event(), []

        def shop(number):
            while not ended.is_set():
                try:
                    answer = requests.post(
                        f"{service.url}/v1/recommend", json={"user_id": f"u{number:03}", "explain": True}, timeout=10
                    )
                except requests.ConnectionError as error:
                    outcomes.append("refused" if "refused" in str(error) else repr(error))
                    return
                outcomes.append(answer.status_code)

        with ThreadPoolExecutor(4) as pool:
            for number in range(4):
                pool.submit(shop, number)
            try:
                end = time.monotonic() + 60
                while outcomes.count(200) < 20:
                    assert set(outcomes) <= {200}, outcomes
                    assert time.monotonic() < end, outcomes
                    time.sleep(0.01)
                service.process.send_signal(signal.SIGTERM)
                assert service.process.wait(timeout=60) == 0
            finally:
                ended.set()
    assert set(outcomes) <= {200, "refused"}, set(outcomes)


def test_no_acknowledged_event_is_lost_when_the_process_is_killed(folder, tmp_path):
    rng = random.Random(0)
    acknowledged, sent = set(), 0
    for _ in range(3):
        with Process(folder, "--store", tmp_path / "shop.db") as service:
            killed = threading.Event()

            def send(first, service=service, killed=killed):
                number = first
                with requests.Session() as session:
                    while not killed.is_set():
                        event = {"event_id": f"e{number}", "user_id": "u", "item_id": "i001", "event_type": "view"}
                        try:
                            answer = session.post(f"{service.url}/v1/events", json={"events": [event]}, timeout=10)
                        except requests.RequestException:
                            return number
                        if answer.status_code == 202:
                            acknowledged.add(event["event_id"])
                        number += 1
                return number

            with ThreadPoolExecutor(3) as pool:
                futures = [pool.submit(send, sent + 100_000 * thread) for thread in range(3)]
                time.sleep(0.3 + rng.random() / 2)
                service.process.kill()
                killed.set()
                for future in futures:
                    future.result()
            sent += 1_000_000
    assert len(acknowledged) > 30
    with open_store(tmp_path / "shop.db") as store:
        stored = [event.event_id for _, event in store.events_after("default", 0, 10**6)]
        assert len(stored) == len(set(stored))
        assert acknowledged <= set(stored)


def test_an_address_in_use_and_a_missing_model_are_one_line(folder, tmp_path):
    with Process(folder, "--store", "none") as service, pytest.raises(AssertionError, match=r"error: cannot listen"):
        TakenPort(folder, service.url.rsplit(":", 1)[1])
    with pytest.raises(AssertionError, match=r"^error: .*no-model"):
        Process(tmp_path / "no-model", "--store", "none")


def test_a_start_that_is_refused_leaves_no_store(folder, text_folder, tmp_path):
    store = tmp_path / "kept" / "shop.db"
    for words, said in (
        ([tmp_path / "no-model"], "no-model"),
        ([folder, "--host", "0.0.0.0"], "make a key first"),
        ([folder, "--host", "203.0.113.7"], "make a key first"),
    ):
        with pytest.raises(AssertionError, match=f"error: .*{said}"):
            Process(*words, "--store", store)
        assert not store.parent.exists(), words
    with Process(folder, "--store", store) as service:
        assert f"{store}: a new store was made" in "".join(service.lines)
        with pytest.raises(AssertionError, match="cannot listen"):
            TakenPort(folder, service.url.rsplit(":", 1)[1], tmp_path / "other.db")
    assert not (tmp_path / "other.db").exists()
    with Process(folder, "--store", store) as service:
        assert f"are kept in {store}" in "".join(service.lines)
        assert "before it" not in "".join(service.lines)
    with Process(text_folder, "--store", store) as service:
        said = f"{text_folder} answers from now on; before it {version_of(folder)} did, and a roll back goes back to it"
        assert said in "".join(service.lines)
        back = requests.post(f"{service.url}/v1/models:rollback", timeout=60).json()
        assert back["result"] == {"version": version_of(folder)}
    with Process("--store", store) as service:  # what was decided while it ran holds for the next start
        assert f"serving {version_of(folder)}" in "".join(service.lines)
        assert models(service.url)["active"]["version"] == version_of(folder)


def test_without_a_model_something_must_be_active(folder, tmp_path):
    for words in ([], ["--store", "none"], ["--store", tmp_path / "no.db"]):
        with pytest.raises(AssertionError, match=r"error: .*(name the MODEL|name a MODEL)"):
            Process(*words)
    assert not (tmp_path / "no.db").exists()
    own = shutil.copytree(folder, tmp_path / "model")
    with Process(own, "--store", tmp_path / "shop.db"):
        pass
    fitted({"model": "popular"}, folder=own)
    with pytest.raises(AssertionError, match="was fitted anew since"):
        Process("--store", tmp_path / "shop.db")


class TakenPort(Process):
    """A second service on a port that is taken."""

    def __init__(self, folder, port, store="none"):
        super().__init__(folder, "--store", store, "--port", port)
