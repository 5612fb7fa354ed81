"""The service under load: throughput, latency, events, faults, exchanged models, kills.

    python benchmarks/serve_load.py all --json benchmarks/results/serve_load.json
    python benchmarks/serve_load.py throughput latency --seconds 10

The load generator runs in a process of its own (`benchmarks/serving/load.py`), on the same machine. Shops are made on
the spot (`benchmarks/serving/shops.py`): product vectors in clusters. Scenarios:

throughput   12,101 products x 64, 32 connections, against a bare FastAPI route that does one matrix-vector product and
             a top-10, in turns; once as shoppers come for the first time, once as they come back
latency      100,000 products x 384, 200 requests a second, open loop
rerank       100 candidates of the caller's, 12,101 products, 100 requests a second
cross_encoder  50 candidates of the caller's, read by MiniLM with the history, one request at a time and 2 a second: as
             it is by default, then with one measure after the other
events       single events by 64 connections, and batches of 100, durable in SQLite
hung         a language model that never answers, budget 300 ms, 20 requests a second, until the breaker opens and after
swaps        20 exchanges of models at 200 requests a second; every answer must be of one model
kills        SIGKILL at random moments while events are sent, then a look into the store; --kills 100
stop         SIGTERM at 100 requests a second
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

sys.path.insert(0, str(Path(__file__).parent / "serving"))
import pairs
from shops import make_shop

from tastemaker import evaluate, registry, saved
from tastemaker.store import open_store
from tastemaker.testing import tiny_shop

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent / "serving"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
USERS = 5000


@contextmanager
def served(
    model: Path, *arguments: object, settings: dict[str, Any] | None = None, threads: int = 1
) -> Iterator[tuple[Any, int]]:
    """Start the service; give its process and its port."""
    words = [sys.executable, "-m", "tastemaker", "serve", str(model), "--port", "0", *map(str, arguments)]
    own = {f"TASTEMAKER_SERVE_{name.upper()}": str(value) for name, value in (settings or {}).items()}
    own |= dict.fromkeys(ONE_THREAD, str(threads))
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env={**os.environ, **own})
    try:
        for line in process.stderr or ():
            if found := re.search(r":(\d+) \(stop", line):
                yield process, int(found[1])
                return
        raise SystemExit(f"the service did not start: {' '.join(words)}")
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait()


def load(port: int, requests: list[dict[str, Any]], **plan: object) -> dict[str, Any]:
    """Play a plan in another process and return what came of it."""
    whole = {"host": "127.0.0.1", "port": port, "connections": 32, "warm": 2, "requests": requests, **plan}
    with tempfile.TemporaryDirectory() as folder:
        outcome = Path(folder) / "outcome.json"
        subprocess.run(
            [sys.executable, str(HERE / "load.py"), str(outcome)],
            input=json.dumps(whole),
            text=True,
            check=True,
            env={**os.environ, **ONE_THREAD},
        )
        found: dict[str, Any] = json.loads(outcome.read_text())
    return found


def lists(**more: object) -> list[dict[str, Any]]:
    """Return requests for lists, one a shopper."""
    bodies = [{"user_id": f"user-{user}", **more} for user in range(USERS)]
    return [{"method": "POST", "path": "/v1/recommend", "body": json.dumps(body)} for body in bodies]


def settled(port: int, *, index: bool) -> dict[str, Any]:
    """Wait until the service says that it is ready; return what it says of its model."""
    for _ in range(600):
        if httpx2.get(f"http://127.0.0.1:{port}/health/ready", timeout=30).status_code == 200:
            found = httpx2.get(f"http://127.0.0.1:{port}/v1/models", timeout=30).json()["active"]
            if index and found["index_recall"] is None:
                raise SystemExit("ready without an index")
            return dict(found)
        time.sleep(0.1)
    raise SystemExit("not ready after a minute")


def throughput(folder: Path, seconds: float, _: int) -> dict[str, Any]:
    """Measure against the bare route, in turns."""
    model = make_shop(folder / "small", items=12_101, dim=64)
    words = [sys.executable, str(HERE / "bare.py"), "12101", "64"]
    bare = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, **ONE_THREAD})
    peer = [{"method": "POST", "path": "/recommend", "body": json.dumps({"user": user})} for user in range(USERS)]
    try:
        bare_port = int((bare.stdout or sys.stdin).readline())
        with served(model, "--store", "none") as (_, port):
            settled(port, index=False)
            first = load(port, lists(), seconds=min(seconds, 3), warm=0)
            rounds = [
                {"bare": load(bare_port, peer, seconds=seconds), "ours": load(port, lists(), seconds=seconds)}
                for _ in range(3)
            ]
    finally:
        bare.kill()
        bare.wait()
    return {"first_visits": first, "rounds": rounds}


def latency(folder: Path, seconds: float, _: int) -> dict[str, Any]:
    """Measure a large catalogue at a rate."""
    model = make_shop(folder / "large", items=100_000, dim=384)
    began = time.perf_counter()
    with served(model, "--store", "none") as (_, port):
        ready = time.perf_counter() - began
        facts = settled(port, index=True)
        return {
            "seconds_to_ready": ready,
            "index_recall": facts["index_recall"],
            "at_200": load(port, lists(), rate=200, seconds=seconds),
            "again": load(port, lists(), rate=200, seconds=seconds),
        }


def rerank(folder: Path, seconds: float, _: int) -> dict[str, Any]:
    """Measure candidates of the caller's own."""
    model, rng = make_shop(folder / "small", items=12_101, dim=64), random.Random(0)
    bodies = [
        {"user_id": f"user-{user}", "item_ids": [f"item-{rng.randrange(12_101)}" for _ in range(100)]}
        for user in range(1000)
    ]
    requests = [{"method": "POST", "path": "/v1/rerank", "body": json.dumps(body)} for body in bodies]
    with served(model, "--store", "none") as (_, port):
        settled(port, index=False)
        return load(port, requests, rate=100, seconds=seconds)


