"""Work that is spread over threads: order, numbers of threads, and errors."""

from __future__ import annotations

import threading

import pytest
import torch

from tastemaker.neural.parallel import spread


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_stand_in_the_order_of_the_parts(two_threads):
    seen = set()

    def square(number):
        seen.add(threading.get_ident())
        return number**2, torch.get_num_threads()

    assert spread(square, range(50)) == [(number**2, 1) for number in range(50)]
    assert threading.get_ident() not in seen
    assert torch.get_num_threads() == 2


def test_two_parts_are_worked_on_together(two_threads):
    both = threading.Barrier(2, timeout=30)  # broken, and an error, unless two threads come to it
    spread(lambda _: both.wait(), [0, 1])


@pytest.mark.parametrize("parts", [[], [3]])
def test_a_single_part_is_the_callers(two_threads, parts):
    assert spread(lambda _: (threading.get_ident(), torch.get_num_threads()), parts) == [
        (threading.get_ident(), 2) for _ in parts
    ]


def test_an_error_comes_through_and_threads_are_given_back(two_threads):
    def fails(part):
        raise ValueError(part)

    with pytest.raises(ValueError, match="0"):
        spread(fails, range(8))
    assert torch.get_num_threads() == 2
