"""ALS and BPR: folding an unseen history in."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from tastemaker.data.queries import Queries
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


class TestALS(RecommenderContract):
    def make(self):
        return ALS(dim=8)


class TestBPR(RecommenderContract):
    def make(self):
        return BPR(dim=8)
