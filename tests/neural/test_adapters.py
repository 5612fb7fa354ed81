"""Adapters: each starts as a given map, and does what sets it apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tastemaker.neural.blocks import initialise
from tastemaker.neural.inputs.adapters import MLP, Codes, Experts, Linear, Projection, projection, regression

WIDTH, DIM = 12, 5
KINDS = {
    "linear": lambda: Linear(WIDTH, DIM),
    "mlp": lambda: MLP(WIDTH, DIM),
    "experts": lambda: Experts(WIDTH, DIM, experts=3),
    "projection": lambda: Projection(WIDTH, DIM),
    "codes": lambda: Codes(WIDTH, DIM, blocks=4, codes=64),
}


def texts(n=64, seed=0, width=WIDTH):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def made(name, rows):
    adapter = KINDS[name]()
    adapter.fit(rows.numpy())
    initialise(adapter, generator=torch.Generator().manual_seed(0))
    return adapter


@pytest.mark.parametrize("name", KINDS)
def test_an_adapter_starts_as_the_given_matrix(name):
    """With as many codes as texts, quantisation is exact, so this holds for codes too."""
    rows, matrix = texts(), texts(WIDTH, seed=1, width=DIM)
    adapter = made(name, rows)
    adapter.start(matrix)
    torch.testing.assert_close(adapter(adapter.prepare(rows)), rows @ matrix, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", KINDS)
def test_all_but_the_projection_learn(name):
    rows = texts()
    adapter = made(name, rows)
    adapter.start(texts(WIDTH, seed=1, width=DIM))
    goal, prepared = texts(seed=2, width=DIM), adapter.prepare(rows)
    before = (adapter(prepared) - goal).square().mean()
    parameters = list(adapter.parameters())
    assert bool(parameters) == (name != "projection")
    if parameters:
        optimiser = torch.optim.Adam(parameters, lr=0.05)
        for _ in range(50):
            optimiser.zero_grad()
            (adapter(prepared) - goal).square().mean().backward()
            optimiser.step()
        assert (adapter(prepared) - goal).square().mean() < 0.8 * before
        assert all(one.grad is not None for one in parameters)


def test_the_bend_of_an_mlp_grows_from_nothing():
    rows = texts()
    adapter = made("mlp", rows)
    adapter.start(texts(WIDTH, seed=1, width=DIM))
    adapter(rows).square().mean().backward()
    assert adapter.narrow.weight.grad.any()
    assert not adapter.wide.weight.grad.any()  # until `narrow` is no longer zero


def test_the_gate_of_experts_shares_out_one_and_is_noisy_in_training_alone():
    rows = texts()
    adapter = made("experts", rows)
    for mode in (True, False):
        adapter.train(mode)
        shares = adapter.shares(rows)
        assert shares.shape == (64, 3)
        assert (shares > 0).all()
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(64))
        assert torch.equal(adapter.shares(rows), adapter.shares(rows)) != mode


def test_experts_are_mixed_by_their_shares():
    rows = texts()
    adapter = made("experts", rows).eval()
    each = [rows @ adapter.experts.weight[k * DIM : (k + 1) * DIM].t() for k in range(3)]
    mixed = sum(adapter.shares(rows)[:, k, None] * each[k] for k in range(3))
    torch.testing.assert_close(adapter(rows), mixed)


def test_codes_are_the_nearest_centroids_of_each_block():
    rows, new = texts(), texts(30, seed=5)
    adapter = Codes(WIDTH, DIM, blocks=4, codes=8)
    adapter.fit(rows.numpy())
    codes = adapter.prepare(new) - torch.arange(4) * 8
    assert ((codes >= 0) & (codes < 8)).all()
    for block in range(4):
        parts = new[:, adapter.order[block]].numpy()
        gaps = ((parts[:, None] - adapter.centroids[block].numpy()[None]) ** 2).sum(axis=2)
        assert np.array_equal(gaps.argmin(axis=1), codes[:, block].numpy())
    assert len(codes.unique(dim=0)) > 20


def test_blocks_get_all_columns_once_and_about_equal_variance():
    rows = texts(500) * 2.0 ** -torch.arange(WIDTH)
    adapter = Codes(WIDTH, DIM, blocks=3, codes=4)
    adapter.fit(rows.numpy())
    assert sorted(adapter.order.flatten().tolist()) == list(range(WIDTH))
    assert {int(block.argmin()) for block in adapter.order} == {0}  # the widest columns stand in different blocks
    assert sorted(adapter.order[:, 0].tolist()) == [0, 1, 2]


def test_blocks_that_columns_do_not_fill_and_more_codes_than_texts():
    rows = texts(3, width=7)
    adapter = Codes(7, DIM, blocks=3, codes=16)
    adapter.fit(rows.numpy())
    matrix = texts(7, seed=1, width=DIM)
    adapter.start(matrix)
    torch.testing.assert_close(adapter(adapter.prepare(rows)), rows @ matrix, atol=1e-4, rtol=1e-4)


def test_the_same_texts_give_the_same_codebook():
    one, two = (Codes(WIDTH, DIM, blocks=4, codes=8) for _ in range(2))
    for adapter in (one, two):
        adapter.fit(texts(300).numpy())
    assert torch.equal(one.centroids, two.centroids)
    assert torch.equal(one.order, two.order)


def test_the_projection_keeps_what_lies_in_its_directions():
    rows = texts(50, width=3) @ texts(3, seed=1)  # rank 3 in 12 numbers
    matrix = projection(rows, DIM)
    assert matrix.shape == (WIDTH, DIM)
    torch.testing.assert_close(matrix.t() @ matrix, torch.eye(DIM), atol=1e-5, rtol=0)
    shown = rows @ matrix
    torch.testing.assert_close(shown @ shown.t(), rows @ rows.t(), atol=1e-3, rtol=1e-4)
    assert projection(rows[:, :2], DIM).shape == (2, DIM)


def test_regression_against_the_normal_equations():
    rows, goal = texts(200), texts(200, seed=3, width=DIM)
    x, y = rows.double().numpy(), goal.double().numpy()
    penalty = 0.3 * np.square(x).sum(axis=0).mean()
    expected = np.linalg.lstsq(
        np.concatenate([x, np.sqrt(penalty) * np.eye(WIDTH)]), np.concatenate([y, np.zeros((WIDTH, DIM))]), rcond=None
    )[0]
    np.testing.assert_allclose(regression(rows, goal, ridge=0.3), expected, atol=1e-6)
