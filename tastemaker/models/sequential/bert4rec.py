"""Self-attention that looks both ways, learning to fill in purchases that are hidden from it.

Sun et al., "BERT4Rec", CIKM 2019: some items of a history are replaced by a mask and forecast from those on both sides
(a cloze); at request a mask is set after the newest purchase. For a share of the histories only the newest item is
masked, which is what requests look like. As elsewhere here, cross-entropy is over all items and tied to the item
table, layers normalise first, places count from the newest item, and item vectors start at co-occurrence counts; the
paper's extra output layer is left out. It learns from fewer places a pass than a causal model, so it needs more
epochs: most weak figures published for it come from too few (Petrov and Macdonald, RecSys 2022).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor, nn

from tastemaker.models.parts.sequential.sequence_model import SequenceModel
from tastemaker.models.parts.sequential.sequence_network import AttentiveConfig, SequenceNetwork
from tastemaker.neural.batches import HIDDEN, batch_of
from tastemaker.neural.blocks import Bidirectional

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tastemaker.data.queries import Queries
    from tastemaker.neural.batches import Batch
    from tastemaker.neural.inputs.item_inputs import ItemInputs
    from tastemaker.neural.losses import ItemLoss


class BERT4RecConfig(AttentiveConfig):
    """Settings of `bert4rec`, beyond those of every sequence model with attention.

    Attributes:
        mask_share: of a history's items that are hidden, at least one of each history.
        newest_share: of the histories in which only the newest item is hidden.
        max_length: newest purchases that are read, the mask after them included.
        dropout: of embedded histories and inside the network; the masks leave out much already.
    """

    mask_share: float = Field(default=0.3, gt=0, lt=1)
    newest_share: float = Field(default=0.5, ge=0, le=1)
    max_length: int = Field(default=50, ge=2)
    dropout: float = Field(default=0.2, ge=0, lt=1)


class ClozeNetwork(SequenceNetwork):
    """A sequence network with a vector for hidden items and layers that look both ways."""

    def __init__(
        self, inputs: ItemInputs, layers: nn.Module, config: BERT4RecConfig, *, shopper_width: int = 0
    ) -> None:
        super().__init__(inputs, layers, config, shopper_width=shopper_width)
        self.mask = nn.Embedding(1, config.dim)

    def forward(self, table: Tensor, batch: Batch) -> Tensor:
        """Return what each place may be, judged by all others, [b, L, d]."""
        hidden = (batch.items == HIDDEN)[:, :, None]
        known = nn.functional.embedding(batch.items.clamp(min=0), table)
        return self.states(torch.where(hidden, self.blank, known), batch)

    @property
    def blank(self) -> Tensor:
        """What stands for a hidden item, [d]."""
        return self.mask.weight[0]

    def hints(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return which places are real: these layers look both ways."""
        return (batch.real,)


class BERT4Rec(SequenceModel):
    """Forecasts the next purchase as a gap at the end of the history."""

    name = "bert4rec"
    Config = BERT4RecConfig
    config: BERT4RecConfig

    def layers(self) -> nn.Module:
        """Return transformer layers that look both ways."""
        config = self.config
        return Bidirectional(config.dim, layers=config.layers, heads=config.heads, dropout=config.dropout)

    @property
    def learnt_length(self) -> int:
        """Newest purchases of a history that training uses: each may be a target."""
        return self.config.max_length

    def network_of(self, inputs: ItemInputs, *, shopper_width: int) -> SequenceNetwork:
        """Put item inputs and layers together."""
        return ClozeNetwork(inputs, self.layers(), self.config, shopper_width=shopper_width)

    def _loss(self, batch: Batch, item_loss: ItemLoss) -> Tensor:
        """Return the mean loss of the hidden items."""
        hidden = cloze(batch, share=self.config.mask_share, newest=self.config.newest_share)
        asked = replace(batch, items=batch.items.masked_fill(hidden, HIDDEN))
        loss = self._loss_at(asked, hidden, batch.items[hidden], item_loss)
        return self._with_first(loss, int(hidden.sum()), batch, item_loss)

    def _forecasts(self, queries: Queries, rows: NDArray[np.int64], table: Tensor) -> Tensor:
        """Return the state of a mask after the newest purchase, [b, d]."""
        known = batch_of(queries, rows, self.config.max_length - 1, device=str(table.device))
        batch = replace(known, items=nn.functional.pad(known.items, (0, 1)), lengths=known.lengths + 1)
        batch.items[batch.last] = HIDDEN
        return self._network(table, batch)[batch.last]  # type: ignore[no-any-return]


def cloze(batch: Batch, *, share: float, newest: float) -> Tensor:
    """Draw the items to hide, bool [b, L]: `share` of each history and at least one, or only its newest.

    Args:
        batch: b histories.
        share: chance of each item to be hidden.
        newest: chance of a history to have only its newest item hidden.
    """
    chances = torch.rand(batch.items.shape, device=batch.items.device).masked_fill(~batch.real, 2.0)
    hidden = chances < share
    hidden |= chances == chances.amin(1, keepdim=True)  # at least one
    last = torch.zeros_like(hidden)
    last[batch.last] = True
    only_newest = torch.rand(len(batch.items), 1, device=batch.items.device) < newest
    return torch.where(only_newest, last, hidden)
