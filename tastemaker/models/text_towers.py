"""Two towers over one table of text vectors: the network that `two_tower` trains, and how it is judged."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn

from tastemaker.encoders.base import unit_rows
from tastemaker.models.similarity import on_grid, products
from tastemaker.models.text_vectors import mean_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tastemaker.data.queries import Queries
    from tastemaker.models.text_pairs import Step, Titles
    from tastemaker.neural.judging import Scores
    from tastemaker.neural.sentence_tuning import SentenceLayers
    from tastemaker.types import Float32, Int64

MAP_PACE, AGE_PACE = 10.0, 100.0
"""AdamW moves every parameter by about the learning rate a step; the map and the weights of age move so much faster."""


def scorer_of(network: Towers, titles: Titles) -> Scores:
    """Return what scores queries under the present weights; products without a text get -inf."""
    told = titles.of_item >= 0
    texts = on_grid(network.mapped(network.vectors).cpu().numpy())
    table = np.where(told[:, None], texts[titles.of_item], 0)  # [n, d]
    ages, onward = network.age_weights().cpu().numpy(), network.plain_maps()["onward"].cpu().numpy()

    def scores(queries: Queries, rows: Int64) -> Tensor:
        profiles = profiles_of(queries.take(rows), ages, table, onward)
        asked = profiles.any(axis=1, keepdims=True)
        return torch.from_numpy(np.where(told & asked, products(profiles, table), np.float32(-np.inf)))

    return scores


def profiles_of(queries: Queries, ages: Float32, vectors: Float32, onward: Float32) -> Float32:
    """Return the histories' vectors, [B, d], of length 1 or 0, on the grid.

    Args:
        queries: B histories.
        ages: weight of an item by its steps back from the newest, [L]; older ones are not read.
        vectors: of the items, [n, d].
        onward: map from the sum to what is bought next, [d, d].
    """
    newest = queries.newest(len(ages))
    weights = csr_array((ages[newest.ages], newest.items, newest.offsets), shape=(len(queries), len(vectors)))
    return on_grid(unit_rows(products(mean_vectors(weights, vectors), on_grid(onward))))


class Towers(nn.Module):
    """The tuned layers, the map behind them, and the weights of age.

    Args:
        vectors: of all texts by the encoder as it is, [t, d].
        layers: of a transformer, or None.
        max_length: L, newest products of a history.
        recency: weight of a product for each step back from the newest, before the weights are learnt.
        temperature: what cosines are divided by.
    """

    def __init__(
        self, vectors: Tensor, layers: SentenceLayers | None, *, max_length: int, recency: float, temperature: float
    ) -> None:
        super().__init__()
        self.layers = layers
        self.register_buffer("vectors", vectors.clone())  # each as it was when its turn came last
        self.vectors: Tensor
        self.map = nn.Linear(vectors.shape[1], vectors.shape[1])  # what is added to the identity
        nn.init.zeros_(self.map.weight)
        nn.init.zeros_(self.map.bias)
        self.onward = nn.Linear(
            vectors.shape[1], vectors.shape[1], bias=False
        )  # the same, from a history to what is next
        nn.init.zeros_(self.onward.weight)
        self.ages = nn.Parameter(torch.zeros(max_length))
        self.register_buffer("first_ages", torch.arange(max_length) * math.log(recency), persistent=False)
        self.first_ages: Tensor
        self._temperature = temperature

    def begin(self, weights: dict[str, NDArray[Any]]) -> None:
        """Begin with maps and weights of age that were learnt before, by the names of `plain_maps`, and "ages"."""
        given = {name: torch.from_numpy(weights[name]) for name in ("map.weight", "map.bias", "onward", "ages")}
        eye = torch.eye(len(self.map.weight))
        with torch.no_grad():
            self.map.weight.copy_((given["map.weight"] - eye) / MAP_PACE)
            self.map.bias.copy_(given["map.bias"] / MAP_PACE)
            self.onward.weight.copy_((given["onward"] - eye) / MAP_PACE)
            self.ages.copy_((given["ages"].clamp(min=1e-9).log() - self.first_ages) / AGE_PACE)

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

    def mapped(self, vectors: Tensor) -> Tensor:
        """Return what the map makes of the layers' vectors, scaled to length 1."""
        return nn.functional.normalize(vectors + MAP_PACE * self.map(vectors), dim=1)

    def age_weights(self) -> Tensor:
        """Return the weight of a history item by its steps back from the newest, [L]."""
        return torch.exp(self.first_ages + AGE_PACE * self.ages)

    def _table(self, step: Step) -> Tensor:
        """Return the mapped vectors of a step's texts; those whose turn it is are encoded, and kept."""
        table = self.vectors[torch.from_numpy(step.texts).to(self.vectors.device)]
        if self.layers is not None:
            fresh = self.layers(step.refreshed)
            places = torch.from_numpy(np.searchsorted(step.texts, step.refreshed)).to(table.device)
            table = table.index_copy(0, places, fresh)
            self.vectors[torch.from_numpy(step.refreshed).to(table.device)] = fresh.detach()
        return self.mapped(table)

    def plain_maps(self) -> dict[str, Tensor]:
        """Return "map.weight" and "map.bias" as in `tuned_weights`, and "onward", the map of histories, [d, d]."""
        eye = torch.eye(len(self.map.weight), device=self.map.weight.device)
        return {
            "map.weight": eye + MAP_PACE * self.map.weight,
            "map.bias": MAP_PACE * self.map.bias,
            "onward": eye + MAP_PACE * self.onward.weight,
        }
