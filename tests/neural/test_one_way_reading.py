"""Candidates read with an eye on a history that is read once: what a joint encoder with that mask makes of them."""

from __future__ import annotations

import pytest

pytest.importorskip("transformers", reason="needs the extra 'text'")

import torch

from tastemaker.neural.language.kept_opinions import Kept
from tastemaker.neural.language.one_way_reading import read_one_way


@pytest.fixture(scope="module")
def bert():
    import transformers

    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=32,
        max_position_embeddings=40,
        initializer_range=0.3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return transformers.BertModel(config, add_pooling_layer=False).eval()


HISTORY = torch.tensor([[1, 7, 8, 9, 2], [1, 5, 2, -1, -1]])
CANDIDATES = torch.tensor([[[3, 4, 2, -1], [6, 2, -1, -1], [3, 9, 9, 2]], [[8, 2, -1, -1], [-1] * 4, [4, 4, 4, 2]]])


def joint(bert, history, candidate):
    """The slow way: one sequence, and a mask by which no word of the history sees the candidate."""
    history, candidate = history[history >= 0], candidate[candidate >= 0]
    ids = torch.cat([history, candidate])
    sees = torch.ones(len(ids), len(ids), dtype=torch.bool)
    sees[: len(history), len(history) :] = False
    kinds = torch.cat([torch.zeros_like(history), torch.ones_like(candidate)])
    mask = torch.zeros(sees.shape).masked_fill(~sees, torch.finfo(torch.float32).min)[None, None]
    states = bert(input_ids=ids[None], token_type_ids=kinds[None], attention_mask=mask).last_hidden_state[0]
    return states[len(history) :]


def test_states_are_those_of_the_joint_encoder_with_that_mask(bert):
    with torch.no_grad():
        read = read_one_way(bert, HISTORY, CANDIDATES)
        at = 0
        for row in range(2):
            for column in range(3):
                if (CANDIDATES[row, column] < 0).all():
                    assert not read.means[3 * row + column].any()
                    continue
                expected = joint(bert, HISTORY[row], CANDIDATES[row, column])
                own = read.states[at : at + len(expected)]
                torch.testing.assert_close(own, expected, atol=1e-5, rtol=1e-5)
                torch.testing.assert_close(read.means[3 * row + column], expected.mean(0), atol=1e-5, rtol=1e-5)
                torch.testing.assert_close(read.ends[3 * row + column], expected[-1], atol=1e-5, rtol=1e-5)
                at += len(expected)
        assert at == len(read.states)
        whole = bert(input_ids=torch.tensor([[1, 7, 8, 9, 2, 3, 4, 2]])).last_hidden_state[0, 5:]
    assert (whole - read.states[:3]).abs().max() > 1e-2, "the joint encoder without a mask says something else"


def test_both_sides_are_trained(bert):
    read = read_one_way(bert, HISTORY, CANDIDATES)
    read.means.square().sum().backward()
    first = bert.encoder.layer[0]
    for part in (first.attention.self.query, first.attention.self.value, first.output.dense):
        assert part.weight.grad.abs().max() > 0
    grad = bert.embeddings.word_embeddings.weight.grad
    assert grad[7].abs().max() > 0, "a word of the history"
    assert grad[3].abs().max() > 0, "a word of a candidate"
    bert.zero_grad()


def test_an_opinion_is_asked_for_once():
    kept, asked = Kept(most=2), []

    def read(candidates):
        asked.append(candidates.tolist())
        return candidates * 0.5

    history, offered = torch.tensor([[1, 2, -1], [3, -1, -1]]), torch.tensor([[5, 6, -1], [5, 8, 7]])
    first = kept.filled(history, offered, read)
    assert first.tolist() == [[2.5, 3.0, 0.0], [2.5, 4.0, 3.5]]
    assert torch.equal(kept.filled(history, offered, read), first)
    assert len(asked) == 1, "all was known"
    more = torch.tensor([[6, 9, 5]])
    assert kept.filled(history[:1], more, read).tolist() == [[3.0, 4.5, 2.5]]
    assert asked[1] == [[-1, 9, -1]], "only what is new"
    kept.filled(torch.tensor([[4, -1, -1]]), more, read)
    assert len(kept) == 2
    kept.filled(history[1:], offered[1:], read)
    assert asked[-1] == [[5, 8, 7]], "the one used longest ago gave its place"
    kept.clear()
    assert len(kept) == 0
