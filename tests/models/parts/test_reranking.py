"""The base of re-rankers: whatever the model says, candidates stay candidates, and the weight has to be earned."""

from __future__ import annotations

import numpy as np
import pytest

from tastemaker.data import Queries, Ranking
from tastemaker.data.splits import Holdout
from tastemaker.errors import ConfigError, DataError
from tastemaker.models.parts.reranking.reranker import Reranker, without_history
from tastemaker.testing import RecommenderContract, tiny_shop


class ByNumber(Reranker):
    """Prefers high item numbers; for shoppers whose newest purchase is 0 it has no opinion."""

    name = "by_number"

    def __init__(self, **settings):
        super().__init__(**settings)
        self.asked = []

    def learn(self, train, *, seed, progress):
        pass

    def opinions(self, queries, candidates, *, purpose, progress=None):
        self.asked.append(purpose)
        nothing = np.empty(0, np.float32)
        return [
            nothing if len(history) and history[-1] == 0 else row[row >= 0][: self.config.candidates].astype(np.float32)
            for history, row in zip(queries, candidates.items, strict=True)
        ]


class TestByNumber(RecommenderContract):
    finds_the_held_out_item = False

    def make(self):
        return ByNumber(weight=1.0)


def offered(numbers, size):
    items = np.tile(np.array(numbers, np.int32), (size, 1))
    return Ranking(items, -np.tile(np.arange(len(numbers), dtype=np.float32), (size, 1)))


def questions(targets):
    return Holdout(Queries.from_lists([[1, 2]] * len(targets)), Queries.from_lists([[target] for target in targets]))


def test_the_weight_is_earned_on_validation():
    model = ByNumber(calibration=40).fit(tiny_shop())
    rng = np.random.default_rng(0)
    model.calibrate(questions(rng.choice([9, 12], 40)), candidates=offered([5, 6, 9, 12], 40))
    assert model.report()["weight"] > 0.5, "all targets have high numbers"
    model.calibrate(questions(rng.choice([5, 6, 9, 12], 40)), candidates=offered([5, 6, 9, 12], 40))
    assert model.report()["weight"] == 0.0, "targets are random"
    assert model.asked == ["choice", "choice"]
    model.rank(Queries.from_lists([[1]]), 2, candidates=offered([5, 6], 1))
    assert model.asked == ["choice", "choice"], "with weight 0 it is not asked"
    model.own_order(Queries.from_lists([[1]]), offered([5, 6], 1))
    assert model.asked[-1] == "probe"


def test_no_opinion_keeps_the_retrievers_order():
    model = ByNumber(weight=1.0, candidates=3).fit(tiny_shop())
    ranking = model.rank(Queries.from_lists([[1], [0]]), 4, candidates=offered([5, 9, 6, 20], 2))
    assert ranking.items.tolist() == [[9, 6, 5, 20], [5, 9, 6, 20]], "20 was not among the three that it sees"


def test_without_history():
    ranking = Ranking(np.array([[4, 2, -1], [3, 2, 1]], np.int32), np.array([[2, 1, -np.inf], [3, 2, 1]], np.float32))
    left = without_history(ranking, Queries.from_lists([[4], [9, 1]]))
    assert left.items.tolist() == [[2, -1, -1], [3, 2, -1]]
    assert without_history(left, Queries.from_lists([[4], [9, 1]])) is left


def test_wrong_use_is_named():
    model = ByNumber().fit(tiny_shop())
    with pytest.raises(ConfigError, match="by_number: only re-ranks candidates; put a retriever"):
        model.rank(Queries.from_lists([[1]]), 2)
    with pytest.raises(ConfigError, match="only re-ranks candidates"):
        model.calibrate(questions([5] * 30), candidates=None)
    with pytest.raises(DataError, match="3 validation questions are too few"):
        model.calibrate(questions([5] * 3), candidates=offered([5, 6], 3))
    with pytest.raises(ConfigError, match=r"by_number.weight: 1.5: must lie between 0 and 1"):
        ByNumber(weight=1.5)
