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


@pytest.fixture(scope="module", params=[False, True], ids=["together", "once"])
def either(request, folder):
    """A network that reads history and candidate together, and one that reads the history once."""
    return untrained(folder, once=request.param)


@pytest.fixture(scope="module")
def network(folder):
    return untrained(folder)


def untrained(folder, **more):
    model = TransformerEncoder(folder=folder).load()
    tables = Tables(torch.zeros(1, 5, 4), torch.ones(1, 5), torch.zeros(5, 6))
    ranker = PairRanker(model, Words.of(model, TEXTS, most=6), tables, layers=None, tuned=None, max_length=24, **more)
    torch.nn.init.normal_(ranker.readout.weight, generator=torch.Generator().manual_seed(0))
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


def test_company_and_filling_change_nothing(either):
    network = either
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


def test_words_are_put_apart_where_the_history_is_read_once(folder):
    network = untrained(folder, once=True)
    first, between = network.first, network.between
    history, words = network.parts(asked([[0, 1], [3, -1]], [[2, 4, -1], [1, 3, 2]]))
    titles = [[int(word) for word in row if word >= 0] for row in network.words]
    assert [int(word) for word in history[0] if word >= 0] == [first, *titles[1], *titles[0], between]
    assert [int(word) for word in history[1] if word >= 0] == [first, between], "a product without words says nothing"
    assert [int(word) for word in words[0, 1] if word >= 0] == [*titles[4], between]
    assert [int(word) for word in words[1, 1] if word >= 0] == [between]
    assert (words[0, 2] < 0).all()


def test_lists_may_be_asked_for_in_half_the_precision(folder):
    """The weights stay as they are, and so does training."""
    whole, half = (untrained(folder, once=True, asked_precision=kind) for kind in ("float32", "bfloat16"))
    question = asked([[0, 1], [4, 2]], [[2, 4, 1], [1, 0, 3]])
    with torch.inference_mode():
        exact, near = whole(question), half(question)
    assert 0 < (exact - near).abs().max() < 0.05 * exact.abs().max()
    assert all(weight.dtype == torch.float32 for weight in half.state_dict().values())
    with torch.no_grad():
        half.readout.weight.zero_()
        half.train()
        without = half.eval()(question)
    assert not torch.equal(without, near), "opinions that were kept are forgotten when weights change"


@pytest.mark.parametrize("once", [False, True])
def test_an_opinion_that_was_given_is_not_asked_for_again(folder, once, monkeypatch):
    network, reads = untrained(folder, once=once), []
    read = network._read
    monkeypatch.setattr(network, "_read", lambda question: reads.append(question.candidates) or read(question))
    question = asked([[0, 1]], [[2, 4, 1]])
    with torch.inference_mode():
        first = network(question)
        assert torch.equal(network(question), first)
        assert len(reads) == 1
        more = network(asked([[0, 1]], [[4, 3, 2]]))
    assert reads[1].tolist() == [[-1, 3, -1]]
    assert not torch.equal(more, first), "places count, though the words say the same"
    network(question)
    assert len(reads) == 3, "where gradients are wanted, all is read"


@pytest.mark.parametrize("once", [False, True])
def test_untrained_it_says_what_the_retriever_says(folder, once):
    shop = tiny_shop()
    model = make(folder, learning_rate=1e-12, history_once=once).fit(shop)
    model.prepare()
    queries = shop.queries().take([1, 2, 5, 8])
    candidates = Transitions().fit(shop).rank(queries, 10)
    np.testing.assert_array_equal(model.rank(queries, 10, candidates=candidates).items, candidates.items)


@pytest.mark.parametrize("once", [False, True])
def test_words_of_both_sides_are_compared(folder, once):
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
    model = make(folder, epochs=5, learning_rate=2e-3, history_once=once).fit(shop)
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


def test_wrong_use_is_named(folder, monkeypatch):
    with pytest.raises(
        ConfigError, match=r"needs \[encoder\] model = .transformer., whose layers can be run; got 'hash'"
    ):
        CrossEncoder(encoder=HashEncoder()).fit(tiny_shop())
    with pytest.raises(ConfigError, match=r"encoder_layers = 7: the encoder has 2 layers"):
        make(folder, encoder_layers=7).fit(tiny_shop())
    model = TransformerEncoder(folder=folder).load()
    words, tables = Words.of(model, TEXTS, most=6), Tables(torch.zeros(1, 5, 4), torch.ones(1, 5), torch.zeros(5, 6))
    monkeypatch.setattr(model[0].auto_model.config, "model_type", "mpnet")
    with pytest.raises(ConfigError, match=r"history_once: the encoder is of the kind 'mpnet'; only BERT"):
        PairRanker(model, words, tables, layers=None, tuned=None, max_length=24, once=True)
    with pytest.raises(ConfigError, match=r"cross_encoder.max_tokens: 20: .* no room for a history"):
        make(folder, item_tokens=18, max_tokens=20)
