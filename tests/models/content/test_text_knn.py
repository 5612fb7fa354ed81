"""text_knn: histories and wishes against product texts."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tastemaker.data.dataset import Dataset
from tastemaker.data.entities import Entities
from tastemaker.data.queries import Queries
from tastemaker.encoders.tfidf import TfidfEncoder
from tastemaker.errors import DataError, NotFitted
from tastemaker.models.content.text_knn import TextKNN
from tastemaker.progress import silent
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


@pytest.mark.parametrize("n", [97, 301, 1001])
def test_equal_texts_tie_and_an_answer_does_not_depend_on_the_batch(n):
    rng = np.random.default_rng(n)
    titles = [" ".join(rng.choice(["red", "blue", "tea", "cup", "kettle", "steel", "hose"], 3)) for _ in range(40)]
    named = rng.integers(0, 40, n)
    items = pl.DataFrame({"item_id": [f"i{item:04}" for item in range(n)], "title": [titles[name] for name in named]})
    log = pl.DataFrame(
        {"user_id": np.repeat(np.arange(150), 3), "item_id": [f"i{i:04}" for i in rng.integers(0, n, 450)]}
    )
    data = Dataset.from_frames(log.cast({"user_id": pl.String}), items)
    wishes = [titles[row % 40] if row % 3 == 0 else "" for row in range(data.n_users)]
    queries = Queries.from_lists(list(data.queries()), texts=wishes)
    model = TextKNN().fit(data)
    scores, lists = model.score(queries), model.rank(queries, 10)
    assert max(len(np.unique(scores[row])) for row in range(len(queries))) <= 40, "equal texts, different scores"
    for step in (1, 7, 64):
        parts = [queries.take(slice(start, start + step)) for start in range(0, len(queries), step)]
        np.testing.assert_array_equal(np.concatenate([model.score(part) for part in parts]), scores)
        np.testing.assert_array_equal(np.concatenate([model.rank(part, 10).items for part in parts]), lists.items)


def test_products_with_equal_texts_have_equal_vectors_whatever_the_encoder_does():
    class Uneven(HashEncoder):  # rounds by the place in the batch, as neural encoders do
        def encode(self, texts, *, kind, progress=silent):
            vectors = super().encode(texts, kind=kind)
            return vectors * (1 + 1e-6 * np.arange(len(texts), dtype=np.float32))[:, None]

    items = pl.DataFrame({"item_id": ["x", "y", "z"], "title": ["tea", "cup", "tea"]})
    data = Dataset.from_frames(pl.DataFrame({"user_id": ["a"], "item_id": ["y"]}), items)
    vectors = TextKNN(encoder=Uneven()).fit(data).vectors
    x, z = data.items.numbers(["x", "z"])
    np.testing.assert_array_equal(vectors[x], vectors[z])


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


def test_another_shop_is_read_with_the_vocabulary_of_the_first(shop):
    """The encoder stays as it was fitted: a word that the first shop never used says nothing."""
    model = TextKNN(encoder=TfidfEncoder(analyzer="word", ngrams=(1, 1))).fit(shop)
    before = model.encoder.identity()
    titles = ["soap red zebra", "zebra crossing", "perfume blue", "comb green"]
    other = Entities(pl.DataFrame({"id": ["x", "y", "z", "w"], "title": titles}))
    model.transfer(other)
    assert model.items is other
    assert model.encoder.identity() == before
    assert model.known.tolist() == [True, False, True, True]
    same = model.encoder.encode(["red soap"], kind="document")
    np.testing.assert_allclose(model.vectors[:1], same, atol=1e-5)
    loaded = TextKNN(encoder=TfidfEncoder(analyzer="word", ngrams=(1, 1))).attach(other, model.arrays())
    question = Queries.from_lists([[2], [0]], texts=["", "green comb"])
    assert loaded.score(question).tobytes() == model.score(question).tobytes()


def test_a_catalogue_without_texts_is_refused_and_nothing_changes(shop, model):
    with pytest.raises(DataError, match="no item has a title"):
        model.transfer(Entities.from_ids(["x"]))
    assert model.items == shop.items
    with pytest.raises(NotFitted, match="text_knn: not fitted"):
        TextKNN().transfer(shop.items)


class TestTextKNN(RecommenderContract):
    def make(self):
        return TextKNN(encoder=HashEncoder())
