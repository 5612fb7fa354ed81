"""P5: its tokens, its likelihoods against the reference library, what it learns, and what it must not know."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tastemaker.data import Dataset, Queries, Ranking
from tastemaker.data.splits import leave_one_out
from tastemaker.errors import ConfigError, DataError
from tastemaker.recommender import Aids
from tastemaker.testing import tiny_shop

pytest.importorskip("transformers", reason="needs the extra 'lm'")

import torch

from tastemaker.models.generative.p5 import P5
from tastemaker.models.parts.generative.task_lessons import MAX_TOKENS, lessons_of
from tastemaker.models.parts.generative.text_codec import END, PAD, TextCodec, identifiers
from tastemaker.models.parts.generative.text_to_text import TextToText, task_of
from tastemaker.text.clean import clean

SMALL = {"dim": 16, "layers": 1, "heads": 2, "vocabulary": 400, "dropout": 0.0, "learning_rate": 0.01, "batch_size": 64}
ONLY_NEXT = {"families": {"sequential": 1.0}}


def rounds(users=80, items=12, seed=0):
    """Shoppers who walk a fixed round of products from a random place."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"u{user:03}", f"p{(start + step) % items:02}")
        for user, start in enumerate(rng.integers(items, size=users).tolist())
        for step in range(5)
    ]
    return Dataset.from_frames(pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row"))


@pytest.fixture(scope="module")
def codec():
    names = identifiers(np.array([[0, 1], [0, 2], [3, 1]], dtype=np.int32))
    texts = [f"bought {names[0]}{names[1]} next: soap", "blue soap dish", names[2]]
    return TextCodec.learn(texts * 3, vocabulary=290, length=2), names


def test_words_and_identifiers_come_back(codec):
    coder, names = codec
    of = {(0, 1): "ONE", (0, 2): "TWO", (3, 1): "THREE"}
    packed = coder.encode([f"bought {names[0]}{names[1]} next: soap", "Größe 5 – ünïcode 漢"], most=64, end=True)
    back = [
        coder.decode(packed.tokens[start:end].tolist(), name=lambda code: of.get(code, ""))
        for start, end in zip(packed.offsets[:-1], packed.offsets[1:], strict=True)
    ]
    assert back == ["bought ONE TWO next: soap", "Größe 5 – ünïcode 漢"]
    assert coder.decode([END, coder.first], name=lambda code: "x") == ""
    assert coder.decode([coder.first, coder.first + 9, coder.first], name=lambda code: of.get(code, "")) == ""


def test_tokens_of_one_identifier_are_one_word_counted_from_the_end(codec):
    coder, names = codec
    text = f"soap {names[0]}{names[1]} dish"
    tokens, words, lengths = coder.encode([text, "soap"], most=64).padded(np.array([0, 1]))
    first = tokens[0] >= coder.first
    assert first.sum() == 4
    assert words[0][first].tolist() == [2, 2, 1, 1]
    assert words[0][lengths[0] - 1] == 0
    assert words[0][0] == 3
    assert (tokens[1][lengths[1] :] == PAD).all()
    assert (words[1][: lengths[1]] == 0).all()


def test_a_long_prompt_loses_its_oldest_part(codec):
    coder, names = codec
    packed = coder.encode([names[0] * 30 + names[2]], most=6)
    assert (packed.tokens - coder.first).tolist() == [0, 1, 0, 1, 3, 1]


def test_no_product_text_can_hold_an_identifier():
    name = identifiers(np.array([[7]], dtype=np.int32))[0]
    assert clean(f"Soap {name} dish") == "Soap dish"
    assert clean(f"Soap &#{ord(name)}; dish") == "Soap dish"


def test_more_products_than_characters_are_refused():
    with pytest.raises(ConfigError, match="131,071 identifier tokens; at most 131,070"):
        identifiers(np.array([[131_070]], dtype=np.int32))


def test_the_network_is_t5(codec):
    """Without whole-word embeddings it gives the logits of transformers' T5ForConditionalGeneration."""
    from transformers import T5ForConditionalGeneration

    coder, names = codec
    network = TextToText(coder.first + 8, coder.first, dim=16, layers=2, heads=2, dropout=0.0).eval()
    network.words.weight.data.zero_()
    shape = network.encoder.config
    shape.vocab_size, shape.is_encoder_decoder, shape.decoder_start_token_id = coder.first + 8, True, PAD
    whole = T5ForConditionalGeneration(shape).eval()
    weights = {name: value for name, value in network.state_dict().items() if name.startswith(("encoder", "decoder"))}
    missing, unexpected = whole.load_state_dict({**weights, "shared.weight": network.tokens.weight}, strict=False)
    assert not unexpected
    assert all("embed_tokens" in name or name == "lm_head.weight" for name in missing)
    prompts = coder.encode([f"bought {names[0]} next:", "soap"], most=64)
    answers = coder.encode([names[2], names[1]], most=9)
    task = task_of(prompts, answers, np.array([0, 1]), identifiers=False, device="cpu")
    with torch.inference_mode():
        found = network(task)
        told = whole(input_ids=task.tokens, attention_mask=task.real.long(), labels=task.answers)
    torch.testing.assert_close(found, told.loss, rtol=1e-4, atol=1e-5)


def test_the_order_of_purchases_is_learnt_and_lists_are_likelihoods():
    model = P5(epochs=25, **ONLY_NEXT, **SMALL).fit(rounds())
    asked = Queries.from_lists([[3, 4, 5], [9, 10], [11]])
    assert model.rank(asked, 1).items[:, 0].tolist() == [6, 11, 0]
    np.testing.assert_allclose(np.exp(model.score(asked)).sum(axis=1), 1.0, rtol=1e-5)


def test_a_wording_that_no_training_saw_is_understood():
    asked = Queries.from_lists([[start, (start + 1) % 12] for start in range(12)])
    model = P5(epochs=25, wording=-1, **ONLY_NEXT, **SMALL).fit(rounds())
    listed = model.rank(asked, 3).items  # by chance three of the ten that are left
    assert (listed == (np.arange(12)[:, None] + 2) % 12).any(axis=1).mean() > 0.6


def test_other_tasks_are_answered_in_words():
    data = tiny_shop()
    settings = {**SMALL, "dim": 32, "batch_size": 16}
    model = P5(epochs=50, families={"sequential": 0.1, "attribute": 1.0, "rating": 0.1}, **settings).fit(data)
    items = np.flatnonzero(data.popularity > 0)
    said = model.generate("attribute", items=items, attribute=["brand"] * len(items))
    brands = data.items.frame["brand"].gather(items).to_list()
    assert np.mean([a == b for a, b in zip(said, brands, strict=True)]) > 0.9
    ratings = model.generate("rating", data.queries().take([0, 1]), [3, 4], usual=["3.0", "4.5"])
    assert set(ratings) <= {"1", "2", "3", "4", "5"}
    with pytest.raises(ConfigError, match="rating: needs 'usual'"):
        model.generate("rating", data.queries().take([0]), [3])


def test_products_in_an_answer_are_written_by_name():
    data = tiny_shop()
    model = P5(epochs=20, families={"sequential": 1.0, "explanation": 1.0}, **SMALL).fit(data)
    [text] = model.generate("explanation", Queries.from_lists([[1, 2]]), [3])
    assert all(ord(character) < 0xF0000 for character in text)
    assert "often bought with" in text or "same" in text


def test_what_nobody_bought_in_training_has_no_place():
    split = leave_one_out(tiny_shop())
    model = P5(epochs=2, **SMALL).fit(split.train)
    unknown = split.train.popularity == 0
    assert unknown.any()
    scores = model.score(split.test.queries)
    asked = split.test.queries.lengths > 0
    assert np.isneginf(scores[:, unknown]).all()
    assert np.isfinite(scores[asked][:, ~unknown]).all()
    bought = set(zip(split.train.log["user"].to_list(), split.train.log["item"].to_list(), strict=True))
    told = model.learnt_from()
    assert all(model.report()["pairs"][family] > 0 for family in ("sequential", "direct", "attribute", "title"))
    assert {"sequential pairs", "direct pairs", "rating pairs"} <= set(told)
    for users, items in told.values():
        assert set(zip(users.tolist(), items.tolist(), strict=True)) <= bought


def test_an_epoch_draws_each_family_by_its_weight(codec):
    from tastemaker.text.instructions.task_families import TaskWriter

    data = tiny_shop()
    names = identifiers(np.arange(data.n_items, dtype=np.int32)[:, None])
    rng, writer = np.random.default_rng(0), TaskWriter(data, names=names, between="")
    drawn = {family: writer.pairs(family, rng, most=50) for family in ("sequential", "direct", "attribute")}
    texts = [pair.prompt.user for pairs in drawn.values() for pair in pairs]
    coder = TextCodec.learn(texts, vocabulary=300, length=1)
    coded, worded = lessons_of(drawn, coder, {"sequential": 1.0, "direct": 0.5, "attribute": 0.1})
    assert coded.identifiers
    assert not worded.identifiers
    groups = coded.groups(16, rng)
    rows = np.concatenate(groups)
    assert len(set(rows.tolist())) == len(rows) == 75
    assert (rows < 50).sum() == 50
    assert len(np.concatenate(worded.groups(16, rng))) == 5
    widths = [np.ptp(coded.prompts.lengths[group]) for group in groups]
    assert np.mean(widths) < np.ptp(coded.prompts.lengths)
    assert coded.prompts.lengths.max() <= MAX_TOKENS


class Killed(Exception):
    """Stands for a kill between two epochs."""


def test_a_killed_fit_goes_on_to_the_same_bits(tmp_path):
    split = leave_one_out(tiny_shop())
    settings = {**SMALL, "epochs": 4, "dropout": 0.2}

    def kill(part, entry):
        if entry["epoch"] == 2:
            raise Killed

    whole = P5(**settings).fit(split.train, aids=Aids(validation=split.validation), seed=2)
    with pytest.raises(Killed):
        P5(**settings).fit(split.train, aids=Aids(validation=split.validation, folder=tmp_path, on_epoch=kill), seed=2)
    resumed = P5(**settings).fit(split.train, aids=Aids(validation=split.validation, folder=tmp_path), seed=2)
    first, second = whole.arrays(), resumed.arrays()
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert array.tobytes() == second[name].tobytes(), name


def test_impossible_settings_are_refused():
    for settings, words in (
        ({"heads": 3}, "heads = 3 does not divide dim = 64"),
        ({"families": {"sequental": 1.0}}, "no task family 'sequental'; did you mean 'sequential'"),
        ({"families": {"rating": 1.0}}, "sequential must be above 0"),
        ({"families": {"sequential": 2.0}}, "sequential = 2: must be from 0 to 1"),
        ({"wording": 9}, "wording = 9"),
    ):
        with pytest.raises(ConfigError, match=words):
            P5(**settings)
    log = pl.DataFrame({"user_id": list("abc"), "item_id": list("xyz")})
    with pytest.raises(DataError, match="p5: no shopper has 2 purchases"):
        P5(**SMALL).fit(Dataset.from_frames(log))


@pytest.mark.parametrize("indexing", ["random", "collaborative"])
def test_products_of_several_codes_are_searched_along_the_trie(indexing):
    pytest.importorskip("faiss", reason="needs the extra 'indexing'")
    data = tiny_shop()
    settings = {**SMALL, "indexing": indexing, "levels": 2, "codes": 8, "epochs": 3}
    model = P5(**settings).fit(data)
    queries = data.queries()
    n = data.n_items
    offered = Ranking(
        np.tile(np.arange(n, dtype=np.int32), (len(queries), 1)), np.zeros((len(queries), n), dtype=np.float32)
    )
    whole = P5(**{**settings, "beams": 200}).attach(data.items, model.arrays())
    searched, exact = whole.rank(queries, 9), whole.rank(queries, 9, candidates=offered)
    assert (searched.items == exact.items).all()  # a beam that cuts nothing off finds what the likelihoods say
    np.testing.assert_allclose(searched.scores, exact.scores, rtol=1e-4, atol=1e-5)
    narrow = P5(**{**settings, "beams": 1}).attach(data.items, model.arrays()).rank(queries, 9)
    unseen = [set(range(n)) - set(queries.history(row).tolist()) for row in range(len(queries))]
    for row in range(len(queries)):
        listed = [item for item in narrow.items[row].tolist() if item >= 0]
        assert set(listed) <= unseen[row]
        assert data.popularity[listed].all()
    assert (narrow.items[:, 0] >= 0).mean() > 0.9


def test_a_history_that_fills_the_beam_leaves_k_products():
    pytest.importorskip("faiss", reason="needs the extra 'indexing'")
    data = tiny_shop()
    model = P5(**SMALL, indexing="random", levels=2, codes=32, beams=1, epochs=1).fit(data)
    bought = np.flatnonzero(data.popularity)
    asked = Queries.from_lists([bought[:-3], bought[3:], bought[:2]])
    ranking = model.rank(asked, 3)
    assert (ranking.items >= 0).all()
    np.testing.assert_array_equal(model.rank(asked.take([2]), 3).items[0], ranking.items[2])


def test_codes_of_a_product_multiply_to_its_likelihood():
    """The slow obvious version: one prompt, one product, code after code."""
    pytest.importorskip("faiss", reason="needs the extra 'indexing'")
    data = tiny_shop()
    model = P5(**SMALL, indexing="random", levels=2, codes=8, epochs=2).fit(data)
    asked = Queries.from_lists([[3, 4]])
    network, ids = model._network, model._ids
    prompts = model._prompts(asked, np.array([0]))
    task = task_of(prompts, None, np.array([0]), identifiers=True, device="cpu")
    with torch.inference_mode():
        states, total, written = network.read(task), 0.0, [PAD]
        for token in ids.tokens[5].tolist():
            said = network.write(states, task.real, torch.tensor([written]))[0, -1] @ network.identifier_table.t()
            total += float(said.log_softmax(0)[token])
            written.append(network.first + token)
    offered = Ranking(np.array([[5, 7]], dtype=np.int32), np.zeros((1, 2), dtype=np.float32))
    ranking = model.rank(asked, 2, candidates=offered)
    assert ranking.scores[0][ranking.items[0] == 5] == pytest.approx(total, rel=1e-5)
