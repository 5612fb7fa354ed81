"""AdamW by rows against torch's own AdamW: the same course, though most rows are left alone at most steps."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tastemaker.neural.training.row_adam import RowAdamW, RowTable

N, D = 40, 5


def read_rows(steps, seed=0):
    """Row 0 is read at the first step only, row 1 at every step, the others at random; 38 and 39 never."""
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        drawn = 2 + torch.randperm(N - 4, generator=generator)[:6]
        always = torch.tensor([0, 1]) if not step else torch.tensor([1])
        yield torch.cat([always, drawn])


def wanted(rows):
    return torch.sin(rows[:, None] + torch.arange(D))


def course(table, optimiser, steps, *, whole=False, rate=lambda _: 0.01, first=0):
    """Train rows towards their targets; what is read at each step is returned."""
    seen = []
    for step, rows in enumerate(read_rows(steps)):
        if step < first:
            continue
        for group in optimiser.param_groups:
            group["lr"] = rate(step)
        optimiser.zero_grad(set_to_none=True)
        vectors = table.weight[rows] if whole else table.take(rows)
        seen.append(vectors.detach().clone())
        ((vectors - wanted(rows)) ** 2).sum().backward()
        optimiser.step()
    return seen


def pair(weight_decay=0.0):
    torch.manual_seed(0)
    plain, ours = RowTable(N, D), RowTable(N, D)
    ours.load_state_dict(plain.state_dict())
    groups = [[{"params": [table.weight], "weight_decay": weight_decay}] for table in (plain, ours)]
    return plain, torch.optim.AdamW(groups[0], lr=0.01), ours, RowAdamW(groups[1], tables=[ours], lr=0.01)


@pytest.mark.parametrize("rate", [lambda step: 0.01, lambda step: 0.01 * min(1, (step + 1) / 50) * 0.995**step])
@pytest.mark.parametrize("steps", [3, 400])
def test_rows_take_the_course_of_plain_adamw(rate, steps):
    """Also the row that was read once, whose momentum runs on for hundreds of steps."""
    plain, adamw, ours, by_rows = pair()
    with torch.random.fork_rng(devices=[]):
        expected = course(plain, adamw, steps, whole=True, rate=rate)
        found = course(ours, by_rows, steps, rate=rate)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(ours.weight[0], plain.weight[0], atol=1e-4)  # it is still behind
    by_rows.settle()
    torch.testing.assert_close(ours.weight, plain.weight, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(by_rows.state[ours.weight]["exp_avg"], adamw.state[plain.weight]["exp_avg"])
    torch.testing.assert_close(by_rows.state[ours.weight]["exp_avg_sq"], adamw.state[plain.weight]["exp_avg_sq"])


def test_weight_decay_reaches_rows_that_are_not_read():
    plain, adamw, ours, by_rows = pair(weight_decay=0.1)
    course(plain, adamw, 300, whole=True)
    course(ours, by_rows, 300)
    by_rows.settle()
    torch.testing.assert_close(ours.weight[38:], plain.weight[38:])  # never read: decay alone
    torch.testing.assert_close(ours.weight, plain.weight, rtol=0, atol=5e-3)


def test_a_resumed_training_has_the_same_bits():
    _, _, whole, by_rows = pair()
    _, _, broken, other = pair()
    course(whole, by_rows, 150)
    by_rows.settle()
    course(whole, by_rows, 300, first=150)
    by_rows.settle()

    course(broken, other, 150)
    other.settle()
    resumed = RowTable(N, D)
    resumed.load_state_dict(copy.deepcopy(broken.state_dict()))
    again = RowAdamW([{"params": [resumed.weight], "weight_decay": 0.0}], tables=[resumed], lr=0.01)
    again.load_state_dict(copy.deepcopy(other.state_dict()))
    course(resumed, again, 300, first=150)
    again.settle()
    assert torch.equal(resumed.weight, whole.weight)


def test_a_table_may_be_read_whole_in_between():
    plain, adamw, ours, by_rows = pair()
    for table, optimiser, whole in ((plain, adamw, True), (ours, by_rows, False)):
        course(table, optimiser, 20, whole=whole)
        if not whole:
            optimiser.settle()
        course(table, optimiser, 25, whole=True, first=20)
        course(table, optimiser, 60, whole=whole, first=25)
    by_rows.settle()
    torch.testing.assert_close(ours.weight, plain.weight, rtol=1e-4, atol=1e-5)


def test_a_step_leaves_other_rows_alone():
    """What makes it cheap: no row is touched that was not read."""
    _, _, ours, by_rows = pair()
    rows = torch.tensor([3, 5])
    for _ in range(4):
        before = ours.weight.detach().clone()
        by_rows.zero_grad()
        ours.take(rows).square().sum().backward()
        assert ours.weight.grad.is_sparse
        by_rows.step()
        changed = (ours.weight != before).any(dim=1).nonzero()[:, 0]
        assert changed.tolist() == [3, 5]


def test_other_parameters_are_trained_as_ever():
    layers, same = nn.Linear(D, 1), nn.Linear(D, 1)
    same.load_state_dict(layers.state_dict())
    _, _, ours, _ = pair()
    both = RowAdamW([{"params": [ours.weight, *layers.parameters()], "weight_decay": 0.01}], tables=[ours], lr=0.01)
    alone = torch.optim.AdamW(same.parameters(), lr=0.01, weight_decay=0.01)
    x = torch.randn(9, D)
    for _ in range(5):
        for module, optimiser in ((layers, both), (same, alone)):
            optimiser.zero_grad()
            (module(x).square().sum() + (ours.take(torch.tensor([1])).sum() if optimiser is both else 0)).backward()
            optimiser.step()
    assert torch.equal(layers.weight, same.weight)
    both.release()
    assert ours.before is None
