"""text_knn: histories and wishes against product texts."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tastemaker.data.dataset import Dataset
from tastemaker.data.queries import Queries
from tastemaker.errors import DataError
from tastemaker.models.content.text_knn import TextKNN
from tastemaker.testing import HashEncoder, RecommenderContract, tiny_shop

TITLES = ["red soap", "red brush", "blue soap", "blue perfume", None, "green comb"]


@pytest.fixture
def shop():
    items = pl.DataFrame({"item_id": [f"i{n}" for n in range(6)], "title": TITLES})
    return Dataset.from_frames(pl.DataFrame({"user_id": ["a", "b"], "item_id": ["i0", "i3"]}), items)


@pytest.fixture
def model(shop):
    return TextKNN(encoder=HashEncoder(), recency=0.5).fit(shop)


def test_scores_are_cosines_with_the_recency_weighted_mean(model):
    vectors = HashEncoder().encode([title or "" for title in TITLES], kind="document")
    profile = 0.5 * vectors[0] + vectors[2]
    scores = model.score(Queries.from_lists([[0, 2]]))[0]
    known = [0, 1, 2, 3, 5]
    np.testing.assert_allclose(scores[known], vectors[known] @ profile / np.linalg.norm(profile), atol=1e-5)
    assert np.isneginf(scores[4]), "a product without text gets no opinion"


def test_it_ranks_what_nobody_has_bought(model):
    assert model.rank(Queries.from_lists([[0]]), 2).items[0].tolist() in ([1, 2], [2, 1])


def test_a_wish_alone_is_enough(model):
    ranking = model.rank(Queries.from_lists([[], []], texts=["green comb", " "]), 1)
    assert ranking.items[:, 0].tolist() == [5, -1]


def test_a_wish_is_blended_with_the_history(shop):
    question = Queries.from_lists([[0]], texts=["green comb"])
    first = [
        TextKNN(encoder=HashEncoder(), wish_weight=weight).fit(shop).rank(question, 1).items[0, 0]
        for weight in (0.05, 0.95)
    ]
    assert first[0] in (1, 2)
    assert first[1] == 5


def test_without_a_wish_the_history_speaks_alone(shop):
    model = TextKNN(encoder=HashEncoder(), wish_weight=1.0).fit(shop)
    with_none, with_blank = (model.score(Queries.from_lists([[0]], texts=texts)) for texts in (None, [""]))
    np.testing.assert_array_equal(with_none, with_blank)
    assert np.isfinite(with_none[0, 1])


def test_contributions_add_up_to_the_score(model):
    history = np.array([0, 3, 0, 5], dtype=np.int32)
    scores = model.score(Queries.from_lists([history]))[0]
    for item in (1, 2):
        assert model.contributions(history, item).sum() == pytest.approx(scores[item], rel=1e-5)


def test_a_catalogue_without_texts_is_refused():
    data = Dataset.from_frames(pl.DataFrame({"user_id": ["a"], "item_id": ["x"]}))
    with pytest.raises(DataError, match="no item has a title"):
        TextKNN(encoder=HashEncoder()).fit(data)


def test_the_default_encoder_reads_wishes_after_loading():
    data = tiny_shop()
    model = TextKNN().fit(data)
    question = Queries.from_lists([[]], texts=["perfume"])
    loaded = TextKNN().attach(model.items, model.arrays())
    assert (model.rank(question, 5).items % 4 == 3).all()  # every fourth product is a perfume
    assert loaded.score(question).tobytes() == model.score(question).tobytes()


class TestTextKNN(RecommenderContract):
    def make(self):
        return TextKNN(encoder=HashEncoder())
