"""User-based and item-based collaborative filtering: the survey's worked table, oracles, and the text-enriched form."""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from tastemaker.data.dataset import Dataset
from tastemaker.data.filters import compact
from tastemaker.data.queries import Queries
from tastemaker.encoders.base import Encoder
from tastemaker.errors import ConfigError, DataError
from tastemaker.models.collaborative.item_knn import ItemKNN
from tastemaker.models.collaborative.user_knn import UserKNN
from tastemaker.testing import HashEncoder, RecommenderContract, tiny_shop

T = ["t1", "t2", "t3", "t4", "t5"]
RATINGS = {
    "A": {"t1": 3.0, "t2": 4.0, "t4": 3.5},
    "B": {"t1": 4.0, "t3": 4.5, "t5": 3.5},
    "C": {"t2": 3.5, "t5": 3.0},
    "D": {"t2": 4.0, "t4": 3.5, "t5": 3.0},
}
C, T4 = np.array([2], np.int32), np.array([3], np.int32)


class Untouchable(Encoder):
    name = "untouchable"

    def fit(self, texts):
        raise AssertionError("the encoder was used")

    def encode(self, texts, *, kind, progress=None):
        raise AssertionError("the encoder was used")


@pytest.fixture
def table():
    """The worked table of arXiv 2403.02760."""
    rows = [(user, item, rating) for user, given in RATINGS.items() for item, rating in given.items()]
    log = pl.DataFrame(rows, schema=["user_id", "item_id", "rating"], orient="row")
    return Dataset.from_frames(log, pl.DataFrame({"item_id": T}))


def ratings_of(data):
    return {
        (u, i): v for u, i, v in data.log.unique(["user", "item"], keep="last").select("user", "item", "value").rows()
    }


def test_user_cosines_of_the_worked_table(table):
    model = UserKNN(feedback="ratings").fit(table)
    found = model._similarity_rows(np.arange(4, dtype=np.int32))
    wanted = {(0, 1): 0.2823, (0, 2): 0.4976, (0, 3): 0.7584, (1, 2): 0.3271, (1, 3): 0.2470, (2, 3): 0.8175}
    assert {pair: round(float(found[pair]), 4) for pair in wanted} == wanted


def test_item_cosines_of_the_worked_table(table):
    model = ItemKNN(similarity="cosine", feedback="ratings", shrinkage=0).fit(table)
    found = model.table.toarray()
    wanted = [
        [0, 0.3608, 0.8000, 0.4243, 0.5091],
        [0.3608, 0, 0, 0.8504, 0.6150],
        [0.8000, 0, 0, 0, 0.6364],
        [0.4243, 0.8504, 0, 0, 0.3857],
        [0.5091, 0.6150, 0.6364, 0.3857, 0],
    ]
    np.testing.assert_allclose(found, wanted, atol=5e-5)


def test_cooccurrence_counts_of_the_worked_table(table):
    found = ItemKNN(similarity="cooccurrence", shrinkage=0).fit(table).table.toarray()
    wanted = [[0, 1, 1, 1, 1], [1, 0, 0, 2, 2], [1, 0, 0, 0, 1], [1, 2, 0, 0, 1], [1, 2, 1, 1, 0]]
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("kind", ["cosine", "pearson"])
def test_user_based_prediction_of_the_worked_table(table, kind):
    """Both raters of t4 gave exactly their own mean, so C gets his own; zeros counted as ratings would give 1.9432."""
    model = UserKNN(similarity=kind, feedback="ratings", neighbours=3).fit(table)
    assert model.predict(C, T4)[0] == pytest.approx(3.25)


def test_item_based_prediction_of_the_worked_table(table):
    model = ItemKNN(similarity="cosine", feedback="ratings", shrinkage=0).fit(table)
    assert model.predict(C, T4)[0] == pytest.approx(3.3440, abs=5e-5)


def test_a_zero_denominator_is_no_similarity(table):
    """t4 was rated exactly at the mean by everyone, so its adjusted cosine is 0 / 0; the prediction is its mean."""
    model = ItemKNN(similarity="adjusted-cosine", feedback="ratings", shrinkage=0).fit(table)
    assert model._similarity_rows(T4).tolist() == [[0.0] * 5]
    predictions, known = model.predict_over(C, T4, (1, 3))
    assert predictions.tolist() == [[3.5], [3.5]]
    assert not known.any()


def tie_at_the_border(weights, k):
    """Whether the k-th and the next neighbour are equally near, so that rounding decides who is in."""
    return len(weights) > k and weights[k] - weights[k - 1] < 1e-6


