"""Long loops that rest."""

import os
import subprocess
import sys
import time

import pytest

from tastemaker import pace


@pytest.fixture
def rests(monkeypatch):
    taken = []
    monkeypatch.setattr(time, "sleep", taken.append)
    return taken


def busy(steps):
    for step in steps:
        end = time.perf_counter() + pace.WORK / 2
        while time.perf_counter() < end:
            pass
        yield step


def test_a_thread_at_ease_rests_between_steps(rests):
    with pace.at_ease():
        assert list(pace.eased(busy(range(20)))) == list(range(20))
    assert 5 <= len(rests) <= 20
    assert set(rests) == {pace.REST}


def test_otherwise_nothing_stands_between(rests):
    steps = [1, 2, 3]
    assert pace.eased(steps) is steps
    with pytest.raises(ZeroDivisionError), pace.at_ease():
        _ = 1 / 0
    assert pace.eased(steps) is steps
    assert not rests


@pytest.mark.parametrize(("given", "held"), [({}, "5000"), ({"GOMP_SPINCOUNT": "7"}, "7")])
def test_threads_that_wait_do_not_spin_for_long_unless_somebody_says_so(given, held):
    told = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    asked = [sys.executable, "-c", "import os, tastemaker; print(os.environ['GOMP_SPINCOUNT'])"]
    assert subprocess.run(asked, env=told | given, capture_output=True, text=True, check=True).stdout.strip() == held
