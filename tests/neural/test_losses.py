"""Losses against slow, obvious versions: values by hand, gradients by torch."""

from __future__ import annotations

import math
from functools import partial
from typing import get_args

import pytest
import torch
from torch.nn.functional import cosine_similarity, cross_entropy

from tastemaker.neural import losses
from tastemaker.neural.losses import LossConfig


def drawn(rows, n, dim=8, negatives=6):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, dim, generator=generator, dtype=torch.float64).requires_grad_()
    table = torch.randn(n, dim, generator=generator, dtype=torch.float64).requires_grad_()
    targets = torch.randint(n, (rows,), generator=generator)
    others = torch.randint(n, (negatives,), generator=generator)
    others[0] = targets[0]  # an accidental hit
    return hidden, table, targets, others


def gradients(loss, hidden, table):
    return [loss.detach(), *torch.autograd.grad(3 * loss, [hidden, table])]


@pytest.mark.parametrize(("rows", "n"), [(1, 1), (7, 5), (300, 40)])
def test_full_softmax_equals_cross_entropy(rows, n, monkeypatch):
    monkeypatch.setattr(losses, "BLOCK_BYTES", 4 * n * 16)  # several blocks
    hidden, table, targets, _ = drawn(rows, n)
    for kind, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        h, e = (one.detach().to(kind).requires_grad_() for one in (hidden, table))
        ours = gradients(losses.full_softmax(h, e, targets), h, e)
        theirs = gradients(cross_entropy(h @ e.t(), targets), h, e)
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance * 10)


def test_large_logits_do_not_overflow():
    hidden, table = torch.full((2, 4), 50.0), torch.stack([torch.full((4,), 50.0), torch.full((4,), -50.0)])
    loss = losses.full_softmax(hidden, table, torch.tensor([0, 1]))
    assert float(loss) == pytest.approx(10_000.0)  # 0 for the first, 2 * 4 * 2500 for the second


def sigmoid(score):
    return 1 / (1 + torch.exp(-score))


def obvious(name, hidden, table, targets, negatives):
    """Each loss place by place, negative by negative, as its formula stands."""
    parts, pairs, n = [], [], len(table)
    for state, target in zip(hidden, targets.tolist(), strict=True):
        true = state @ table[target]
        others = [state @ table[k] for k in negatives.tolist() if k != target]
        if name == "sampled":
            rest = (n - 1) / len(others) * sum(torch.exp(one) for one in others)
            parts.append(-torch.log(torch.exp(true) / (torch.exp(true) + rest)))
        elif name == "gbce":
            alpha = len(negatives) / (n - 1)
            beta = alpha * (0.75 * (1 - 1 / alpha) + 1 / alpha)
            true, others = true - math.log(n - 1), [one - math.log(n - 1) for one in others]
            total = torch.log(sigmoid(true) ** beta) + sum(torch.log(1 - sigmoid(one)) for one in others)
            parts.append(-total / (len(negatives) + 1))
        elif name == "bpr":
            pairs += [-torch.log(sigmoid(true - one)) for one in others]
        elif name == "bpr_max":
            weights = torch.softmax(torch.stack(others), 0)
            parts.append(-torch.log(sum(w * sigmoid(true - one) for w, one in zip(weights, others, strict=True))))
        elif name == "infonce":
            candidates = sorted({*targets.tolist(), *negatives.tolist()})
            logits = torch.stack([cosine_similarity(state, table[k], dim=0) / 0.1 for k in candidates])
            parts.append(-torch.log_softmax(logits, 0)[candidates.index(target)])
    return torch.stack(parts or pairs).mean()


FUNCTIONS = {
    "sampled": losses.sampled_softmax,
    "gbce": partial(losses.gbce, calibration=0.75),
    "bpr": losses.bpr,
    "bpr_max": losses.bpr_max,
    "infonce": partial(losses.infonce, temperature=0.1),
}


def value(name, hidden, table, targets, negatives):
    return FUNCTIONS[name](hidden, table, targets, negatives, n_items=len(table))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_rows_that_take_part_are_enough(name):
    hidden, table, targets, negatives = drawn(9, 200)
    read = torch.cat([targets, negatives]).unique()
    loss = losses.SampledLoss(FUNCTIONS[name], 4)
    places = (torch.searchsorted(read, one) for one in (targets, negatives))
    found = loss.among(hidden, table[read], *places, n_items=200)
    torch.testing.assert_close(found, value(name, hidden, table, targets, negatives))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_sampled_losses_equal_their_formulas(name):
    hidden, table, targets, negatives = drawn(9, 20)
    ours = gradients(value(name, hidden, table, targets, negatives), hidden, table)
    theirs = gradients(obvious(name, hidden, table, targets, negatives), hidden, table)
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_only_the_drawn_rows_and_targets_are_moved(name):
    hidden, table, targets, negatives = drawn(4, 200)
    _, _, of_table = gradients(value(name, hidden, table, targets, negatives), hidden, table)
    moved = set(of_table.abs().sum(1).nonzero().flatten().tolist())
    assert moved == {*targets.tolist(), *negatives.tolist()}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_place_whose_only_negative_is_its_target_adds_no_nan(name):
    hidden, table, targets, _ = drawn(3, 5)
    loss, *slopes = gradients(value(name, hidden, table, targets, targets[:1]), hidden, table)
    assert all(torch.isfinite(one).all() for one in (loss, *slopes))


def test_sampled_softmax_with_every_item_is_the_whole_softmax():
    hidden, table, targets, _ = drawn(9, 20)
    ours = losses.sampled_softmax(hidden, table, targets, torch.arange(20), n_items=20)
    assert float(ours.detach()) == pytest.approx(float(cross_entropy(hidden @ table.t(), targets).detach()))


def test_gbce_by_hand():
    """5 items and 2 negatives: alpha = 2 / 4, beta = 0.5 (0.75 (1 - 2) + 2) = 0.625; scores 1, 0 and -1, less log 4."""
    hidden, table = torch.ones(1, 1), math.log(4) + torch.tensor([[1.0], [0.0], [-1.0], [0.0], [0.0]])
    loss = losses.gbce(hidden, table, torch.tensor([0]), torch.tensor([1, 2]), n_items=5, calibration=0.75)
    by_hand = (0.625 * math.log(1 + math.exp(-1)) + math.log(2) + math.log(1 + math.exp(-1))) / 3
    assert float(loss) == pytest.approx(by_hand)


@pytest.mark.parametrize("name", get_args(losses.Name))
def test_every_loss_can_be_configured_and_is_drawn_by_torch_s_seed(name):
    hidden, table, targets, _ = drawn(9, 20)
    loss_of = losses.loss_of(LossConfig(loss=name, negatives=4), 20)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(float(loss_of(hidden, table, targets).detach()))
    assert found[0] == found[1]
    assert (found[0] == found[2]) == (name == "softmax")


def test_a_large_catalogue_is_sampled():
    assert losses.loss_name(LossConfig(), losses.SAMPLED_FROM - 1) == "softmax"
    assert losses.loss_name(LossConfig(), losses.SAMPLED_FROM) == "sampled"
    assert losses.loss_name(LossConfig(loss="softmax"), 10**7) == "softmax"
    assert "50,000" in LossConfig.__doc__
    assert losses.SAMPLED_FROM == 50_000


@pytest.mark.parametrize("name", get_args(losses.Name))
def test_a_catalogue_of_one_item_gives_a_number(name):
    loss = losses.loss_of(LossConfig(loss=name), 1)(
        torch.ones(2, 3), torch.ones(1, 3), torch.zeros(2, dtype=torch.long)
    )
    assert math.isfinite(float(loss))
