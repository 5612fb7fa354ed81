"""The cross-encoder: pairs are put together as the tokenizer would, words of both sides meet, and it is trained."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import tiny_models

from tastemaker.data import Queries, Ranking
from tastemaker.data.dataset import Dataset
from tastemaker.errors import ConfigError
from tastemaker.testing import HashEncoder, tiny_shop

pytest.importorskip("sentence_transformers", reason="needs the extra 'text'")

import torch

from tastemaker.encoders.cache import cached
from tastemaker.encoders.transformer import TransformerEncoder
from tastemaker.models.collaborative.transitions import Transitions
from tastemaker.models.llm.cross_encoder import CrossEncoder
from tastemaker.neural.candidates import Asked, Tables
from tastemaker.neural.language.text_pair_ranker import PairRanker, Words

QUICK = {"dim": 8, "epochs": 1, "batch_size": 16, "negatives": 5, "warmup": 0, "item_tokens": 8, "max_tokens": 40}
TEXTS = ["soap acme number 1", "shampoo bolt", "brush", "", "perfume cosy number 2 3"]


@pytest.fixture(scope="module")
def folder():
    return tiny_models.sentence_encoder()


def make(folder, **settings):
    return CrossEncoder(encoder=TransformerEncoder(folder=folder), **{"weight": 1.0, **QUICK, **settings})


@pytest.fixture(scope="module")
def network(folder):
    model = TransformerEncoder(folder=folder).load()
    tables = Tables(torch.zeros(1, 5, 4), torch.ones(1, 5), torch.zeros(5, 6))
    ranker = PairRanker(model, Words.of(model, TEXTS, most=6), tables, layers=None, tuned=None, max_length=24)
    torch.nn.init.normal_(ranker.readout.weight)
    return ranker.eval()


def asked(histories, candidates):
    width = max(map(len, histories))
    shape = len(candidates), len(candidates[0])
    return Asked(
        torch.tensor([[*history, *[-1] * (width - len(history))] for history in histories]),
        torch.tensor(candidates),
        torch.zeros(shape),
        torch.zeros(shape),
        torch.ones(shape[0], dtype=torch.bool),
        torch.zeros(shape[0], dtype=torch.long),
    )


def test_pairs_are_those_of_the_tokenizer(network, folder):
    """Oracle: the tokenizer's own pair encoding of the joined titles, newest first."""
    tokenizer = TransformerEncoder(folder=folder).load().tokenizer
    question = asked([[0, 1], [4, 3]], [[2, 4, -1], [1, 0, 2]])
    rows, columns = (question.candidates >= 0).nonzero(as_tuple=True)
    ids, behind = network.pairs(question, rows, columns)
    histories = ["shampoo bolt soap acme number 1", "perfume cosy number 2 3"]
    for at, (row, column) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        expected = tokenizer(histories[row], TEXTS[int(question.candidates[row, column])])
        real = ids[at] >= 0
        assert ids[at][real].tolist() == expected["input_ids"]
        assert behind[at][real].long().tolist() == expected["token_type_ids"]


def test_the_oldest_words_are_left_out(network):
    question = asked([[0, 4, 1, 0, 4, 1, 0]], [[2]])
    rows = columns = torch.zeros(1, dtype=torch.long)
    ids, behind = network.pairs(question, rows, columns)
    assert ids.shape[1] <= 24
    assert int(behind.sum()) == 2, "the candidate's word and the end are whole"
    newest = network.words[0][network.words[0] >= 0]
    assert ids[0, 1 : 1 + len(newest)].tolist() == newest.tolist()


def test_company_and_filling_change_nothing(network):
    together = network(asked([[0, 1], [4, 2]], [[2, 4, 1], [1, 0, -1]]))
    alone = network(asked([[4, 2]], [[0, 1]]))
    torch.testing.assert_close(together[1, :2], alone[0, [1, 0]], atol=1e-5, rtol=1e-5)
    assert torch.isneginf(together[1, 2])
    assert (network(asked([[2, 4]], [[0, 1]])) - alone).abs().max() > 1e-4, "the order of purchases is read"


@pytest.mark.parametrize(
    ("layers", "tuned", "trained"), [(None, None, {0, 1}), (None, 1, {1}), (1, None, {0}), (2, 0, set())]
)
def test_which_layers_are_trained(folder, layers, tuned, trained):
    model = make(folder, encoder_layers=layers, tuned_layers=tuned, learning_rate=1e-12).fit(tiny_shop())
    names = [name for name in model.arrays() if name.startswith("network.bert.")]
    assert {int(name.split(".layer.")[1].split(".")[0]) for name in names} == trained
    assert all(".layer." in name for name in names), "word vectors stay frozen"


def test_untrained_it_says_what_the_retriever_says(folder):
    shop = tiny_shop()
    model = make(folder, learning_rate=1e-12).fit(shop)
    queries = shop.queries().take([1, 2, 5, 8])
    candidates = Transitions().fit(shop).rank(queries, 10)
    np.testing.assert_array_equal(model.rank(queries, 10, candidates=candidates).items, candidates.items)


def test_words_of_both_sides_are_compared(folder):
    """The next purchase is of the brand of the last one; each product is bought about once, so no count can tell."""
    rng = np.random.default_rng(0)
    brands = ["acme", "bolt", "cosy"]
    titles = [f"{brands[item % 3]} number {item % 50}" for item in range(240)]
    rows = []
    for user in range(150):
        picks = 3 * rng.choice(80, 4, replace=False) + rng.integers(3)
        rows += [(f"u{user}", f"i{item}", at) for at, item in enumerate(picks)]
    log = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    shop = Dataset.from_frames(log, pl.DataFrame({"item_id": [f"i{item}" for item in range(240)], "title": titles}))
    model = make(folder, epochs=5, learning_rate=2e-3).fit(shop)
    queries = shop.queries().take(np.arange(40))
    brand = np.array([history[-1] % 3 for history in queries])
    offered = np.random.default_rng(1).permuted(np.tile(np.arange(240), (40, 1)), axis=1)[:, :21].astype(np.int32)
    scores = np.zeros(offered.shape, np.float32) - np.arange(21, dtype=np.float32)
    own = model.own_order(queries, Ranking(offered, scores))
    assert (own.items[:, :4] % 3 == brand[:, None]).mean() > 0.6
    assert (offered[:, :4] % 3 == brand[:, None]).mean() < 0.45


def test_a_cached_encoder_is_looked_through(folder, tmp_path):
    encoder = cached(TransformerEncoder(folder=folder), tmp_path)
    model = CrossEncoder(encoder=encoder, weight=1.0, **QUICK).fit(tiny_shop())
    offered = Ranking(np.array([[5, 6, 7]], np.int32), np.array([[3, 2, 1]], np.float32))
    assert sorted(model.rank(Queries.from_lists([[1]]), 3, candidates=offered).items[0]) == [5, 6, 7]


def test_wrong_use_is_named(folder):
    with pytest.raises(
        ConfigError, match=r"needs \[encoder\] model = .transformer., whose layers can be run; got 'hash'"
    ):
        CrossEncoder(encoder=HashEncoder()).fit(tiny_shop())
    with pytest.raises(ConfigError, match=r"encoder_layers = 7: the encoder has 2 layers"):
        make(folder, encoder_layers=7).fit(tiny_shop())
    with pytest.raises(ConfigError, match=r"cross_encoder.max_tokens: 20: .* no room for a history"):
        make(folder, item_tokens=18, max_tokens=20)