SHORT = {"history": 3, "item_tokens": 16, "max_tokens": 64}
READING: dict[str, tuple[dict[str, Any], int]] = {
    "as it is by default": ({}, 1),
    "two threads": ({}, 2),
    "history of 3, 16 tokens a product": (SHORT, 2),
    "history read once": ({**SHORT, "history_once": True}, 2),
    "bfloat16": ({**SHORT, "history_once": True, "asked_precision": "bfloat16"}, 2),
    "the same with one thread": ({**SHORT, "history_once": True, "asked_precision": "bfloat16"}, 1),
    "history of 5, 24 tokens a product": ({"history_once": True, "asked_precision": "bfloat16"}, 2),
}
"""What is measured, each line beside what the one before has: settings of the stage, and threads."""


def cross_encoder(folder: Path, seconds: float, _: int) -> dict[str, Any]:
    """Measure a cross-encoder; a list that came without it would not count."""
    rng = random.Random(0)
    bodies = [
        {
            "user_id": f"user-{user}",
            "item_ids": [f"item-{item}" for item in rng.sample(range(pairs.ITEMS), 50)],
            "strategy": "full",
            "budget_ms": 30_000,
        }
        for user in range(pairs.USERS)
    ]
    requests = [{"method": "POST", "path": "/v1/rerank", "body": json.dumps(body)} for body in bodies]
    found: dict[str, Any] = {}
    made: dict[str, Path] = {}
    for name, (stage, threads) in READING.items():
        key = json.dumps(stage)
        if key not in made:
            made[key] = pairs.make_pairs_shop(folder / f"pairs-{len(made)}", **stage)
        with served(made[key], "--store", "none", threads=threads) as (_, port):
            settled(port, index=False)
            alone = load(port, requests, connections=1, seconds=seconds, warm=3, keep=True)
            answers = [json.loads(body) for _, body in alone.pop("bodies")]
            at_two = load(port, requests, rate=2, seconds=seconds, warm=3, first=len(requests) // 2)
            again = load(port, requests[:1], connections=1, seconds=min(seconds, 3.0), warm=1)
        read = sum(item["source"] == "cross_encoder" for answer in answers for item in answer["items"])
        if read < sum(len(answer["items"]) for answer in answers):
            raise SystemExit(f"{name}: {read} places were filled by the cross-encoder, and others by somebody else")
        found[name] = {"threads": threads, "alone": alone, "at_2": at_two, "same_list_again": again}
    return found


def events(folder: Path, seconds: float, _: int) -> dict[str, Any]:
    """Measure durable events."""
    model = make_shop(folder / "small", items=12_101, dim=64)

    def event(number: int, row: str) -> str:
        given = {"user_id": f"user-{number % USERS}", "item_id": f"item-{number % 12_101}", "event_type": "view"}
        return json.dumps({"event_id": f"{row}-{{n}}", **given})

    def body(rows: list[str]) -> dict[str, Any]:
        return {"method": "POST", "path": "/v1/events", "body": '{"events": [' + ", ".join(rows) + "]}"}

    single = [body([event(number, "s")]) for number in range(2000)]
    batches = [body([event(100 * number + row, f"b{row}") for row in range(100)]) for number in range(200)]
    with served(model, "--store", folder / "events.db") as (_, port):
        settled(port, index=False)
        one = load(port, single, connections=64, seconds=seconds)
        many = load(port, batches, connections=8, seconds=seconds)
        many["events_per_second"] = 100 * many["per_second"]
    return {"single": one, "batches_of_100": many}


class Hang(BaseHTTPRequestHandler):
    """A language model that takes the question and never answers."""

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """Wait."""
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(60)


def hung(folder: Path, seconds: float, _: int) -> dict[str, Any]:
    """Measure with a language model that hangs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hang)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stages = [
        {"model": "transitions", "keep": 20},
        {"model": "listwise", "mode": "generate", "weight": 1.0, "candidates": 20},
    ]
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    shop, pipeline = tiny_shop(), registry.build({"stage": stages, "lm": {"url": url, "model": "hang", "cache": False}})
    evaluate.fit_on_all(pipeline, shop, seed=0)
    saved.save(folder / "hung", saved.SavedModel(pipeline, shop.users, shop.queries()))
    bodies = [{"user_id": f"u{user:03}", "budget_ms": 300} for user in range(60)]
    requests = [{"method": "POST", "path": "/v1/recommend", "body": json.dumps(body)} for body in bodies]
    with served(folder / "hung", "--store", "none") as (_, port):
        first = load(port, requests, rate=20, seconds=seconds, warm=0, keep=True)
        answers = [json.loads(body) for _, body in first.pop("bodies")]
        after = load(port, requests, rate=20, seconds=seconds, warm=0)
    server.shutdown()
    reasons = [answer["degraded_reason"] for answer in answers]
    return {
        "from_the_start": first,
        "calls_before_open": reasons.count("language model: no answer in time"),
        "degraded": sum(answer["degraded"] for answer in answers),
        "afterwards": after,
    }


def swaps(folder: Path, seconds: float, _: int) -> dict[str, Any]:
    """Exchange models under load; each answer's products must be those of its model."""
    models = folder / "models"
    make_shop(models / "first", items=5000, dim=64, seed=1)
    make_shop(models / "second", items=9000, dim=64, seed=2)
    with served(models / "first", "--store", folder / "swaps.db") as (_, port):
        url = f"http://127.0.0.1:{port}"
        httpx2.post(f"{url}/v1/models", json={"folder": "second"}, timeout=30).raise_for_status()
        versions = {one["version"].split("-")[0]: one["version"] for one in models_of(url)}
        outcome: dict[str, Any] = {}
        length = max(seconds, 30.0)
        thread = threading.Thread(
            target=lambda: outcome.update(load(port, lists(explain=False), rate=200, seconds=length, keep=True))
        )
        thread.start()
        time.sleep(3)
        for turn in range(20):
            version = versions[("second", "first")[turn % 2]]
            job = httpx2.post(f"{url}/v1/models/{version}:activate", timeout=60).json()
            if job["state"] != "done":
                raise SystemExit(f"exchange {turn} failed: {job}")
            time.sleep(max(0.0, (length - 5) / 20 - 0.2))
        thread.join()
    sizes = {"first": 5000, "second": 9000}
    mixed = 0
    for _, body in outcome.pop("bodies"):
        answer = json.loads(body)
        own = sizes[answer["model_version"].split("-")[0]]
        mixed += any(int(item["item_id"].split("-")[1]) >= own for item in answer["items"])
    return {**outcome, "exchanges": 20, "mixed": mixed}


def models_of(url: str) -> list[dict[str, Any]]:
    """Return the versions that a service knows."""
    found: list[dict[str, Any]] = httpx2.get(f"{url}/v1/models", timeout=30).json()["models"]
    return found


def kills(folder: Path, _: float, count: int) -> dict[str, Any]:
    """Kill the service while events are sent; nothing that was acknowledged may be missing, nothing double."""
    model, rng = make_shop(folder / "tiny", items=500, dim=16), random.Random(0)
    store = folder / "kills.db"
    acknowledged: set[str] = set()
    for turn in range(count):
        with served(model, "--store", store) as (process, port):
            killed = threading.Event()

            def send(thread: int, turn: int = turn, port: int = port, killed: threading.Event = killed) -> None:
                number = 0
                with httpx2.Client(timeout=10) as client:
                    while not killed.is_set():
                        event_id = f"{turn}-{thread}-{number}"
                        row = {"event_id": event_id, "user_id": "u", "item_id": "item-1", "event_type": "view"}
                        try:
                            answer = client.post(f"http://127.0.0.1:{port}/v1/events", json={"events": [row]})
                        except httpx2.TransportError:
                            return
                        if answer.status_code == 202:
                            acknowledged.add(event_id)
                        number += 1

            threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
            for thread in threads:
                thread.start()
            time.sleep(0.2 + rng.random())
            process.kill()
            killed.set()
            for thread in threads:
                thread.join()
    with open_store(store) as opened:
        stored, sequence = [], 0
        while rows := opened.events_after("default", sequence, 10_000):
            stored += [event.event_id for _, event in rows]
            sequence = rows[-1][0]
    return {
        "kills": count,
        "acknowledged": len(acknowledged),
        "stored": len(stored),
        "lost": len(acknowledged - set(stored)),
        "doubled": len(stored) - len(set(stored)),
    }


def stop(folder: Path, _: float, __: int) -> dict[str, Any]:
    """End the service under load; whatever it took in must be answered."""
    model = make_shop(folder / "small", items=12_101, dim=64)
    outcome: dict[str, Any] = {}
    with served(model, "--store", "none") as (process, port):
        thread = threading.Thread(target=lambda: outcome.update(load(port, lists(), rate=100, seconds=6, warm=0)))
        thread.start()
        time.sleep(4)
        process.terminate()
        code = process.wait()
        thread.join()
    return {**outcome, "exit_code": code}


SCENARIOS = {
    one.__name__: one for one in (throughput, latency, rerank, cross_encoder, events, hung, swaps, kills, stop)
}


def main() -> None:
    """Run scenarios and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="+", choices=["all", *SCENARIOS])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    names = list(SCENARIOS) if "all" in given.scenarios else given.scenarios
    found = {}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = SCENARIOS[name](Path(folder), given.seconds, given.kills)
        print(name, json.dumps(found[name], indent=1))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
