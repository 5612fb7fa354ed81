r"""Losses of next-item prediction over a table of n item vectors.

Every loss takes states $h$ of N places, the table $e$ and the N items that came next, and returns the mean over places.
With $s_j = h \cdot e_j$, target t and negatives K, drawn once a step, uniformly, and shared by all places; a negative
that is a place's own target is left out there:

- softmax: $-\log(\exp s_t / \sum_j \exp s_j)$ over all n items, the loss that decides most published gaps between
  sequential models (Klenitskiy and Vasilev, RecSys 2023; Petrov and Macdonald, RecSys 2023).
- sampled: the same over t and K (Klenitskiy and Vasilev, RecSys 2023), each negative standing for (n - 1) / |K| items,
  which makes the sum an unbiased estimate of the whole one (Bengio and Senecal, 2008).
- gbce: $-(\log \sigma(s_t)^\beta + \sum_K \log(1 - \sigma(s_k))) / (|K| + 1)$ with
  $\beta = \alpha (t (1 - 1 / \alpha) + 1 / \alpha)$ and $\alpha = |K| / (n - 1)$, t being the calibration (gSASRec;
  Petrov and Macdonald, RecSys 2023, eq. 6 and 12). Here $s_j = h \cdot e_j - \log(n - 1)$: the offset changes no
  order, and training need not begin by pushing the scores of all items down, in which it was seen to lose its way.
- bpr: $-\log \sigma(s_t - s_k)$, the mean over K (Rendle et al., UAI 2009), or bpr_max:
  $-\log \sum_K \mathrm{softmax}_k(s_k) \sigma(s_t - s_k)$ (Hidasi and Karatzoglou, CIKM 2018).
- infonce: softmax of $\cos(h, e_j) / \tau$ over K and the other places' targets, each item once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import logsigmoid, normalize, softplus

from tastemaker import configurable

Name = Literal["softmax", "sampled", "gbce", "bpr", "bpr_max", "infonce"]

ItemLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From states [N, d], item table [n, d] and targets int64 [N] to the mean loss."""


