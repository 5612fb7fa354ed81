"""How fast a store takes events that are on disk when it says so: single posts by 64 threads, and batches of 100.

Callers and store share the process, as in the service. Each acknowledgement is timed from the call to its return; the
disk's own sync is timed beside it, because no store can acknowledge faster than that. `--url` names a PostgreSQL
database instead of an SQLite file.

    python benchmarks/store_speed.py                        # SQLite in the current folder's file system
    python benchmarks/store_speed.py --url postgresql://user@host/empty
    python benchmarks/store_speed.py --table                # print the table of what is there
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from tastemaker.store import open_store
from tastemaker.store.records import Event, Impression

RESULTS = Path(__file__).parent / "results" / "store_speed.json"
SECONDS = 8.0
THREADS, BATCHERS, BATCH = 64, 4, 100
SHOPPERS, PRODUCTS = 20_000, 12_101
FILLED = 100_000
"""Events that are there before anything is timed."""


def event(number: int, name: str) -> Event:
    """Return an event as a shop sends it: ids of usual length, a visit, and the list that led to it."""
    spread = number * 2_654_435_761 % 2**32
    return Event(
        f"{name}-{spread:08x}-{number:012d}",
        f"shopper-{spread % SHOPPERS:08d}",
        f"B{spread % PRODUCTS:09d}",
        "detail-page-view",
        1_790_000_000_000 + number,
        session_id=f"visit-{spread % 50_000:010d}",
        request_id=f"{spread:016x}",
        position=number % 10,
    )


def post(store, threads: int, batch: int, name: str) -> dict:  # noqa: ANN001  # a Store
    """Let threads append for `SECONDS`; return the rate and the times of acknowledgements in milliseconds."""
    times: list[list[float]] = [[] for _ in range(threads)]
    start = threading.Barrier(threads + 1)
    end = [0.0]

    def run(thread: int) -> None:
        number = thread
        start.wait()
        while time.perf_counter() < end[0]:
            events = [event(number + threads * place, name) for place in range(batch)]
            number += threads * batch
            began = time.perf_counter()
            statuses = store.append_events("shop", events)
            times[thread].append(time.perf_counter() - began)
            assert statuses == ["accepted"] * batch

    callers = [threading.Thread(target=run, args=(thread,)) for thread in range(threads)]
    for caller in callers:
        caller.start()
    began = time.perf_counter()
    end[0] = began + SECONDS
    start.wait()
    for caller in callers:
        caller.join()
    seconds = time.perf_counter() - began
    every = np.sort(np.concatenate([np.array(one) for one in times])) * 1000
    return {
        "threads": threads,
        "batch": batch,
        "events_per_second": round(len(every) * batch / seconds),
        "ack_ms": {
            name: round(float(np.quantile(every, q)), 2) for name, q in (("p50", 0.5), ("p99", 0.99), ("max", 1))
        },
    }


def reading(store) -> dict:  # noqa: ANN001  # a Store
    """Time the newest 200 events of shoppers, one after the other, while nothing is written."""
    times = []
    for number in range(2_000):
        user = f"shopper-{number * 7 % SHOPPERS:08d}"
        began = time.perf_counter()
        store.history("shop", user)
        times.append(1000 * (time.perf_counter() - began))
    return {"history_ms": {"p50": round(statistics.median(times), 3), "p99": round(float(np.quantile(times, 0.99)), 3)}}


def mixed(store) -> dict:  # noqa: ANN001  # a Store
    """Post single events as before while another thread notes what 200 lists a second showed."""
    done = threading.Event()

    def note() -> None:
        number = 0
        while not done.wait(0.005):
            shown = Impression(f"list-{number}", number, "shopper-1", None, None, "v1", "hybrid", ("B1",) * 10)
            store.submit_impressions("shop", [shown])
            number += 1

    beside = threading.Thread(target=note)
    beside.start()
    try:
        return post(store, THREADS, 1, "mixed")
    finally:
        done.set()
        beside.join()


def sync_ms(folder: Path) -> float:
    """Return the median time of writing 4 KiB and having it synced, as a commit does at least."""
    times = []
    with (folder / "probe").open("wb", buffering=0) as file:
        file.write(b"x" * 4096 * 64)
        os.fsync(file.fileno())
        for place in range(64):
            began = time.perf_counter()
            file.seek(4096 * place)
            file.write(b"y" * 4096)
            os.fdatasync(file.fileno())
            times.append(1000 * (time.perf_counter() - began))
    (folder / "probe").unlink()
    return round(statistics.median(times), 3)


def measure(url: str | None) -> dict:
    """Run everything on a fresh store."""
    with tempfile.TemporaryDirectory(dir=".", prefix="store-speed-") as name:
        folder = Path(name)
        sync = sync_ms(folder)
        with open_store(url or folder / "shop.db") as store:
            for first in range(0, FILLED, 1000):
                store.append_events("shop", [event(number, "before") for number in range(first, first + 1000)])
            rows = {
                "single": post(store, THREADS, 1, "single"),
                "batches": post(store, BATCHERS, BATCH, "batches"),
                "single, 200 lists/s noted beside": mixed(store),
            }
            read = reading(store)
            began = time.perf_counter()
            receipt = store.erase_user("shop", "shopper-00000007")
            erased = round(time.perf_counter() - began, 3)
            stored = store.last_sequence("shop")
    return {
        "database": "PostgreSQL" if url else f"SQLite {sqlite3.sqlite_version}",
        "machine": {"processor": platform.processor() or platform.machine(), "cores": len(os.sched_getaffinity(0))},
        "disk_sync_ms": sync,
        "rows": rows,
        **read,
        "erase": {"seconds": erased, "events_in_store": stored, "pages": receipt.pages},
    }


def load() -> dict:
    """Return the results that are there, by database."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def table(results: dict) -> str:
    """Return the results as a markdown table."""
    lines = [
        "| store | events | callers | events/s | p50 ms | p99 ms | disk sync ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for found in results.values():
        for name, row in found["rows"].items():
            ack = row["ack_ms"]
            lines.append(
                f"| {found['database']} | {name} | {row['threads']} | {row['events_per_second']:,} | {ack['p50']} "
                f"| {ack['p99']} | {found['disk_sync_ms']} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Run unless only the table is wanted, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="an empty PostgreSQL database instead of an SQLite file")
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    arguments = parser.parse_args()
    results = load()
    if not arguments.table:
        results["postgresql" if arguments.url else "sqlite"] = measure(arguments.url)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