def slow_user_prediction(data, user, item, k):
    """Cosine of whole rows and the bias-adjusted mean, with dictionaries."""
    rows = {}
    for (u, i), value in ratings_of(data).items():
        rows.setdefault(u, {})[i] = value
    mean = {u: sum(row.values()) / len(row) for u, row in rows.items()}
    length = {u: sum(v * v for v in row.values()) ** 0.5 for u, row in rows.items()}
    near = []
    for other, row in rows.items():
        if other != user and item in row:
            weight = sum(v * row.get(i, 0) for i, v in rows[user].items()) / length[user] / length[other]
            if weight > 0:
                near.append((-weight, other))
    near = sorted(near)
    if not near:
        return mean[user]
    if tie_at_the_border([weight for weight, _ in near], k):
        return None
    shift = sum(-w * (rows[u][item] - mean[u]) for w, u in near[:k]) / sum(-w for w, _ in near[:k])
    return min(max(mean[user] + shift, 1.0), 5.0)


def slow_item_prediction(data, user, item, k):
    """Adjusted cosine over shared users and the weighted mean, with dictionaries."""
    columns, given = {}, {}
    for (u, i), value in ratings_of(data).items():
        given.setdefault(u, {})[i] = value
    mean = {u: sum(row.values()) / len(row) for u, row in given.items()}
    for u, row in given.items():
        for i, value in row.items():
            columns.setdefault(i, {})[u] = value - mean[u]
    near = []
    for other, value in given[user].items():
        both = columns.get(item, {}).keys() & columns[other].keys()
        product = sum(columns[item][u] * columns[other][u] for u in both)
        a, b = (sum(columns[i][u] ** 2 for u in both) for i in (item, other))
        if other != item and a > 1e-12 and b > 1e-12 and product > 1e-9:
            near.append((-product / (a * b) ** 0.5, other, value))
    near = sorted(near)
    if not near:
        raters = [row[item] for row in given.values() if item in row]
        return sum(raters) / len(raters) if raters else mean[user]
    if tie_at_the_border([weight for weight, _, _ in near], k):
        return None
    return sum(-w * v for w, _, v in near[:k]) / sum(-w for w, _, _ in near[:k])


@given(seed=st.integers(0, 10_000), k=st.integers(1, 12))
@example(seed=725, k=1)  # an adjusted cosine of exactly 0, which single precision makes 7e-8
@settings(max_examples=10, deadline=None)
def test_predictions_are_what_the_slow_versions_say(seed, k):
    data = tiny_shop(users=25, items=15, seed=seed)
    users = np.repeat(np.arange(data.n_users), data.n_items).astype(np.int32)
    items = np.tile(np.arange(data.n_items), data.n_users).astype(np.int32)
    pairs = list(zip(users.tolist(), items.tolist(), strict=True))
    models = {
        slow_user_prediction: UserKNN(feedback="ratings", neighbours=k),
        slow_item_prediction: ItemKNN(similarity="adjusted-cosine", feedback="ratings", neighbours=k, shrinkage=0),
    }
    for slow, model in models.items():
        wanted = [slow(data, *pair, k) for pair in pairs]
        clear = np.array([value is not None for value in wanted])
        assert clear.mean() > 0.5
        found = model.fit(data).predict(users, items)
        np.testing.assert_allclose(found[clear], np.array(wanted)[clear].astype(float), atol=1e-4)


def test_several_k_at_once_are_what_each_k_gives_alone():
    data = tiny_shop()
    users, items = np.arange(60, dtype=np.int32), np.arange(60, dtype=np.int32) % 40
    together, _ = UserKNN(feedback="ratings").fit(data).predict_over(users, items, (1, 5, 20))
    for row, k in zip(together, (1, 5, 20), strict=True):
        np.testing.assert_array_equal(row, UserKNN(feedback="ratings", neighbours=k).fit(data).predict(users, items))


def slow_user_scores(data, history, k, *, without=None):
    rows = [set(data.matrix()[[user]].indices.tolist()) for user in range(data.n_users)]
    near = []
    for user, row in enumerate(rows):
        shared = len(row & set(history))
        if shared and user != without:
            near.append((-shared / (len(row) * len(set(history))) ** 0.5, user))
    scores = np.zeros(data.n_items)
    for weight, user in sorted(near)[:k]:
        scores[list(rows[user])] -= weight
    return scores


def test_user_based_scores_are_the_neighbours_votes():
    data = tiny_shop()
    model = UserKNN(neighbours=200, recency=1.0).fit(data)
    for history in ([3], [0, 2, 5], [1, 1, 4]):
        found = model.sparse_scores(Queries.from_lists([history])).toarray()[0]
        np.testing.assert_allclose(found, slow_user_scores(data, history, 200), rtol=1e-5)