@dataclass(frozen=True, slots=True)
class SampledLoss:
    """A loss over targets and drawn negatives: an `ItemLoss` that can also do with the rows that take part.

    Attributes:
        loss: from states, table, targets, negatives and `n_items` to the mean loss.
        negatives: how many are drawn for a step.
    """

    loss: Callable[..., Tensor]
    negatives: int

    def __call__(self, hidden: Tensor, table: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss with negatives drawn for it."""
        return self.among(hidden, table, targets, self.draw(len(table), table.device), n_items=len(table))

    def draw(self, n_items: int, device: torch.device) -> Tensor:
        """Draw negatives from n items, or take every item where there are not more, int64 [m]."""
        if self.negatives < n_items:
            return torch.randint(n_items, (self.negatives,), device=device)
        return torch.arange(n_items, device=device)

    def among(self, hidden: Tensor, table: Tensor, targets: Tensor, negatives: Tensor, *, n_items: int) -> Tensor:
        """Return the mean loss for negatives that were drawn from `n_items`; `table` may hold only some of them."""
        return self.loss(hidden, table, targets, negatives, n_items=n_items)


SAMPLED_FROM = 50_000
"""Items from which "auto" samples negatives instead of using all items."""

BLOCK_BYTES = 8 * 2**20
"""Size of a block of logits. It is reused, and small enough to stay in a processor's cache."""


class LossConfig(configurable.Config):
    """Settings of the loss.

    Attributes:
        loss: what is made smaller: "softmax" over all items, or over drawn negatives "sampled", "gbce", "bpr",
            "bpr_max", "infonce"; "auto" is softmax in a catalogue of less than 50,000 items, else sampled.
        negatives: drawn for a step and shared by all its places; not used by softmax.
        calibration: of gbce, from 0 (plain binary cross-entropy) to 1 (scores calibrated like softmax).
        temperature: of infonce.
    """

    loss: Literal["auto", Name] = "auto"
    negatives: int = Field(default=1024, ge=1)
    calibration: float = Field(default=0.75, ge=0, le=1)
    temperature: float = Field(default=0.1, gt=0)


def loss_name(config: LossConfig, n_items: int) -> Name:
    """Return the loss that is used on a catalogue of this size."""
    if config.loss == "auto":
        return "sampled" if n_items >= SAMPLED_FROM else "softmax"
    return config.loss


def loss_of(config: LossConfig, n_items: int) -> ItemLoss:
    """Return the loss that is used on a catalogue of this size. Negatives come from torch's global generator."""
    losses: dict[str, ItemLoss] = {
        "softmax": full_softmax,
        "sampled": SampledLoss(sampled_softmax, config.negatives),
        "gbce": SampledLoss(partial(gbce, calibration=config.calibration), config.negatives),
        "bpr": SampledLoss(bpr, config.negatives),
        "bpr_max": SampledLoss(bpr_max, config.negatives),
        "infonce": SampledLoss(partial(infonce, temperature=config.temperature), config.negatives),
    }
    return losses[loss_name(config, n_items)]


def full_softmax(hidden: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy over all n items; float [N, d], [n, d], int64 [N]."""
    loss: Tensor = _FullSoftmax.apply(hidden, table, targets)  # type: ignore[no-untyped-call]
    return loss


def sampled_softmax(hidden: Tensor, table: Tensor, targets: Tensor, negatives: Tensor, *, n_items: int) -> Tensor:
    """Return the mean cross-entropy over target and negatives, int64 [m]; a negative stands for (n - 1) / m items."""
    true, other = _scores(hidden, table, targets, negatives)
    return drawn_softmax(true, other, n_items)


def drawn_softmax(true: Tensor, other: Tensor, n_items: int) -> Tensor:
    """Return the mean cross-entropy of targets against drawn items, each of which stands for several of all.

    Args:
        true: scores of the targets, [N].
        other: scores of the drawn items, [N, m]; -inf where one is the target.
        n_items: of all.
    """
    drawn = torch.isfinite(other).sum(1).clamp(min=1).to(other.dtype)  # [N], without those that are the target
    other = other + (max(1, n_items - 1) / drawn).log()[:, None]
    return (torch.cat([true[:, None], other], 1).logsumexp(1) - true).mean()


def gbce(
    hidden: Tensor, table: Tensor, targets: Tensor, negatives: Tensor, *, n_items: int, calibration: float
) -> Tensor:
    """Return the mean generalised binary cross-entropy over target and negatives."""
    prior = math.log(max(1, n_items - 1))  # log odds against an item of which nothing is known
    true, other = (scores - prior for scores in _scores(hidden, table, targets, negatives))
    alpha = min(1.0, len(negatives) / max(1, n_items - 1))
    beta = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)
    return (softplus(other).sum(1) - beta * logsigmoid(true)).mean() / (len(negatives) + 1)


def bpr(hidden: Tensor, table: Tensor, targets: Tensor, negatives: Tensor, *, n_items: int) -> Tensor:
    """Return the mean of -log sigmoid(target's score - negative's score) over all pairs."""
    true, other = _scores(hidden, table, targets, negatives)
    pairs = torch.isfinite(other)
    return softplus(other - true[:, None]).sum() / pairs.sum().clamp(min=1)


def bpr_max(hidden: Tensor, table: Tensor, targets: Tensor, negatives: Tensor, *, n_items: int) -> Tensor:
    """Return BPR-max: negatives count by their softmax, so that the hardest ones do not drown among easy ones."""
    true, other = _scores(hidden, table, targets, negatives)
    rivalled = torch.isfinite(other).any(1)
    true, other = true[rivalled], other[rivalled]
    ahead = other.log_softmax(1) + logsigmoid(true[:, None] - other)
    return -ahead.logsumexp(1).sum() / len(hidden)


def infonce(
    hidden: Tensor, table: Tensor, targets: Tensor, negatives: Tensor, *, n_items: int, temperature: float
) -> Tensor:
    """Return the mean cross-entropy of cosines over the places' targets and the negatives, each item once.

    As each item stands once among the candidates, no place meets its own target as a negative.
    """
    candidates, places = torch.unique(torch.cat([targets, negatives]), return_inverse=True)
    cosines = normalize(hidden, dim=1) / temperature, normalize(table[candidates], dim=1)
    return full_softmax(*cosines, places[: len(targets)])


def _scores(hidden: Tensor, table: Tensor, targets: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
    """Return scores of the targets, [N], and of the negatives, [N, m], -inf where a negative is the target."""
    true = (hidden * table[targets]).sum(1)
    other = hidden @ table[negatives].t()
    return true, other.masked_fill(negatives == targets[:, None], -torch.inf)


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
