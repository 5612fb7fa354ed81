"""Coverage, Gini index and the curves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemaker import metrics
from tastemaker.metrics.catalogue import Catalogue
from tastemaker.metrics.exposure import exposure
from tastemaker.testing import tiny_shop

counts = st.lists(st.integers(0, 9), min_size=1, max_size=12).map(lambda found: np.array(found, dtype=np.int64))


def test_coverage_of_items_and_categories():
    data = tiny_shop()
    listed = np.array([[0, 4, -1], [4, 8, -1]], dtype=np.int32)
    assert metrics.coverage(listed, 40) == pytest.approx(3 / 40)
    assert metrics.category_coverage(listed, data.items) == pytest.approx(1 / 4)  # all three are soap


def test_gini_by_hand():
    """Listed 0, 1 and 3 times: |a - b| has the mean 12/9 over 9 ordered pairs, the counts 4/3: 12/9 / (2 * 4/3)."""
    assert metrics.gini(np.array([1, 3, 0])) == pytest.approx(1 / 2)
    assert metrics.gini(np.array([2, 2, 2])) == 0
    assert metrics.gini(np.array([0, 0, 0, 8])) == pytest.approx(3 / 4)
    assert np.isnan(metrics.gini(np.zeros(3, np.int64)))


@given(counts)
@settings(deadline=None)
def test_gini_is_half_the_relative_mean_difference(shown):
    differences = np.abs(shown[:, None] - shown[None, :]).mean()
    expected = differences / (2 * shown.mean()) if shown.any() else np.nan
    assert metrics.gini(shown) == pytest.approx(expected, nan_ok=True)


@given(counts)
@settings(deadline=None)
def test_the_area_under_the_lorenz_curve_is_the_gini_index(shown):
    curve = np.array(metrics.lorenz(shown))
    if not shown.any():
        assert not len(curve)
        return
    assert curve[0].tolist() == [0, 0]
    assert curve[-1] == pytest.approx([1, 1])
    area = np.trapezoid(curve[:, 1], curve[:, 0])
    assert 1 - 2 * area == pytest.approx(metrics.gini(shown))


def test_curves_have_at_most_101_points():
    rng = np.random.default_rng(0)
    curve = metrics.lorenz(rng.integers(0, 9, 5000))
    assert len(curve) == 101
    assert (np.diff(np.array(curve), axis=0) >= 0).all()
    wide = metrics.coverage_by_k(np.arange(600, dtype=np.int32).reshape(2, 300), 1000)
    assert len(wide) == 101
    assert wide[0] == [1, pytest.approx(2 / 1000)]
    assert wide[-1] == [300, pytest.approx(600 / 1000)]


@given(st.integers(0, 2**32))
@settings(deadline=None)
def test_every_k_sees_what_its_first_places_show(seed):
    """Coverage, categories, Gini and the coverage curve at each k against the lists cut there."""
    rng = np.random.default_rng(seed)
    data = tiny_shop()
    known = Catalogue.of(data)
    items = np.stack([rng.permutation(40)[:6] for _ in range(4)]).astype(np.int32)
    items[rng.random(4) < 0.5, 4:] = -1
    values, curve = exposure(items, known, (1, 3, 6)), dict(map(tuple, metrics.coverage_by_k(items, 40)))
    for k in (1, 3, 6):
        first = items[:, :k]
        shown = np.array([(first == item).sum() for item in range(40)])
        assert values[f"coverage@{k}"] == curve[k] == pytest.approx((shown > 0).sum() / 40)
        assert values[f"category_coverage@{k}"] == metrics.category_coverage(first, data.items)
        assert values[f"gini@{k}"] == pytest.approx(metrics.gini(shown))