def test_a_named_user_is_not_his_own_neighbour():
    data = tiny_shop()
    model = UserKNN(neighbours=200, recency=1.0).fit(data)
    known = data.queries().take([7])
    found = model.sparse_scores(known).toarray()[0]
    history = known.history(0).tolist()
    np.testing.assert_allclose(found, slow_user_scores(data, history, 200, without=7), rtol=1e-5, atol=1e-7)
    unnamed = Queries(known.offsets, known.items)
    assert (model.sparse_scores(unnamed).toarray()[0][history] > found[history]).all()


def test_a_named_user_is_asked_with_his_own_ratings(table):
    """Fitted on ratings, C's history has the similarities of C's row; a stranger with the same items has the means."""
    model = UserKNN(feedback="ratings", recency=1.0).fit(table)
    own, strange = (model._histories(Queries.from_lists([[1, 4]], users=np.array([u], np.int32))) for u in (2, -1))
    np.testing.assert_allclose(own.toarray(), [[0, 3.5, 0, 0, 3.0]])
    np.testing.assert_allclose(strange.toarray(), [[0, 11.5 / 3, 0, 0, 9.5 / 3]])


@pytest.mark.parametrize("kind", [ItemKNN, UserKNN])
@pytest.mark.parametrize("feedback", ["implicit", "ratings"])
def test_alpha_one_is_the_plain_form_bit_for_bit_and_needs_no_encoder(kind, feedback):
    data = tiny_shop()
    plain = kind(similarity="cosine", feedback=feedback).fit(data)
    enriched = kind(similarity="cosine", feedback=feedback, alpha=1.0, encoder=Untouchable()).fit(data)
    assert plain.arrays().keys() == enriched.arrays().keys()
    for name, array in plain.arrays().items():
        assert array.tobytes() == enriched.arrays()[name].tobytes()
    queries = data.queries()
    assert plain.rank(queries, 9).scores.tobytes() == enriched.rank(queries, 9).scores.tobytes()


@pytest.mark.parametrize("kind", [ItemKNN, UserKNN])
def test_similarities_are_blended(kind):
    data = tiny_shop()
    rows = np.arange(20, dtype=np.int32)
    parts = [
        kind(similarity="cosine", feedback="ratings", alpha=alpha, encoder=HashEncoder())
        .fit(data)
        ._similarity_rows(rows)
        for alpha in (1.0, 0.0, 0.3)
    ]
    np.testing.assert_allclose(parts[2], 0.3 * parts[0] + 0.7 * parts[1], atol=1e-6)
    assert np.abs(parts[0] - parts[1]).max() > 0.1


def test_texts_reach_items_that_nobody_has_bought():
    data = tiny_shop()
    cold = np.flatnonzero(data.popularity == 0)
    queries = Queries.from_lists([[5]])
    plain, enriched = (ItemKNN(alpha=a, encoder=HashEncoder()).fit(data) for a in (1.0, 0.5))
    assert not np.isin(plain.rank(queries, 40).items, cold).any()
    assert np.isin(enriched.rank(queries, 40).items, cold).any()
    assert (plain.ranks_cold_items, enriched.ranks_cold_items) == (False, True)


@pytest.mark.parametrize("kind", [ItemKNN, UserKNN])
def test_old_interactions_count_less(kind):
    log = pl.DataFrame(
        {
            "user_id": ["a", "a", "b", "b", "c"],
            "item_id": ["x", "old", "x", "new", "x"],
            "timestamp": [100 * 86_400, 0, 100 * 86_400, 100 * 86_400, 100 * 86_400],
        }
    )
    data = Dataset.from_frames(log)
    settings = {"similarity": "cosine" if kind is UserKNN else "cooccurrence", "shrinkage": 0.0}
    alike, decayed = (kind(half_life_days=days, **settings).fit(data) for days in (None, 10.0))
    question = Queries.from_lists([data.items.numbers(["x"])])
    new, old = data.items.numbers(["new", "old"])
    even = alike.score(question)[0]
    assert even[new] == pytest.approx(even[old])
    scores = decayed.score(question)[0]
    assert scores[new] > 10 * scores[old]


@pytest.mark.parametrize("kind", [ItemKNN, UserKNN])
def test_a_half_life_needs_times(kind):
    data = Dataset.from_frames(pl.DataFrame({"user_id": ["a", "b"], "item_id": ["x", "x"]}))
    with pytest.raises(DataError, match="half_life_days"):
        kind(half_life_days=3).fit(data)


