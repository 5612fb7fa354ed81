"""The fused loss against torch's own cross-entropy, values and gradients."""

from __future__ import annotations

import pytest
import torch

from tastemaker.neural import losses


@pytest.mark.parametrize(("rows", "n"), [(1, 1), (7, 5), (300, 40)])
def test_full_softmax_equals_cross_entropy(rows, n, monkeypatch):
    monkeypatch.setattr(losses, "BLOCK_BYTES", 4 * n * 16)  # several blocks
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, 8, generator=generator).requires_grad_()
    table = torch.randn(n, 8, generator=generator).requires_grad_()
    targets = torch.randint(n, (rows,), generator=generator)
    ours = losses.full_softmax(hidden, table, targets)
    (3 * ours).backward()
    found = hidden.grad.clone(), table.grad.clone()
    hidden.grad = table.grad = None
    theirs = torch.nn.functional.cross_entropy(hidden @ table.t(), targets)
    (3 * theirs).backward()
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), abs=1e-5)
    torch.testing.assert_close(found, (hidden.grad, table.grad), atol=1e-5, rtol=1e-4)


def test_large_logits_do_not_overflow():
    hidden, table = torch.full((2, 4), 50.0), torch.stack([torch.full((4,), 50.0), torch.full((4,), -50.0)])
    loss = losses.full_softmax(hidden, table, torch.tensor([0, 1]))
    assert float(loss) == pytest.approx(10_000.0)  # 0 for the first, 2 * 4 * 2500 for the second
