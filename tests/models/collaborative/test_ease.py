"""EASE against the textbook formula, and its ways to take less memory."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from tastemaker import saved
from tastemaker.data.queries import Queries
from tastemaker.errors import DataError
from tastemaker.models.collaborative import ease
from tastemaker.models.collaborative.ease import EASE
from tastemaker.pipeline import Pipeline, Stage
from tastemaker.testing import RecommenderContract, tiny_shop


def textbook(matrix, reg):
    """B = I - P diag(P)^-1 (Steck 2019, eq. 8), literally."""
    dense = matrix.toarray().astype(np.float64)
    inverse = np.linalg.inv(dense.T @ dense + reg * np.eye(dense.shape[1]))
    return np.eye(len(inverse)) - inverse @ np.diag(1 / np.diag(inverse))


def test_it_is_the_textbook_formula_on_the_items_that_occur():
    data = tiny_shop(users=300)
    model = EASE(reg=7.0, recency=1.0).fit(data)
    warm = data.popularity > 0
    assert model.known.tolist() == np.flatnonzero(warm).tolist()
    wanted = textbook(data.matrix()[:, model.known], 7.0)
    np.testing.assert_allclose(model.weights, wanted, atol=1e-6)
    histories = Queries.from_lists([[0, 1], [5]])
    scores = model.score(histories)
    np.testing.assert_allclose(scores[:, warm], histories.matrix(40)[:, model.known] @ wanted, atol=1e-5)
    assert np.isneginf(scores[:, ~warm]).all()


@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize("block", [3, 1000])
def test_blocks_and_precisions_agree(monkeypatch, precision, block):
    monkeypatch.setattr(ease, "BLOCK", block)
    matrix = csr_array((np.random.default_rng(1).random((30, 10)) < 0.3).astype(np.float32))
    found = ease.coefficients(csr_array(matrix.T @ matrix), 2.0, np.dtype(precision))
    np.testing.assert_allclose(found, textbook(matrix, 2.0), atol=1e-5)


def test_a_tiny_reg_is_solved_in_double_precision(monkeypatch):
    asked = []
    monkeypatch.setattr(ease, "check_memory", lambda n, precision: asked.append(precision))
    for reg in (300.0, 1e-3):
        EASE(reg=reg).fit(tiny_shop())
    assert asked == [np.float32, np.float64]


def test_too_many_items_for_the_memory_are_refused(monkeypatch):
    monkeypatch.setattr(ease, "available_memory", lambda: 10_000)
    with pytest.raises(DataError, match=r"ease: \d+ items need .* item_knn"):
        EASE().fit(tiny_shop())


def test_kept_coefficients_are_the_largest():
    weights = np.array([[0, 3, -4, 1], [1, 0, 2, -3], [5, 1, 0, 0.5], [1, 2, 3, 0]], dtype=np.float32)
    found = ease.strongest(weights, 2).toarray()
    np.testing.assert_array_equal(found, [[0, 3, -4, 0], [0, 0, 2, -3], [5, 1, 0, 0], [0, 2, 3, 0]])


def test_of_equal_coefficients_the_lower_column_is_kept():
    found = ease.strongest(np.ones((300, 300), dtype=np.float32), 7)
    assert found.indices.reshape(300, 7).tolist() == [list(range(7))] * 300


def test_a_saved_pipeline_keeps_both_the_stage_and_the_coefficients(tmp_path):
    data = tiny_shop()
    pipeline = Pipeline([Stage(EASE(coefficients=6), keep=9)]).fit(data)
    saved.save_recommender(tmp_path / "model", pipeline)
    loaded = saved.load_recommender(tmp_path / "model")
    assert (loaded.stages[0].keep, loaded.stages[0].recommender.config.coefficients) == (9, 6)
    assert loaded.rank(data.queries(), 5).items.tobytes() == pipeline.rank(data.queries(), 5).items.tobytes()


@pytest.mark.parametrize("reg", [1e-15, 1e-300])
def test_a_reg_too_small_to_invert_is_refused(reg):
    with pytest.raises(DataError, match="use a larger reg"):
        EASE(reg=reg).fit(tiny_shop(users=20, items=60))


def test_keeping_everything_sparsely_changes_no_score():
    data = tiny_shop()
    dense, sparse = (EASE(coefficients=kept).fit(data).score(data.queries()) for kept in (0, 40))
    np.testing.assert_allclose(dense, sparse, atol=1e-6)


@pytest.mark.parametrize("coefficients", [0, 5])
def test_contributions_add_up_to_the_score(coefficients):
    data = tiny_shop()
    model = EASE(reg=5.0, coefficients=coefficients).fit(data)
    cold = int(np.flatnonzero(data.popularity == 0)[0])
    history = np.array([4, 2, cold, 4, 7], dtype=np.int32)
    scores = model.score(Queries.from_lists([history]))[0]
    for item in np.flatnonzero(np.isfinite(scores)):
        assert model.contributions(history, int(item)).sum() == pytest.approx(scores[item], abs=1e-5)
    assert not model.contributions(history, cold).any()


class TestEASE(RecommenderContract):
    def make(self):
        return EASE()


class TestSparseEASE(RecommenderContract):
    def make(self):
        return EASE(coefficients=10, reg=1.0)
