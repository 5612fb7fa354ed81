"""Products at random: uniform, the same for the same question, different for different ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from tastemaker.abilities import Transferable
from tastemaker.data import Entities, Queries
from tastemaker.errors import NotFitted
from tastemaker.models.collaborative.random import Random
from tastemaker.testing import tiny_shop

PAIRS = Queries.from_lists([[first, second] for first in range(40) for second in range(40)])


def test_every_product_is_equally_likely_at_every_place():
    model = Random().fit(tiny_shop())
    lists = model.rank(PAIRS, 40, seen=True).items
    for place in (0, 7, 39):
        assert chisquare(np.bincount(lists[:, place], minlength=40)).pvalue > 1e-3


def test_a_list_depends_on_seed_and_history_alone():
    data = tiny_shop()
    model, other = Random().fit(data, seed=1), Random().fit(data, seed=2)
    histories = Queries.from_lists([[1, 2], [3], [1, 2], [2, 1], [], [0], [0, 0]])
    first, again = model.rank(histories, 40, seen=True).items, model.rank(histories, 40, seen=True).items
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[0], first[2])
    assert len(np.unique(first, axis=0)) == 6
    assert (first != other.rank(histories, 40, seen=True).items).any(axis=1).all()


def test_popularity_does_not_show():
    data = tiny_shop()
    places = np.argsort(Random().fit(data).rank(PAIRS, 40, seen=True).items, axis=1).mean(axis=0)
    assert abs(np.corrcoef(places, data.popularity)[0, 1]) < 0.4


def test_it_moves_to_another_catalogue():
    model = Random().fit(tiny_shop())
    assert isinstance(model, Transferable)
    model.transfer(Entities.from_ids([f"x{item}" for item in range(90)]))
    assert model.rank(Queries.from_lists([[80]]), 5).items.max() >= 40
    with pytest.raises(NotFitted, match="random: not fitted"):
        Random().transfer(model.items)
