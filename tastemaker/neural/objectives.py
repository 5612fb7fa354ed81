r"""What a network over histories can learn before it learns the next purchase: behaviour pre-training.

Each objective draws its own question from a batch of histories with at least two items each and returns a mean loss.
A shopper's vector is the state at the newest item of what is read, as at request, so every sequence model can use them.

- masked: one item of each history is hidden (its vector is zero, its place stays), and the shopper's vector tells
  which. Masked behaviour prediction of PTUM (Wu et al., Findings of EMNLP 2020, arXiv 2010.01494) and UserBERT.
- next_k: the history is cut at random; the vector of what is before tells the next K items, each alike. PTUM.
- views: the history is cut at random; the vectors of the two parts find each other among those of the other shoppers of
  the batch. Behaviour sequence matching of UserBERT (Wu et al., SIGIR 2022, arXiv 2109.01274), with all of the batch as
  negatives instead of the medium-hard ones.
- sequence_item: the vector of what is before a random cut finds the next item among the next items of the whole batch.
  UniSRec (Hou et al., KDD 2022, arXiv 2206.05941), whose batches mix shops: fit on joined data, with inputs = "text".
- sequence_sequence: the vector of a history with some items left out finds that of the whole one. UniSRec, and with its
  small weight beside the other.

Contrasts are softmax of cosines / temperature. All that is drawn comes from torch's global generator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy, embedding, normalize

from tastemaker import configurable
from tastemaker.neural.batches import Batch
from tastemaker.neural.losses import infonce

if TYPE_CHECKING:
    from collections.abc import Sequence

Name = Literal["masked", "next_k", "views", "sequence_item", "sequence_sequence"]

Predict = Callable[[Tensor, Tensor], Tensor]
"""From vectors of shoppers [N, d] and items int64 [N] to the mean loss of telling the items."""

WEIGHTS = {"sequence_sequence": 1e-3}
"""Weights of objectives in their sum, where they are not 1; this is UniSRec's."""


class PretrainingConfig(configurable.Config):
    """Settings of pre-training.

    Attributes:
        pretrain: what is learnt before the next purchase: any of "masked", "next_k" (PTUM), "views" (UserBERT),
            "sequence_item", "sequence_sequence" (UniSRec), added up; none by default.
        pretrain_epochs: of pre-training.
        next_items: K of "next_k".
        view_temperature: what cosines are divided by in "views", "sequence_item" and "sequence_sequence".
        left_out: share of the items that "sequence_sequence" leaves out.
    """

    pretrain: tuple[Name, ...] = ()
    pretrain_epochs: int = Field(default=20, ge=1)
    next_items: int = Field(default=3, ge=1)
    view_temperature: float = Field(default=0.1, gt=0)
    left_out: float = Field(default=0.2, gt=0, lt=1)


class Reader(Protocol):
    """A network that turns embedded histories [b, L, d] into states [b, L, d]."""

    def states(self, known: Tensor, batch: Batch) -> Tensor:
        """Return the state at each place."""
        ...


def loss(
    names: Sequence[Name], network: Reader, table: Tensor, batch: Batch, predict: Predict, config: PretrainingConfig
) -> Tensor:
    """Return the weighted sum of objectives on one batch.

    Args:
        names: of the objectives.
        network: that is trained.
        table: item vectors, [n, d].
        batch: histories of two items and more.
        predict: loss of telling an item among all.
        config: settings.
    """
    ask = {
        "masked": lambda: masked(network, table, batch, predict),
        "next_k": lambda: next_k(network, table, batch, predict, k=config.next_items),
        "views": lambda: views(network, table, batch, temperature=config.view_temperature),
        "sequence_item": lambda: sequence_item(network, table, batch, temperature=config.view_temperature),
        "sequence_sequence": lambda: sequence_sequence(
            network, table, batch, temperature=config.view_temperature, left_out=config.left_out
        ),
    }
    return torch.stack([WEIGHTS.get(name, 1.0) * ask[name]() for name in names]).sum()


