"""A process to be killed: threads append events and write each acknowledged id on stdout, until the end.

    python acknowledging.py URL FIRST

Ids are FIRST, FIRST + 1 ...; stdout has one id a line, written in one piece after the store said that it is on disk.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from tastemaker.store import open_store
from tastemaker.store.records import Event

if TYPE_CHECKING:
    from pathlib import Path

THREADS = 8


def event(number: int) -> Event:
    """Return the event of a number; the same each time."""
    return Event(f"event-{number}", f"user-{number % 50}", f"item-{number % 7}", "view", number)


def started(url: str | Path, first: int) -> subprocess.Popen[bytes]:
    """Start a process that appends events from a number on; return once it has the store open."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, __file__, str(url), str(first)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def killed(url: str | Path, first: int, seconds: float) -> list[int]:
    """Let such a process run for some seconds, kill it; return the numbers that it acknowledged."""
    with started(url, first) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        assert process.stdout is not None
        lines = process.stdout.read().decode().split("\n")[:-1]  # a line that the kill cut short is the last
    assert all(line.endswith(" accepted") for line in lines)
    return [int(line.split()[0]) for line in lines]


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
