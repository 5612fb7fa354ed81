"""Layers of sequence models against loops, what a place may look at, and start vectors against a matrix by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tastemaker import registry
from tastemaker.data import Queries
from tastemaker.models.parts.matrices import cooccurrence
from tastemaker.models.parts.sequential.sequence_network import AttentiveConfig
from tastemaker.models.sequential.bsarec import Filter
from tastemaker.models.sequential.hstu import PointwiseAttention

LENGTH, DIM = 7, 8


def states(rows=3, seed=0):
    return torch.randn(rows, LENGTH, DIM, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("place", [0, 3, 5])
@pytest.mark.parametrize("name", ["sasrec", "bsarec", "gru4rec", "hstu"])
def test_a_place_looks_at_nothing_later(name, place):
    torch.manual_seed(0)
    layers = registry.model_class(name)(dim=DIM, layers=2, max_length=LENGTH).layers().eval()
    before, changed = states(), states()
    changed[:, place + 1 :] = states(seed=1)[:, place + 1 :]
    with torch.inference_mode():
        one, two = layers(before), layers(changed)
    torch.testing.assert_close(one[:, : place + 1], two[:, : place + 1])
    assert not torch.isclose(one[:, place + 1 :], two[:, place + 1 :]).all(dim=2).any()


@pytest.mark.parametrize("window", [1, 3, 20])
def test_the_filter_weighs_the_difference_from_a_moving_mean(window):
    layer = Filter(DIM, window)
    layer.beta.data = torch.linspace(-1, 2, DIM)
    given = states()
    for row in range(len(given)):
        for place in range(LENGTH):
            mean = given[row, max(0, place - window + 1) : place + 1].mean(0)
            expected = mean + layer.beta**2 * (given[row, place] - mean)
            torch.testing.assert_close(layer(given)[row, place], expected, atol=1e-5, rtol=1e-5)


def test_pointwise_attention_sums_by_silu_of_affinity_and_distance():
    torch.manual_seed(0)
    heads, width = 2, DIM // 2
    layer = PointwiseAttention(AttentiveConfig(dim=DIM, heads=heads, max_length=LENGTH))
    given = states(rows=1)
    gate, value, query, key = (torch.nn.functional.silu(part) for part in layer.projection(given[0]).split(DIM, dim=1))
    mixed = torch.zeros(LENGTH, DIM)
    for place in range(LENGTH):
        for head in range(heads):
            own = slice(head * width, (head + 1) * width)
            for other in range(place + 1):
                affinity = query[place, own] @ key[other, own] / math.sqrt(width)
                affinity = affinity + layer.by_distance.weight[place - other, head]
                mixed[place, own] += torch.nn.functional.silu(affinity) * value[other, own] / (place + 1)
    torch.testing.assert_close(layer(given)[0], layer.output(layer.norm(mixed) * gate))


def test_start_vectors_are_the_root_of_the_pmi_matrix():
    """Pairs: 0-1 twice, 1-2 twice, 0-2 at distance two (0.85); item 3 occurs nowhere."""
    histories = Queries.from_lists([[0, 1, 2], [1, 0], [2, 1]])
    sums, total = {0: 2.85, 1: 4.0, 2: 2.85}, 9.7
    matrix = np.zeros((4, 4))
    for (one, other), count in {(0, 1): 2.0, (1, 2): 2.0, (0, 2): 0.85}.items():
        matrix[one, other] = matrix[other, one] = math.log(1 + count * total / (sums[one] * sums[other]))
    found = cooccurrence.vectors(histories, 4, 4, seed=0)
    gram = (found @ found.T).astype(np.float64)  # U S U^T, scaled to a mean squared length of 1
    scale = np.linalg.norm(matrix, "nuc") / 4
    np.testing.assert_allclose(gram @ gram * scale**2, matrix @ matrix, atol=1e-4)
    assert np.square(found).sum(axis=1).mean() == pytest.approx(1, rel=1e-5)
    assert not found[3].any()