def masked(network: Reader, table: Tensor, batch: Batch, predict: Predict) -> Tensor:
    """Hide one item of each history and tell it from the others."""
    rows, _ = batch.last
    place = _drawn(batch.lengths)
    known = embedding(batch.items, table)
    hidden = torch.zeros_like(batch.items, dtype=torch.bool)
    hidden[rows, place] = True
    states = network.states(known.masked_fill(hidden[:, :, None], 0.0), batch)[batch.last]
    return predict(states, batch.items[rows, place])


def next_k(network: Reader, table: Tensor, batch: Batch, predict: Predict, *, k: int) -> Tensor:
    """Tell the `k` items behind a random cut from those before it; fewer where the history ends."""
    before = replace(batch, lengths=cut_of(batch))
    at = before.lengths[:, None] + torch.arange(k, device=batch.items.device)  # [b, k]
    there = at < batch.lengths[:, None]
    targets = batch.items.gather(1, at.clamp(max=batch.items.shape[1] - 1))
    states = vectors(network, table, before)[:, None, :].expand(-1, k, -1)
    return predict(states[there], targets[there])


def views(network: Reader, table: Tensor, batch: Batch, *, temperature: float) -> Tensor:
    """Match the two parts of each history, in both directions."""
    cut = cut_of(batch)
    first, second = (vectors(network, table, part) for part in (replace(batch, lengths=cut), behind(batch, cut)))
    return (matched(first, second, temperature) + matched(second, first, temperature)) / 2


def sequence_item(network: Reader, table: Tensor, batch: Batch, *, temperature: float) -> Tensor:
    """Find the item behind a random cut among those of the batch, each item once."""
    before = replace(batch, lengths=cut_of(batch))
    targets = batch.items.gather(1, before.lengths[:, None])[:, 0]
    return infonce(
        vectors(network, table, before), table, targets, targets[:0], n_items=len(table), temperature=temperature
    )


def sequence_sequence(network: Reader, table: Tensor, batch: Batch, *, temperature: float, left_out: float) -> Tensor:
    """Find the whole history by one with items left out; the newest item stays."""
    thinned = thin(batch, left_out=left_out)
    return matched(vectors(network, table, thinned), vectors(network, table, batch), temperature)


def vectors(network: Reader, table: Tensor, batch: Batch) -> Tensor:
    """Return each shopper's vector: the state at the newest item, [b, d]."""
    return network.states(embedding(batch.items, table), batch)[batch.last]


def matched(asked: Tensor, offered: Tensor, temperature: float) -> Tensor:
    """Return the mean cross-entropy of finding row i of `offered` by row i of `asked`, both [b, d], by cosine."""
    cosines = normalize(asked, dim=1) @ normalize(offered, dim=1).t()
    return cross_entropy(cosines / temperature, torch.arange(len(asked), device=asked.device))


def cut_of(batch: Batch) -> Tensor:
    """Draw how many items of each history stand before the cut: at least one, and at least one behind it."""
    return 1 + _drawn(batch.lengths - 1)


def behind(batch: Batch, cut: Tensor) -> Batch:
    """Return the parts of the histories from `cut` on, filled up on the right."""
    places = torch.arange(batch.items.shape[1], device=batch.items.device) + cut[:, None]
    moved = batch.items.gather(1, places.clamp(max=batch.items.shape[1] - 1))
    lengths = batch.lengths - cut
    found = replace(batch, items=moved, lengths=lengths)
    return replace(found, items=moved.masked_fill(~found.real, 0))


def thin(batch: Batch, *, left_out: float) -> Batch:
    """Leave out a share of the items of each history; the newest one stays."""
    kept = (torch.rand(batch.items.shape, device=batch.items.device) >= left_out) & batch.real
    kept[batch.last] = True
    order = (~kept).to(torch.int8).argsort(dim=1, stable=True)
    found = replace(batch, items=batch.items.gather(1, order), lengths=kept.sum(1))
    return replace(found, items=found.items.masked_fill(~found.real, 0))


def _drawn(counts: Tensor) -> Tensor:
    """Draw a number from 0 to below each count, int64 [b]."""
    drawn = (torch.rand(len(counts), device=counts.device) * counts).long()
    return torch.minimum(drawn, counts - 1)  # the product may round up to the count
