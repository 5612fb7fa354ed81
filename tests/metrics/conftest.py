"""Lists of item numbers as a ranking."""

from __future__ import annotations

import numpy as np
import pytest

from tastemaker.data import Ranking


def from_lists(lists, width=None):
    """Pad lists to `width` with -1; scores fall by 1 a place."""
    width = max((len(listed) for listed in lists), default=0) if width is None else width
    items = np.full((len(lists), width), -1, dtype=np.int32)
    scores = np.full((len(lists), width), -np.inf, dtype=np.float32)
    for row, listed in enumerate(lists):
        items[row, : len(listed)] = listed
        scores[row, : len(listed)] = -np.arange(len(listed))
    return Ranking(items, scores)


@pytest.fixture(scope="session")
def ranking_of():
    return from_lists
