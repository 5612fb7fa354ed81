"""Kill a store under load with SIGKILL, again and again: is an acknowledged event ever lost, or one doubled on resend?

Eight threads of a process append single events and report each acknowledgement; the process is killed at a random
moment; the store is opened again, everything acknowledged so far is looked up and sent again, and the database checks
itself. `tests/store/test_durability.py` does the same a few times.

    python benchmarks/store_kills.py                  # 100 kills of an SQLite store
    python benchmarks/store_kills.py --url postgresql://user@host/empty
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from tastemaker.store import open_store

RESULTS = Path(__file__).parent / "results" / "store_kills.json"
TESTS = Path(__file__).parent.parent / "tests" / "store"


def run(url: str, kills: int) -> dict:
    """Kill so often; return what was acknowledged, lost and doubled."""
    sys.path.insert(0, str(TESTS))
    from acknowledging import event, killed

    draw = random.Random(0)
    acknowledged: set[int] = set()
    highest = lost = doubled = faults = 0
    started = time.perf_counter()
    for _ in range(kills):
        fresh = killed(url, highest, draw.uniform(0.0, 1.0))
        acknowledged |= set(fresh)
        with open_store(url) as store:
            stored = [one.event_id for _, one in store.events_after("shop", 0, limit=10_000_000)]
            lost += len({f"event-{number}" for number in acknowledged} - set(stored))
            doubled += len(stored) - len(set(stored))
            again = store.append_events("shop", [event(number) for number in fresh])
            doubled += sum(status != "duplicate" for status in again)
            faults += sum(problem.severity == "fault" for problem in store.check(deep=True))
            highest = 1 + max((int(one.split("-")[1]) for one in stored), default=highest - 1)
    return {
        "kills": kills,
        "acknowledged": len(acknowledged),
        "stored": len(stored),
        "lost": lost,
        "doubled": doubled,
        "faults_found_by_the_database": faults,
        "seconds": round(time.perf_counter() - started, 1),
    }


def load() -> dict:
    """Return the results that are there, by database."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def main() -> None:
    """Run, keep the result and print it; exit code 1 where an event was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="an empty PostgreSQL database instead of an SQLite file")
    parser.add_argument("--kills", type=int, default=100, help="how often")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".", prefix="store-kills-") as folder:
        found = run(arguments.url or str(Path(folder) / "shop.db"), arguments.kills)
    name = "PostgreSQL" if arguments.url else f"SQLite {sqlite3.sqlite_version}"
    RESULTS.write_text(json.dumps({**load(), name.split()[0].lower(): {"database": name, **found}}, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    sys.exit(bool(found["lost"] or found["doubled"] or found["faults_found_by_the_database"]))


if __name__ == "__main__":
    main()
