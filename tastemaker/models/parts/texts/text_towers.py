"""Two towers over one table of text vectors: the network that `two_tower` trains, and how it is judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn

from tastemaker.encoders.base import unit_rows
from tastemaker.models.parts.matrices.similarity import on_grid, products
from tastemaker.models.parts.texts.text_maps import Maps
from tastemaker.models.parts.texts.text_vectors import mean_vectors

if TYPE_CHECKING:
    from tastemaker.data.queries import Queries
    from tastemaker.models.parts.texts.text_maps import Whitened
    from tastemaker.models.parts.texts.text_pairs import Step, Titles
    from tastemaker.neural.language.sentence_tuning import SentenceLayers
    from tastemaker.neural.training.judging import Scores
    from tastemaker.types import Float32, Int64

MAP_PACE, AGE_PACE = 10.0, 100.0
"""AdamW moves every parameter by about the learning rate a step; the map and the weights of age move so much faster."""


def scorer_of(network: Towers, titles: Titles) -> Scores:
    """Return what scores queries under the present weights; products without a text get -inf."""
    told, texts = titles.of_item >= 0, network.all_mapped()
    table, maps = np.where(told[:, None], texts.cpu().numpy()[titles.of_item], 0), network.maps()  # [n, d]
    columns = torch.from_numpy(table).to(texts.device)

    def scores(queries: Queries, rows: Int64) -> Tensor:
        profiles = profiles_of(queries.take(rows), maps, table)
        asked = profiles.any(axis=1, keepdims=True)
        found = torch.from_numpy(profiles).to(columns.device) @ columns.t()
        return found.masked_fill_(torch.from_numpy(~(told & asked)).to(columns.device), -torch.inf)

    return scores


def profiles_of(queries: Queries, maps: Maps, vectors: Float32) -> Float32:
    """Return the histories' vectors, [B, d], of length 1 or 0, on the grid.

    Args:
        queries: B histories; products older than the newest L are not read.
        maps: from the sum to what is bought next, and the weights of age, [L].
        vectors: of the items, [n, d].
    """
    newest = queries.newest(len(maps.ages))
    weights = csr_array((maps.ages[newest.ages], newest.items, newest.offsets), shape=(len(queries), len(vectors)))
    return on_grid(unit_rows(products(mean_vectors(weights, vectors), on_grid(maps.onward))))


class Towers(nn.Module):
    """The tuned layers, the maps behind whitened vectors, and the weights of age.

    Args:
        vectors: of all texts by the encoder as it is, [t, d].
        shops: number of each text's shop, [t].
        whitened: by the statistics of `vectors`.
        layers: of a transformer, or None.
        begun: maps that training begins with.
        temperature: what cosines are divided by.
    """

    def __init__(
        self,
        vectors: Float32,
        shops: Int64,
        whitened: Whitened,
        *,
        layers: SentenceLayers | None = None,
        begun: Maps,
        temperature: float,
    ) -> None:
        super().__init__()
        self.layers, self._shops, d = layers, shops, vectors.shape[1]
        # With layers each vector as it was when its turn came last; without, as it is for good: whitened.
        self.register_buffer("vectors", torch.from_numpy(vectors if layers else whitened.apply(vectors, shops)).clone())
        self.vectors: Tensor
        for name, value in (("means", whitened.means), ("matrices", whitened.matrices)):
            self.register_buffer(name, torch.from_numpy(value), persistent=False)
        self.means: Tensor
        self.matrices: Tensor
        eye = torch.eye(d)
        self.map = nn.Linear(d, d)  # what is added to the identity
        self.onward = nn.Linear(d, d, bias=False)  # the same, from a history to what is next
        self.ages = nn.Parameter(torch.zeros(len(begun.ages)))
        self.register_buffer("first_ages", torch.from_numpy(begun.ages).clamp(min=1e-9).log(), persistent=False)
        self.first_ages: Tensor
        with torch.no_grad():
            self.map.weight.copy_((torch.from_numpy(begun.weight) - eye) / MAP_PACE)
            self.map.bias.copy_(torch.from_numpy(begun.bias) / MAP_PACE)
            self.onward.weight.copy_((torch.from_numpy(begun.onward) - eye) / MAP_PACE)
        self._temperature = temperature

    def forward(self, step: Step) -> Tensor:
        """Return the mean cross-entropy of a step's targets."""
        table = self._table(step)  # [u, d]
        histories = torch.from_numpy(step.histories).to(table.device)  # [p, L]
        targets = torch.from_numpy(step.targets).to(table.device)
        weights = self.age_weights() * (histories >= 0)
        sums = (table[histories.clamp(min=0)] * weights[:, :, None]).sum(1)  # [p, d]
        profiles = sums + MAP_PACE * self.onward(sums)
        logits = nn.functional.normalize(profiles, dim=1) @ table.t() / self._temperature  # [p, u]
        pairs, texts = (torch.from_numpy(rows).to(table.device) for rows in step.own)
        no_negative = torch.zeros_like(logits, dtype=torch.bool)
        no_negative[pairs, texts] = True
        return nn.functional.cross_entropy(logits.masked_fill(no_negative, -torch.inf), targets)

    def all_mapped(self) -> Tensor:
        """Return the mapped vectors of all texts, [t, d]."""
        if self.layers is None:
            return self._mapped(self.vectors)
        mapped = torch.empty_like(self.vectors)
        for shop in np.unique(self._shops):
            rows = torch.from_numpy(np.flatnonzero(self._shops == shop)).to(mapped.device)
            mapped[rows] = self._mapped((self.vectors[rows] - self.means[shop]) @ self.matrices[shop])
        return mapped

    def age_weights(self) -> Tensor:
        """Return the weight of a history item by its steps back from the newest, [L]."""
        return torch.exp(self.first_ages + AGE_PACE * self.ages)

    def maps(self) -> Maps:
        """Return the maps as they are now."""
        with torch.no_grad():
            eye = torch.eye(len(self.map.weight), device=self.map.weight.device)
            found = (
                eye + MAP_PACE * self.map.weight,
                MAP_PACE * self.map.bias,
                eye + MAP_PACE * self.onward.weight,
                self.age_weights(),
            )
            return Maps(*(value.cpu().numpy().astype(np.float32) for value in found))

    def _mapped(self, whitened: Tensor) -> Tensor:
        """Return what the map makes of whitened vectors, scaled to length 1."""
        return nn.functional.normalize(whitened + MAP_PACE * self.map(whitened), dim=1)

    def _table(self, step: Step) -> Tensor:
        """Return the mapped vectors of a step's texts, all of one shop; those whose turn it is are kept anew."""
        table = self.vectors[torch.from_numpy(step.texts).to(self.vectors.device)]
        if self.layers is None:
            return self._mapped(table)
        fresh = self.layers(step.refreshed)
        places = torch.from_numpy(np.searchsorted(step.texts, step.refreshed)).to(table.device)
        table = table.index_copy(0, places, fresh)
        self.vectors[torch.from_numpy(step.refreshed).to(table.device)] = fresh.detach()
        shop = int(self._shops[step.texts[0]])
        return self._mapped((table - self.means[shop]) @ self.matrices[shop])
