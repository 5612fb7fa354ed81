"""A process to be killed: threads append events and write each acknowledged id on stdout, until the end.

    python acknowledging.py URL FIRST

Ids are FIRST, FIRST + 1 ...; stdout has one id a line, written in one piece after the store said that it is on disk.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading

from tastemaker.store import open_store
from tastemaker.store.records import Event

THREADS = 8


def event(number: int) -> Event:
    """Return the event of a number; the same each time."""
    return Event(f"event-{number}", f"user-{number % 50}", f"item-{number % 7}", "view", number)


def main(url: str, first: int) -> None:
    """Append until killed."""
    numbers = itertools.count(first)
    with open_store(url) as store:
        os.write(1, b"ready\n")

        def run() -> None:
            for number in numbers:
                [status] = store.append_events("shop", [event(number)])
                os.write(1, f"{number} {status}\n".encode())

        threads = [threading.Thread(target=run, daemon=True) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