@pytest.mark.parametrize("kind", [ItemKNN, UserKNN])
def test_ratings_are_not_predicted_from_implicit_feedback(kind):
    with pytest.raises(ConfigError, match="feedback = 'ratings'"):
        kind().fit(tiny_shop()).predict(C, T4)


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigError, match=r"adjusted-cosine.*feedback = 'ratings'"):
        ItemKNN(similarity="adjusted-cosine")
    with pytest.raises(ConfigError, match="'bm25' is no cosine"):
        ItemKNN(similarity="bm25", alpha=0.5)


@pytest.mark.parametrize("kind", [ItemKNN, UserKNN])
def test_with_texts_an_answer_does_not_depend_on_the_batch(kind):
    data = tiny_shop(users=130, items=97)
    queries = data.queries()
    model = kind(alpha=0.4, neighbours=5, encoder=HashEncoder()).fit(data)
    scores = model.score(queries)
    for step in (1, 7, 64):
        parts = [queries.take(slice(start, start + step)) for start in range(0, len(queries), step)]
        np.testing.assert_array_equal(np.concatenate([model.score(part) for part in parts]), scores)


def test_contributions_add_up_to_the_score():
    data = tiny_shop()
    model = ItemKNN().fit(data)
    history = np.array([4, 2, 4, 7], dtype=np.int32)
    scores = model.sparse_scores(Queries.from_lists([history])).toarray()[0]
    for item in range(data.n_items):
        assert model.contributions(history, item).sum() == pytest.approx(scores[item], rel=1e-5)


@pytest.mark.parametrize(("similarity", "theirs"), [("cosine", "Cosine"), ("tfidf", "TFIDF"), ("bm25", "BM25")])
def test_the_table_is_that_of_implicit(similarity, theirs):
    """implicit counts an item among its own K neighbours; here that counts for the share of buyers who come back."""
    nearest_neighbours = pytest.importorskip("implicit.nearest_neighbours")
    data = compact(tiny_shop(users=200, items=60, seed=4))  # implicit divides by zero for items that nobody has
    reference = getattr(nearest_neighbours, f"{theirs}Recommender")(K=60)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Method expects CSR input")  # implicit's own conversions
        reference.fit(csr_matrix(data.matrix()), show_progress=False)
    wanted = reference.similarity.toarray()
    times = data.log.group_by("user", "item").len()
    again = [(times.filter(pl.col("item") == item)["len"] > 1).mean() for item in range(data.n_items)]
    assert any(again)
    np.fill_diagonal(wanted, wanted.diagonal() * again)
    found = ItemKNN(similarity=similarity, neighbours=60, shrinkage=0).fit(data)
    np.testing.assert_allclose(found.table.toarray(), wanted, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_what_is_bought_again_is_listed_again(alpha):
    """Everybody buys milk again and again, and nobody buys a second pan."""
    log = [(user, item) for user in "abcdef" for item in ("milk", "pan", "milk", "salt", "milk")]
    items = pl.DataFrame({"item_id": ["milk", "pan", "salt", "rug"], "title": ["milk", "pan", "salt", "rug"]})
    data = Dataset.from_frames(pl.DataFrame(log, schema=["user_id", "item_id"], orient="row"), items)
    model = ItemKNN(similarity="cosine", alpha=alpha, encoder=HashEncoder()).fit(data)
    asked = Queries.from_lists([[0], [1]])
    assert model.rank(asked, 1, seen=True).items[0, 0] == 0
    assert model.rank(asked, 1).items[0, 0] in (1, 2)
    assert 1 not in model.rank(asked, 2, seen=True).items[1]


class TestItemKNN(RecommenderContract):
    def make(self):
        return ItemKNN()


class TestTextItemKNN(RecommenderContract):
    def make(self):
        return ItemKNN(alpha=0.5, encoder=HashEncoder())


class TestRatingItemKNN(RecommenderContract):
    finds_the_held_out_item = False  # the checkerboard has no ratings

    def make(self):
        return ItemKNN(similarity="adjusted-cosine", feedback="ratings", shrinkage=0, alpha=0.7, encoder=HashEncoder())


class TestUserKNN(RecommenderContract):
    def make(self):
        return UserKNN()


class TestPearsonUserKNN(RecommenderContract):
    def make(self):
        return UserKNN(similarity="pearson")


class TestRatingUserKNN(RecommenderContract):
    finds_the_held_out_item = False  # the checkerboard has no ratings

    def make(self):
        return UserKNN(similarity="pearson", feedback="ratings", alpha=0.7, half_life_days=5, encoder=HashEncoder())
