"""ALS and BPR: folding an unseen history in."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from tastemaker.data.dataset import Dataset
from tastemaker.data.queries import Queries
from tastemaker.errors import ConfigError
from tastemaker.testing import RecommenderContract, tiny_shop

pytest.importorskip("implicit")

from implicit.cpu.als import AlternatingLeastSquares

from tastemaker.models.collaborative.als import ALS
from tastemaker.models.collaborative.bpr import BPR

HISTORY = np.array([4, 2, 4, 7], dtype=np.int32)


def closed_form(factors, weights, reg, confidence):
    """x = (Y^T C Y + reg I)^-1 Y^T C p, literally (Hu et al., eq. 4)."""
    factors = factors.astype(np.float64)
    certain = np.where(weights > 0, confidence * weights, 1.0)
    system = factors.T @ np.diag(certain) @ factors + reg * np.eye(factors.shape[1])
    return np.linalg.solve(system, factors.T @ (certain * (weights > 0)))


@pytest.mark.parametrize("recency", [1.0, 0.6])
def test_als_folds_a_history_in_by_the_closed_form(recency):
    data = tiny_shop()
    model = ALS(dim=6, reg=0.5, confidence=10.0, recency=recency).fit(data)
    query = Queries.from_lists([HISTORY])
    weights = query.matrix(data.n_items, recency=recency).toarray()[0]
    wanted = model.factors @ closed_form(model.factors, weights, 0.5, 10.0)
    warm = data.popularity > 0
    np.testing.assert_allclose(model.score(query)[0, warm], wanted[warm], atol=1e-4)
    assert np.isneginf(model.score(query)[0, ~warm]).all()


def test_als_learns_what_implicit_learns_and_folds_in_alike():
    data = tiny_shop()
    matrix = csr_matrix(data.matrix())
    with threadpool_limits(1, user_api="blas"):
        reference = AlternatingLeastSquares(factors=6, regularization=0.5, alpha=10.0, random_state=5)
        reference.fit(matrix, show_progress=False)
    model = ALS(dim=6, reg=0.5, confidence=10.0, recency=1.0).fit(data, seed=5)
    warm = data.popularity > 0
    np.testing.assert_array_equal(model.factors[warm], reference.item_factors[warm])
    users = reference.recalculate_user(np.arange(data.n_users), matrix)
    found = model.score(data.queries())[:, warm]
    np.testing.assert_allclose(found, users @ reference.item_factors[warm].T, atol=1e-3)


def test_bpr_folds_a_history_in_by_the_discriminant():
    data = tiny_shop()
    model = BPR(dim=6, recency=0.5).fit(data)
    warm = np.flatnonzero(data.popularity > 0)
    known = model.factors[warm].astype(np.float64)
    spread = np.cov(known.T, bias=True)
    mean = np.average(model.factors[[2, 4, 7]], axis=0, weights=[0.25, 0.5, 1.0])
    direction = np.linalg.solve(spread + np.trace(spread) / 6 * np.eye(6), mean - known.mean(axis=0))
    found = model.score(Queries.from_lists([HISTORY]))[0]
    np.testing.assert_allclose(found[warm], known @ direction, rtol=1e-3, atol=1e-3)
    assert np.isneginf(np.delete(found, warm)).all()


@pytest.mark.parametrize("kind", [ALS, BPR])
def test_contributions_add_up_to_the_score(kind):
    data = tiny_shop()
    model = kind(dim=6).fit(data)
    scores = model.score(Queries.from_lists([HISTORY]))[0]
    for item in np.flatnonzero(np.isfinite(scores)):
        parts = model.contributions(HISTORY, int(item))
        assert parts[0] == 0, "a repeated item counts at its newest place"
        assert parts.sum() == pytest.approx(scores[item], rel=1e-2, abs=1e-3)


@pytest.mark.parametrize("kind", [ALS, BPR])
def test_a_history_of_items_that_nobody_has_gives_no_opinion(kind):
    data = tiny_shop()
    cold = int(np.flatnonzero(data.popularity == 0)[0])
    assert np.isneginf(kind(dim=6).fit(data).score(Queries.from_lists([[cold], []]))).all()


@pytest.mark.parametrize("kind", [ALS, BPR])
@pytest.mark.parametrize("n", [97, 301])
def test_an_answer_does_not_depend_on_the_batch(kind, n):
    data = tiny_shop(users=120, items=n)
    model = kind(dim=31, epochs=2).fit(data)
    queries = data.queries()
    scores = model.score(queries)
    for step in (1, 7, 64):
        parts = [queries.take(slice(start, start + step)) for start in range(0, len(queries), step)]
        np.testing.assert_array_equal(np.concatenate([model.score(part) for part in parts]), scores)


@pytest.mark.parametrize("kind", [ALS, BPR])
def test_a_shop_with_one_product_can_be_learnt(kind):
    data = Dataset.from_frames(pl.DataFrame({"user_id": ["a", "b"], "item_id": ["x", "x"]}))
    ranking = kind().fit(data).rank(data.queries(), 1, seen=True)
    assert ranking.items.tolist() == [[0], [0]]


@pytest.mark.parametrize(
    ("kind", "settings", "place"),
    [
        (ALS, {"reg": 0}, "als.reg"),
        (ALS, {"reg": 1e300}, "als.reg"),
        (ALS, {"confidence": 1e300}, "als.confidence"),
        (ALS, {"confidence": 1e-30}, "als.reg.*confidence"),
        (ALS, {"reg": 1e-9}, "als.reg"),
        (ALS, {"dim": 10**9}, "als.dim"),
        (BPR, {"dim": 10**9}, "bpr.dim"),
        (BPR, {"learning_rate": 1e30}, "bpr.learning_rate"),
        (BPR, {"reg": 20.0}, "bpr.learning_rate.*reg = 20"),
    ],
)
def test_settings_that_lead_nowhere_are_refused_by_name(kind, settings, place):
    data = tiny_shop()
    with pytest.raises(ConfigError, match=place):
        kind(**settings).fit(data).score(data.queries())


def test_als_reports_a_falling_loss():
    curve = ALS(dim=6, epochs=6).fit(tiny_shop()).report()["learning_curve"]
    assert [point["epoch"] for point in curve] == [1, 2, 3, 4, 5, 6]
    losses = [point["loss"] for point in curve]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


def test_bpr_reports_a_rising_share_of_ordered_pairs():
    curve = BPR(dim=6, epochs=60).fit(tiny_shop()).report()["learning_curve"]
    assert [point["epoch"] for point in curve] == list(range(1, 61))
    shares = [point["auc"] for point in curve]
    assert all(0 <= share <= 1 for share in shares)
    assert 0.3 < shares[0] < 0.7, "it begins at chance"
    assert np.mean(shares[-5:]) > 0.9


@pytest.mark.parametrize("kind", [ALS, BPR])
def test_a_loaded_model_has_no_learning_curve(kind):
    model = kind(dim=6, epochs=2).fit(tiny_shop())
    loaded = kind(dim=6, epochs=2).attach(model.items, model.arrays())
    assert loaded.report() == {"learning_curve": []}


class TestALS(RecommenderContract):
    def make(self):
        return ALS(dim=8)


class TestBPR(RecommenderContract):
    def make(self):
        return BPR(dim=8)
