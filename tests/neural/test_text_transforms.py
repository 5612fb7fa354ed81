"""Whitening and principal directions, by hand and by their defining property."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tastemaker.errors import ConfigError
from tastemaker.neural.inputs.text_transforms import TextTransform


def texts(n=400, t=6, seed=0):
    """Vectors in a narrow cone, with directions of very different width."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, t)) * 2.0 ** -np.arange(t) @ np.linalg.qr(rng.normal(size=(t, t)))[0]
    return (mixed + 3).astype(np.float32)


def fitted(rows, kind, **settings):
    transform = TextTransform(rows.shape[1], kind, **settings)
    transform.fit(rows)
    return transform


def moved(transform, rows):
    """What comes out before rows are scaled to length 1."""
    return (torch.from_numpy(rows) - transform.mean) @ transform.matrix


def test_whitened_texts_have_the_identity_as_covariance():
    rows = texts()
    white = moved(fitted(rows, "whiten", shrinkage=0.0), rows).double().numpy()
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(white.T @ white / len(white), np.eye(6), atol=1e-3)


def test_zca_whitens_and_stays_as_near_as_whitening_can():
    """Of all whitenings it moves the texts least, so that numbers keep their meaning."""
    rows = texts()
    plain, turned_back = (fitted(rows, kind, shrinkage=0.0) for kind in ("whiten", "zca"))
    assert not turned_back.ordered
    white = moved(turned_back, rows).double().numpy()
    np.testing.assert_allclose(white.T @ white / len(white), np.eye(6), atol=1e-3)
    np.testing.assert_allclose(turned_back.matrix, turned_back.matrix.T, atol=1e-3)
    centred = rows - rows.mean(axis=0)
    assert np.square(white - centred).sum() < np.square(moved(plain, rows).numpy() - centred).sum()
    found = [transform(torch.from_numpy(rows)) for transform in (plain, turned_back)]
    np.testing.assert_allclose(found[0] @ found[0].T, found[1] @ found[1].T, atol=1e-4)  # the same cosines


def test_texts_of_another_catalogue_are_centred_on_their_own_mean():
    """Two catalogues that differ by a shift look the same; the directions stay those of the first."""
    rows, shift = texts(), np.array([1, -2, 0, 0.5, 0, 3], dtype=np.float32)
    transform = fitted(rows, "whiten")
    matrix, before = transform.matrix.clone(), transform(torch.from_numpy(rows))
    assert (transform(torch.from_numpy(rows + shift)) - before).abs().max() > 0.5
    transform.recentre(rows + shift)
    np.testing.assert_allclose(transform(torch.from_numpy(rows + shift)), before, atol=1e-3)
    np.testing.assert_array_equal(transform.matrix, matrix)
    none = fitted(rows, "none")
    none.recentre(rows + shift)
    assert not none.mean.any()


def test_four_texts_by_hand():
    """Deviations 2 and 1 about (5, 5): whitening makes a square of the rectangle."""
    rows = np.array([[7, 6], [7, 4], [3, 6], [3, 4]], dtype=np.float32)
    transform = fitted(rows, "whiten", shrinkage=0.0)
    np.testing.assert_allclose(transform.mean, [5, 5])
    np.testing.assert_allclose(transform.matrix, [[0.5, 0], [0, 1]], atol=1e-6)
    found = transform(torch.from_numpy(rows))
    np.testing.assert_allclose(found, np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) / np.sqrt(2), atol=1e-6)


def test_shrinkage_adds_the_mean_variance_by_hand():
    """Variances 4 and 1, mean 2.5: half of each and half of the mean are 3.25 and 1.75."""
    rows = np.array([[7, 6], [7, 4], [3, 6], [3, 4]], dtype=np.float32)
    matrix = fitted(rows, "whiten", shrinkage=0.5).matrix
    np.testing.assert_allclose(matrix, np.diag([3.25**-0.5, 1.75**-0.5]), atol=1e-6)


def test_groups_whiten_blocks_and_leave_what_is_between_them():
    rows = texts()
    white = moved(fitted(rows, "whiten", groups=2, shrinkage=0.0), rows).double().numpy()
    covariance = white.T @ white / len(white)
    for block in (slice(0, 3), slice(3, 6)):
        np.testing.assert_allclose(covariance[block, block], np.eye(3), atol=1e-3)
    assert np.abs(covariance[:3, 3:]).max() > 0.1


def test_pca_turns_and_keeps_the_widest_directions():
    rows = texts()
    whole = moved(fitted(rows, "pca"), rows)
    centred = torch.from_numpy(rows - rows.mean(axis=0))
    np.testing.assert_allclose(whole @ whole.t(), centred @ centred.t(), atol=1e-3)
    widths = whole.var(dim=0)
    assert (widths.diff() < 0).all()
    np.testing.assert_allclose(moved(fitted(rows, "pca", dim=2), rows), whole[:, :2], atol=1e-5)


@pytest.mark.parametrize("kind", ["none", "pca", "whiten"])
def test_rows_have_length_one_and_products_without_text_stay_zero_and_do_not_count(kind):
    rows = texts()
    gaps = np.concatenate([rows, np.zeros((300, 6), dtype=np.float32)])
    with_gaps, without = fitted(gaps, kind), fitted(rows, kind)
    for name, value in without.state_dict().items():
        assert torch.equal(value, with_gaps.state_dict()[name])
    found = with_gaps(torch.from_numpy(gaps))
    np.testing.assert_allclose(found[:400].norm(dim=1), 1, atol=1e-5)
    assert not found[400:].any()


@pytest.mark.parametrize("kind", ["none", "pca", "whiten"])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_fewer_texts_than_numbers_are_no_trouble(kind, n):
    rows = texts(n, t=16)
    transform = fitted(rows, kind)
    for asked in (rows, texts(50, t=16, seed=1)):
        found = transform(torch.from_numpy(asked))
        assert torch.isfinite(found).all()
        np.testing.assert_allclose(found.norm(dim=1), 1, atol=1e-5)


@pytest.mark.parametrize("kind", ["none", "pca", "whiten"])
def test_equal_texts_stay_equal_and_no_texts_at_all_are_accepted(kind):
    rows = np.repeat(texts(1), 7, axis=0)
    found = fitted(rows, kind)(torch.from_numpy(rows))
    assert torch.equal(found, found[:1].expand(7, -1))
    np.testing.assert_allclose(found.norm(dim=1), 1, atol=1e-5)
    nothing = np.zeros((4, 6), dtype=np.float32)
    assert not fitted(nothing, kind)(torch.from_numpy(nothing)).any()


def test_few_texts_are_whitened_carefully():
    """Five texts tell nothing of 60 directions: what lies in them must not outweigh what is known."""
    spans = []
    for shrinkage in (None, 0.001):
        scales = fitted(texts(5, t=64), "whiten", shrinkage=shrinkage).matrix.norm(dim=0)
        spans.append(scales.max() / scales.min())
    assert spans[0] < 0.2 * spans[1]


def test_more_groups_than_numbers_are_refused():
    with pytest.raises(ConfigError, match="text_groups = 7: a text vector has only 6 numbers; set at most 6"):
        TextTransform(6, "whiten", groups=7)
    assert np.isfinite(moved(fitted(texts(), "whiten", groups=6), texts()).numpy()).all()
