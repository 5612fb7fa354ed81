"""What was acknowledged is there after kill -9; what is sent again is not there twice."""

from __future__ import annotations

import random
import signal

import pytest
from acknowledging import event, killed, started

from tastemaker.store import open_store

KILLS = 3


def test_no_acknowledged_event_is_lost_by_kill_9_and_none_is_doubled_by_sending_again(url):
    draw = random.Random(7)
    acknowledged: list[int] = []
    highest = 0
    for turn in range(KILLS):
        told = killed(url, highest, draw.uniform(0.05, 0.4))
        acknowledged += told
        with open_store(url) as store:
            stored = [one.event_id for _, one in store.events_after("shop", 0, limit=1_000_000)]
            assert len(stored) == len(set(stored))
            assert {f"event-{number}" for number in acknowledged} <= set(stored), f"lost by kill {turn}"
            highest = 1 + max(int(one.split("-")[1]) for one in stored) if stored else 0
            again = store.append_events("shop", [event(number) for number in acknowledged])
            assert set(again) <= {"duplicate"}
            assert len(store.events_after("shop", 0, limit=1_000_000)) == len(stored)
            assert not [problem for problem in store.check(deep=True) if problem.severity == "fault"]
    assert len(acknowledged) > KILLS, "the kills came too early to say anything"


def test_a_second_process_cannot_write_while_the_first_lives(sqlite_path):
    from tastemaker.store.errors import StoreBusy

    with started(sqlite_path, 0) as process:
        try:
            with pytest.raises(StoreBusy, match=f"process {process.pid} writes to it"):
                open_store(sqlite_path)
            with open_store(sqlite_path, read_only=True) as reader:
                assert reader.tenants() in ([], ["shop"])
        finally:
            process.send_signal(signal.SIGKILL)
    open_store(sqlite_path).close()
