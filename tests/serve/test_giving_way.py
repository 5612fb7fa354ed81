"""How long a thread keeps Python's lock while indexes are made beside requests."""

import sys

import pytest

from tastemaker.serve.engine.calling.giving_way import OFTEN, giving_way


@pytest.fixture(autouse=True)
def usual():
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.003)
    yield 0.003
    sys.setswitchinterval(before)


def test_threads_change_places_often_until_the_last_work_ends(usual):
    first, second = giving_way(), giving_way()
    first.__enter__()
    assert sys.getswitchinterval() == pytest.approx(OFTEN)
    second.__enter__()
    first.__exit__(None, None, None)
    assert sys.getswitchinterval() == pytest.approx(OFTEN)
    second.__exit__(None, None, None)
    assert sys.getswitchinterval() == pytest.approx(usual)


def test_work_that_fails_leaves_the_usual_interval(usual):
    with pytest.raises(ZeroDivisionError), giving_way():
        _ = 1 / 0
    assert sys.getswitchinterval() == pytest.approx(usual)
