"""A model's word moves a candidate, by a stated number of places at most."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data import Queries, Ranking
from tastemaker.data.ranking import sort_lists
from tastemaker.defences import undefended
from tastemaker.lm.scripted import ScriptedChoiceLM, ScriptedLM
from tastemaker.models.llm.listwise import Listwise
from tastemaker.models.parts.reranking.mixing import capped, mixed, try_weights
from tastemaker.testing import tiny_shop


def offered(rows):
    items = np.array(rows, dtype=np.int32)
    scores = np.where(items < 0, -np.inf, -np.arange(items.shape[1])).astype(np.float32)
    return Ranking(items, scores)


def rises(candidates, ranking):
    """How far each listed item stands above where it was offered, by counting."""
    return [
        candidates.items[row].tolist().index(item) - at
        for row in range(len(ranking))
        for at, item in enumerate(ranking.items[row].tolist())
        if item >= 0
    ]


def test_by_hand():
    """The model turns five candidates round; none may rise more than two places."""
    candidates = offered([[10, 11, 12, 13, 14]])
    ranking = mixed(candidates, [np.array([4, 3, 2, 1, 0], np.int32)], 1.0, max_rise=2)
    assert ranking.items.tolist() == [[12, 13, 14, 11, 10]]
    assert (np.diff(ranking.scores[0]) < 0).all()
    assert mixed(candidates, [np.array([4, 3, 2, 1, 0], np.int32)], 1.0, max_rise=0).items.tolist() == [
        [10, 11, 12, 13, 14]
    ]


@given(st.data())
def test_no_candidate_rises_further_whatever_the_model_says(data):
    m = data.draw(st.integers(1, 30))
    shown = data.draw(st.integers(0, m))
    limit = data.draw(st.integers(0, 12))
    items = data.draw(st.permutations(range(40)))[:m]
    candidates = offered([[*items, -1, -1]])
    ranks = np.array(data.draw(st.permutations(range(shown))), dtype=np.int32)
    ranking = mixed(candidates, [ranks], data.draw(st.floats(0, 1)), max_rise=limit)
    assert max(rises(candidates, ranking), default=0) <= limit
    assert sorted(ranking.items[0].tolist()) == sorted(candidates.items[0].tolist())
    again = sort_lists(ranking.items, ranking.scores, ranking.items.shape[1])
    assert again.items.tolist() == ranking.items.tolist(), "sorting by the scores gives the same list"


def test_a_list_within_the_limit_keeps_its_bits():
    rng = np.random.default_rng(0)
    candidates = offered([rng.permutation(50)[:11] for _ in range(20)])
    ranks = [rng.permutation(11).astype(np.int32) for _ in range(20)]
    with undefended():
        free = mixed(candidates, ranks, 0.7, max_rise=0)
    same = mixed(candidates, ranks, 0.7, max_rise=10)
    assert free.items.tobytes() == same.items.tobytes()
    assert free.scores.tobytes() == same.scores.tobytes()
    assert max(rises(candidates, free)) > 3


def test_places_are_counted_among_those_that_are_listed():
    candidates = offered([[10, 11, 12, 13, 14, 15]])
    shorter = offered([[15, 13, 11]])
    assert capped(candidates, shorter, 1).items.tolist() == [[13, 15, 11]]


def test_the_weight_is_chosen_on_capped_lists():
    candidates = offered([list(range(15))] * 30)
    last_first = [np.roll(np.arange(15, dtype=np.int32), -1) * 0 + np.array([*range(1, 15), 0], np.int32)] * 30
    targets = Queries.from_lists([[14]] * 30)
    free = try_weights(candidates, last_first, targets, max_rise=14)
    bound = try_weights(candidates, last_first, targets, max_rise=4)
    assert free[-1]["ndcg@10"] == 1.0
    assert bound[-1]["ndcg@10"] == 0.0, "from place 15 it gets no further than place 11"


def poisoned(prompt, letter):
    """A model that obeys a product's title to the letter."""
    return float(f'{letter.strip()}. "perfume number 23"' in prompt.user)


@pytest.mark.parametrize("limit", [0, 3, 10, 20, "half"])
def test_a_talked_over_model_lifts_its_product_so_far_and_no_further(limit):
    model = Listwise(lm=ScriptedChoiceLM(poisoned), weight=1.0, max_rise=limit).fit(tiny_shop())
    candidates = offered([list(range(4, 24))])
    ranking = model.rank(Queries.from_lists([[1]]), 20, candidates=candidates)
    assert ranking.items[0].tolist().index(23) == max(19 - (10 if limit == "half" else limit), 0)


def test_a_written_list_is_bound_too():
    model = Listwise(lm=ScriptedLM(lambda prompt: "T, S, R, Q, P"), weight=1.0, mode="generate", listed=20, max_rise=5)
    candidates = offered([list(range(4, 24))])
    ranking = model.fit(tiny_shop()).rank(Queries.from_lists([[1]]), 20, candidates=candidates)
    assert max(rises(candidates, ranking)) == 5
