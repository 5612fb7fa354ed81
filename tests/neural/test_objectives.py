"""Behaviour pre-training: what each objective asks, against slow versions, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra 'neural'")

import torch
from torch.nn.functional import embedding

from tastemaker.data.queries import Queries
from tastemaker.neural import objectives
from tastemaker.neural.batches import Batch, batch_of

N, DIM = 9, 6


class Sums:
    """A causal reader without weights: each state is the sum of the vectors up to it."""

    def states(self, known, batch):
        return known.cumsum(1)


@pytest.fixture
def batch():
    histories = Queries.from_lists([[1, 2], [3, 4, 5, 6], [7, 8, 0], [2, 5, 8, 1]])
    return batch_of(histories, np.arange(4), 10)


@pytest.fixture
def table():
    return torch.randn(N, DIM, generator=torch.Generator().manual_seed(0))


def recorded():
    asked = []

    def predict(states, targets):
        asked.append((states, targets))
        return states.sum() * 0 + len(targets)

    return asked, predict


def history(batch, row):
    return batch.items[row, : batch.lengths[row]].tolist()


def test_masked_hides_one_item_and_asks_for_it(batch, table):
    torch.manual_seed(1)
    places = set()
    for _ in range(50):
        asked, predict = recorded()
        objectives.masked(Sums(), table, batch, predict)
        [(states, targets)] = asked
        for row, (state, target) in enumerate(zip(states, targets.tolist(), strict=True)):
            items = history(batch, row)
            assert target in items
            places.add((row, items.index(target)))
            expected = table[items].sum(0) - table[target]  # the sum of all that is shown
            torch.testing.assert_close(state, expected)
    assert places == {(row, place) for row in range(4) for place in range(len(history(batch, row)))}


def test_next_k_asks_for_what_follows_a_cut_and_no_further(batch, table):
    torch.manual_seed(2)
    cuts = set()
    for _ in range(60):
        asked, predict = recorded()
        objectives.next_k(Sums(), table, batch, predict, k=2)
        [(states, targets)] = asked
        at = 0
        for row in range(4):
            items = history(batch, row)
            cut = next(
                cut for cut in range(1, len(items)) if torch.allclose(states[at], table[items[:cut]].sum(0), atol=1e-5)
            )
            wanted = items[cut : cut + 2]
            assert targets[at : at + len(wanted)].tolist() == wanted
            at += len(wanted)
            cuts.add((row, cut))
        assert at == len(targets)
    assert cuts == {(row, cut) for row in range(4) for cut in range(1, len(history(batch, row)))}


def test_views_are_the_two_parts_of_a_history(batch, table):
    torch.manual_seed(3)
    cut = objectives.cut_of(batch)
    second = objectives.behind(batch, cut)
    for row in range(4):
        items = history(batch, row)
        assert history(second, row) == items[cut[row] :]
        assert (second.items[row, second.lengths[row] :] == 0).all()
    torch.manual_seed(3)
    found = objectives.views(Sums(), table, batch, temperature=0.5)
    one, two = [], []
    for row in range(4):
        items = history(batch, row)
        one.append(table[items[: cut[row]]].sum(0))
        two.append(table[items[cut[row] :]].sum(0))
    total = 0.0
    for asked, offered in ((one, two), (two, one)):
        for row in range(4):
            cosines = torch.stack([torch.cosine_similarity(asked[row], other, dim=0) for other in offered])
            total -= float((cosines / 0.5).log_softmax(0)[row])
    assert float(found) == pytest.approx(total / 8, rel=1e-5)


def test_thinned_histories_keep_order_and_their_newest_item(batch):
    torch.manual_seed(4)
    shortest = [99] * 4
    for _ in range(200):
        thinned = objectives.thin(batch, left_out=0.5)
        for row in range(4):
            whole, part = history(batch, row), history(thinned, row)
            assert part[-1] == whole[-1]
            assert [item for item in whole if item in part] == part
            shortest[row] = min(shortest[row], len(part))
        assert (thinned.items[~thinned.real] == 0).all()
    assert shortest == [1, 1, 1, 1]


def test_next_items_of_other_shops_are_negatives(table):
    """Two shops of items 0-3 and 4-8 in one batch: the softmax is over the next items of both, each once."""
    histories = Queries.from_lists([[0, 1], [2, 1], [4, 5], [6, 7]])
    mixed = batch_of(histories, np.arange(4), 10)
    found = objectives.sequence_item(Sums(), table, mixed, temperature=0.2)
    offered = [1, 5, 7]
    total = 0.0
    for first, target in ((0, 1), (2, 1), (4, 5), (6, 7)):
        cosines = torch.stack([torch.cosine_similarity(table[first], table[item], dim=0) for item in offered])
        total -= float((cosines / 0.2).log_softmax(0)[offered.index(target)])
    assert float(found) == pytest.approx(total / 4, rel=1e-5)


def test_the_sum_is_weighted(batch, table):
    config = objectives.PretrainingConfig()
    calls = []

    def predict(states, targets):
        calls.append(len(targets))
        return torch.tensor(1.0)

    names = ("masked", "next_k")
    assert float(objectives.loss(names, Sums(), table, batch, predict, config)) == 2.0
    torch.manual_seed(5)
    alone = objectives.sequence_sequence(
        Sums(), table, batch, temperature=config.view_temperature, left_out=config.left_out
    )
    torch.manual_seed(5)
    weighed = objectives.loss(("sequence_sequence",), Sums(), table, batch, predict, config)
    assert float(weighed) == pytest.approx(1e-3 * float(alone), rel=1e-5)


def test_padding_changes_nothing(table):
    """The same histories beside a long one give the same vectors."""
    alone = batch_of(Queries.from_lists([[1, 2, 3]]), np.arange(1), 10)
    padded = Batch(torch.tensor([[1, 2, 3, 0, 0]]), torch.tensor([3]))
    one, two = (objectives.vectors(Sums(), table, part) for part in (alone, padded))
    torch.testing.assert_close(one, two)
    assert embedding(alone.items, table).shape[1] == 3
