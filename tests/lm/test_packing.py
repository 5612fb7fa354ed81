"""Rows as batches: labels on answers only, each text of the same weight, packed texts kept apart."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from tastemaker.lm.local import LocalLM
from tastemaker.lm.packing import IGNORED, PART_TOKENS, Row, packed, padded
from tastemaker.neural.language.lm_tuning import loss

ROWS = [Row(tuple(range(5, 5 + length)), answer) for length, answer in ((9, 2), (4, 1), (12, 3), (4, 2), (7, 6))]


def naive(model, row):
    """Mean negative log-likelihood of the answer, from the row alone and all logits."""
    ids = torch.tensor([row.ids])
    logs = model(input_ids=ids, use_cache=False).logits[0].float().log_softmax(-1)
    places = range(len(row) - row.answer, len(row))
    return -sum(logs[place - 1, row.ids[place]] for place in places) / row.answer


@pytest.mark.parametrize("cut", [padded, packed])
@pytest.mark.parametrize("size", [1, 2, 10])
def test_every_text_is_there_once_with_its_answer(cut, size):
    texts, answers = [], []
    for batch in cut(ROWS, size):
        labels = torch.full(batch.ids.shape, IGNORED)
        labels[:, batch.columns] = batch.labels
        assert batch.weights[batch.labels == IGNORED].sum() == 0
        for line in range(len(batch.ids)):
            positions = torch.arange(batch.ids.shape[1]) if batch.positions is None else batch.positions[line]
            starts = [*torch.nonzero(positions == 0)[:, 0].tolist(), len(positions)]
            for start, end in pairwise(starts):
                wanted = labels[line, start:end]
                [places] = torch.nonzero(wanted != IGNORED, as_tuple=True)
                last = int(places[-1]) + 2  # the label of a place is the token after it
                texts.append(tuple(batch.ids[line, start : start + last].tolist()))
                answers.append(tuple(wanted[places].tolist()))
    assert sorted(texts) == sorted(row.ids for row in ROWS)
    assert sorted(answers) == sorted(row.ids[-row.answer :] for row in ROWS)


@pytest.mark.parametrize("cut", [padded, packed])
@pytest.mark.parametrize("kind", ["Llama", "Qwen2"])
def test_the_loss_equals_that_of_each_text_alone(make_model, cut, kind):
    model = LocalLM(str(make_model(kind)))._model
    with torch.inference_mode():
        found = sum(loss(model, batch) for batch in cut(ROWS, 3))
        wanted = sum(naive(model, row) for row in ROWS)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_packed_texts_do_not_see_each_other(lm):
    """Another neighbour changes nothing; without the positions it would."""
    one, [other] = [ROWS[2], ROWS[0]], [Row((40, 41, 42, 43, 44, 45, 46, 47, 48), 2)]
    with torch.inference_mode():
        values = []
        for neighbour in (one[1], other):
            [batch] = packed([one[0], neighbour], 2)
            values.append(lm._model(input_ids=batch.ids, position_ids=batch.positions, use_cache=False).logits[0])
        seen = lm._model(input_ids=batch.ids, use_cache=False).logits[0]
    width = len(one[0])
    np.testing.assert_allclose(values[0][:width], values[1][:width], atol=1e-5)
    alone = lm._model(input_ids=torch.tensor([other.ids]), use_cache=False).logits[0].detach()
    np.testing.assert_allclose(values[1][width:], alone, atol=1e-5)
    assert (seen[width:] - alone).abs().max() > 0.1


def test_packing_leaves_less_padding():
    rows = [Row(tuple(range(length)), 1) for length in (40, 3, 20, 5, 20, 4)]
    padding = [sum(batch.ids.numel() for batch in cut(rows, 2)) - sum(map(len, rows)) for cut in (padded, packed)]
    assert padding[1] < padding[0]


def test_long_texts_are_read_in_smaller_parts():
    rows = [Row(tuple(range(length)), 1) for length in (PART_TOKENS + 5, 3000, 3000, 3000, 10, 10)]
    shapes = [tuple(batch.ids.shape) for batch in padded(rows, 4)]
    assert shapes == [(1, PART_TOKENS + 5), (2, 3000), (2, 3000), (1, 10)]
