r"""Losses of next-item prediction over a table of n item vectors.

Full softmax: $-\log\frac{\exp(h \cdot e_t)}{\sum_j \exp(h \cdot e_j)}$, the loss that decides most published gaps
between sequential models (Klenitskiy and Vasilev, RecSys 2023; Petrov and Macdonald, RecSys 2023).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK_BYTES = 8 * 2**20
"""Size of a block of logits. It is reused, and small enough to stay in a processor's cache."""


class _FullSoftmax(torch.autograd.Function):
    """Cross-entropy over the whole table; the gradient is formed in the same pass, so no [N, n] tensor is kept."""

    @staticmethod
    def forward(context: Any, hidden: Tensor, table: Tensor, targets: Tensor) -> Tensor:  # noqa: ANN401  # torch's own
        size, n = len(hidden), len(table)
        rows = max(1, min(size, BLOCK_BYTES // (4 * n)))
        if hidden.device.type != "cpu":
            rows = max(1, min(size, 64 * BLOCK_BYTES // (4 * n)))
        logits = hidden.new_empty(rows, n)
        of_hidden, of_table = torch.empty_like(hidden), torch.zeros_like(table)
        total = hidden.new_zeros((), dtype=torch.float64)
        for start in range(0, size, rows):
            part, wanted = hidden[start : start + rows], targets[start : start + rows, None]
            scores = logits[: len(part)]
            torch.mm(part, table.t(), out=scores)  # [rows, n]
            true = scores.gather(1, wanted)
            highest = scores.amax(1, keepdim=True)
            scores.sub_(highest).exp_()
            sums = scores.sum(1, keepdim=True)
            total += (sums.log() + highest - true).sum(dtype=torch.float64)
            scores.div_(sums * size)
            scores.scatter_add_(1, wanted, scores.new_full((len(part), 1), -1.0 / size))
            torch.mm(scores, table, out=of_hidden[start : start + rows])
            of_table.addmm_(scores.t(), part)
        context.save_for_backward(of_hidden, of_table)
        return (total / size).to(hidden.dtype)

    @staticmethod
    @once_differentiable
    def backward(context: Any, slope: Tensor) -> tuple[Tensor, Tensor, None]:  # noqa: ANN401  # torch's own
        of_hidden, of_table = context.saved_tensors
        return of_hidden * slope, of_table * slope, None


def full_softmax(hidden: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy over all n items.

    Args:
        hidden: float32 [N, d].
        table: item vectors, float32 [n, d].
        targets: int64 [N].
    """
    loss: Tensor = _FullSoftmax.apply(hidden, table, targets)  # type: ignore[no-untyped-call]
    return loss
