"""Shopper texts as features: without effect at first, learnt, and no trouble for who has none."""

from __future__ import annotations

import numpy as np
import torch

from tastemaker.neural.blocks import initialise
from tastemaker.neural.inputs.user_inputs import UserTexts


def texts(n=30, t=8):
    """Unit vectors; every third shopper has no text."""
    rows = np.random.default_rng(0).normal(size=(n, t)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[::3] = 0
    return rows


def made(**settings):
    users = UserTexts(8, 4, **settings)
    users.fit(texts())
    initialise(users, generator=torch.Generator().manual_seed(0))
    users.start()
    return users


def taught(users, goal):
    optimiser = torch.optim.Adam(users.parameters(), lr=0.05)
    for _ in range(200):
        optimiser.zero_grad()
        (users(torch.from_numpy(texts())) - goal).square().mean().backward()
        optimiser.step()
    return users


def test_it_begins_without_effect_and_learns_one():
    users, asked = made(left_out=0.0), torch.from_numpy(texts())
    assert not users(asked).any()
    goal = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))
    found = taught(users, goal)(asked)
    told = asked.any(dim=1)
    assert (found - goal)[told].square().mean() < 0.8 * goal[told].square().mean()
    assert not found[~told].any()  # whatever was learnt, nothing is added for who has no text


def test_shoppers_are_left_out_in_training_alone():
    users = made(left_out=0.5)
    torch.nn.init.ones_(users.map.bias)
    many = torch.from_numpy(np.repeat(texts()[1:2], 400, axis=0))
    torch.manual_seed(0)
    assert 150 < (users(many) == 0).all(dim=1).sum() < 250
    assert users.eval()(many).any(dim=1).all()


def test_weights_carry_the_statistics():
    users = taught(made(left_out=0.0), 1.0).eval()
    state = users.state_dict()
    again = UserTexts(8, 4).eval()
    again.load_state_dict(state)
    asked = torch.from_numpy(texts())
    assert torch.equal(again(asked), users(asked))
