"""Team draft: fair, deterministic, without repeats, and clicks speak for the better ranking."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tastemaker.errors import DataError
from tastemaker.experiments import interleave
from tastemaker.experiments.interleaving import credit, teams_of


def test_equal_keys_give_equal_lists():
    rankings = {"a": list("pqrst"), "b": list("tsrqp")}
    lists = {interleave(rankings, 5, key=str(key)) for key in range(40)}
    assert len(lists) > 4
    assert interleave(rankings, 5, key="x") == interleave(dict(reversed(rankings.items())), 5, key="x")


def test_each_round_takes_the_best_left_of_every_team():
    rankings = {"a": [1, 2, 3, 4], "b": [1, 5, 2, 6], "c": [7, 8]}
    for key in range(200):
        mixed = interleave(rankings, 8, key=str(key))
        assert len(set(mixed.items)) == len(mixed.items) == 8
        seen: set[int] = set()
        for item, team in zip(mixed.items, mixed.teams, strict=True):
            assert item == next(one for one in rankings[team] if one not in seen)
            seen.add(item)
        assert set(mixed.teams[:3]) == {"a", "b", "c"}  # a round is one pick a team
        assert teams_of(mixed.variant, places=8) == mixed.teams


def test_every_team_goes_first_alike_often():
    rankings = {name: [f"{name}{place}" for place in range(5)] for name in "abc"}
    first = Counter(interleave(rankings, 5, key=str(key)).teams[0] for key in range(6000))
    assert all(abs(count / 6000 - 1 / 3) < 0.025 for count in first.values())


def test_short_and_empty_rankings():
    assert interleave({"a": [], "b": [1, 2]}, 5, key="x").items == (1, 2)
    assert interleave({"a": [], "b": []}, 5, key="x").items == ()
    assert set(interleave({"a": [1], "b": [1]}, 5, key="x").items) == {1}
    with pytest.raises(DataError, match="two rankings or more; got 1"):
        interleave({"a": [1]}, 5, key="x")


def test_clicks_are_credited():
    assert credit(("a", "b", "b"), [1, 2, 0]) == {"a": 1, "b": 2}
    assert credit(("a", "b"), []) == {"a": 0, "b": 0}
    assert teams_of("a", places=1) == ("a",)
    assert teams_of("a|b", places=3) is None


def test_random_clicks_favour_nobody_and_wishes_favour_who_meets_them():
    rng = np.random.default_rng(0)
    items = np.arange(30)
    random, wished = Counter(), Counter()
    for request in range(3000):
        wish = rng.integers(30)
        good = [wish, *rng.permutation(np.delete(items, wish))]
        poor = rng.permutation(items).tolist()
        mixed = interleave({"good": good, "poor": poor}, 10, key=str(request))
        random[mixed.teams[rng.integers(10)]] += 1
        if wish in mixed.items:
            wished[mixed.teams[mixed.items.index(wish)]] += 1
    assert abs(random["good"] / 3000 - 0.5) < 0.04
    assert wished["good"] > 4 * wished["poor"]
