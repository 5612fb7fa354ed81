from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from tastemaker.encoders.cache import cached
from tastemaker.encoders.transformer import TransformerEncoder
from tastemaker.errors import ConfigError, LanguageModelError

pytest.importorskip("sentence_transformers", reason="needs the extra 'text'")

WORDS = ["red", "blue", "green", "black", "shoe", "hat", "cup", "tea", "lamp", "pen", "big", "small"]
WORDS += ["for", "query", "passage", ":", ";", ","]
TEXTS = [" ".join(WORDS[(3 * n + k) % 14] for k in range(1 + 5 * n % 17)) for n in range(60)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A sentence-transformers model of two tiny random BERT layers, with prompts, saved as safetensors."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    place = tmp_path_factory.mktemp("model")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (place / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(str(place / "vocab.txt"), model_max_length=32).save_pretrained(place / "bert")
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=32, initializer_range=0.5, **shape)
    BertModel(config).save_pretrained(place / "bert")
    modules = [Transformer(str(place / "bert"), max_seq_length=16), Pooling(16), Normalize()]
    model = SentenceTransformer(modules=modules, device="cpu", prompts={"query": "query : ", "passage": "passage : "})
    model.save(str(place / "model"))
    return place / "model"


@pytest.fixture(scope="module")
def plain(folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu")


@pytest.mark.parametrize("batch_tokens", [1, 40, 10_000])
def test_vectors_are_those_of_the_plain_call(folder, plain, batch_tokens):
    encoder = TransformerEncoder(folder=str(folder), batch_tokens=batch_tokens)
    vectors = encoder.encode(TEXTS, kind="query")
    expected = plain.encode(TEXTS, prompt_name="query")
    np.testing.assert_allclose(vectors, expected, atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_prompts_differ_by_kind(folder, plain):
    encoder = TransformerEncoder(folder=str(folder))
    document = encoder.encode(TEXTS[:5], kind="document")
    np.testing.assert_allclose(document, plain.encode(TEXTS[:5], prompt_name="passage"), atol=2e-6)
    assert np.abs(document - encoder.encode(TEXTS[:5], kind="query")).max() > 1e-3


def test_repeated_texts_are_encoded_once_and_blank_ones_not_at_all(folder, monkeypatch):
    encoder = TransformerEncoder(folder=str(folder))
    seen = []
    preprocess = encoder._model.preprocess
    monkeypatch.setattr(
        encoder._model, "preprocess", lambda texts, **more: seen.extend(texts) or preprocess(texts, **more)
    )
    vectors = encoder.encode(["red shoe", "", "red shoe", " \n", "hat"], kind="document")
    assert sorted(seen) == ["hat", "red shoe"]
    assert not vectors[[1, 3]].any()
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert encoder.encode([], kind="query").shape == (0, 16)
    assert encoder.encode([""], kind="query").shape == (1, 16)


def test_batches_keep_to_the_budget_and_lose_nothing(folder):
    encoder = TransformerEncoder(folder=str(folder), batch_tokens=48)
    batches = encoder._batches(TEXTS)
    assert sorted(np.concatenate(batches)) == list(range(len(TEXTS)))
    tokens = [min(16, len(text.split()) + 2) for text in TEXTS]
    assert all(len(batch) * max(tokens[row] for row in batch) <= 48 for batch in batches)
    padded = sum(len(batch) * max(tokens[row] for row in batch) for batch in batches)
    assert padded < 1.1 * sum(tokens)


def test_max_length_cuts_tokens(folder):
    encoder = TransformerEncoder(folder=str(folder), max_length=8)
    long, longer, other = encoder.encode([" ".join(["red"] * n) for n in (9, 12)] + ["red"], kind="document")
    np.testing.assert_allclose(long, longer, atol=1e-6)
    assert np.abs(long - other).max() > 1e-3
    assert TransformerEncoder(folder=str(folder), max_length=500)._model.max_seq_length == 16


def test_threads_are_given_back(folder):
    import torch

    before = torch.get_num_threads()
    TransformerEncoder(folder=str(folder), threads=before + 1).encode(["red"], kind="query")
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_an_absent_device_is_refused(folder, device):
    with pytest.raises(ConfigError, match=f"encoder.device: '{device}': not on this machine"):
        TransformerEncoder(folder=str(folder), device=device).encode(["red"], kind="query")


def test_bfloat16_is_near(folder):
    full, half = (
        TransformerEncoder(folder=str(folder), precision=precision).encode(TEXTS, kind="document")
        for precision in ("float32", "bfloat16")
    )
    cosines = (full * half).sum(axis=1)
    assert cosines.min() > 0.99 and cosines.min() < 1 - 1e-7


def test_identity_is_of_the_weights_not_of_the_place(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    first, second = (
        TransformerEncoder(folder=str(folder)),
        TransformerEncoder(folder=str(copy), batch_tokens=7, threads=1),
    )
    assert first.identity() == second.identity()
    assert first.identity() != TransformerEncoder(folder=str(folder), max_length=8).identity()
    config = json.loads((copy / "config_sentence_transformers.json").read_text())
    config["prompts"]["query"] = "for : "
    (copy / "config_sentence_transformers.json").write_text(json.dumps(config))
    assert first.identity() != TransformerEncoder(folder=str(copy)).identity()


def test_a_full_cache_needs_no_model(folder, tmp_path):
    vectors = cached(TransformerEncoder(folder=str(folder)), tmp_path).encode(TEXTS, kind="document")
    again = cached(TransformerEncoder(folder=str(folder)), tmp_path)
    np.testing.assert_array_equal(again.encode(TEXTS, kind="document"), vectors)
    assert "_model" not in vars(again.encoder)


def test_code_and_pickles_are_refused(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    modules = json.loads((copy / "modules.json").read_text())
    (copy / "modules.json").write_text(json.dumps([{**modules[0], "type": "os.system"}, *modules[1:]]))
    with pytest.raises(ConfigError, match=r"'os.system' is code from outside"):
        TransformerEncoder(folder=str(copy)).encode(["a"], kind="query")
    (copy / "modules.json").write_text(json.dumps(modules))
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="pickle"):
        TransformerEncoder(folder=str(copy)).encode(["a"], kind="query")
    (copy / "pytorch_model.bin").unlink()
    with pytest.raises(LanguageModelError, match="not a sentence-transformers model"):
        TransformerEncoder(folder=str(copy)).encode(["a"], kind="query")


@pytest.mark.parametrize("path", ["../other", "a/../../b", "/etc", "..\\other", "C:\\other", "C:other"])
def test_modules_stay_in_their_folder(folder, tmp_path, path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    modules = json.loads((copy / "modules.json").read_text())
    (copy / "modules.json").write_text(json.dumps([modules[0], {**modules[1], "path": path}]))
    with pytest.raises(ConfigError, match="leaves the folder"):
        TransformerEncoder(folder=str(copy)).encode(["a"], kind="query")


@pytest.mark.parametrize("name", ["a.pt", "a.PTH", "a.pkl", "a.ckpt", "a.pickle"])
def test_no_kind_of_pickle_is_let_in(folder, tmp_path, name):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "1_Pooling" / name).write_bytes(b"")
    with pytest.raises(ConfigError, match=rf"{name}: weights as a pickle"):
        TransformerEncoder(folder=str(copy)).identity()


@pytest.mark.parametrize("content", ["{", "[1]", '["a"]', "3", "[" * 100_000], ids=range(5))
def test_a_list_of_modules_that_cannot_be_read(folder, tmp_path, content):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "modules.json").write_text(content)
    with pytest.raises(ConfigError, match=r"modules\.json: unreadable"):
        TransformerEncoder(folder=str(copy)).identity()


def test_half_characters_are_replaced(folder):
    encoder = TransformerEncoder(folder=str(folder))
    one, other = encoder.encode(["red \udfff", "red \ufffd"], kind="query")
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folder": "x", "weights": "minilm-l6-v2"}, "both name a model"),
        ({"hub": "a/b"}, "revision"),
        ({"revision": "abc"}, "revision"),
        ({"hub": "a/b", "revision": "main"}, r"transformer\.revision: 'main': must be the 40 hexadecimal digits"),
        ({"hub": "a/b", "revision": "A" * 40}, "40 hexadecimal digits"),
        ({"hub": "a/b", "revision": "a" * 40 + "\n"}, "40 hexadecimal digits"),
        ({"precision": "int4"}, "precision"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ConfigError, match=message):
        TransformerEncoder(**settings)


def test_absent_folders_and_unknown_weights_say_so(tmp_path):
    with pytest.raises(ConfigError, match=r"no modules\.json"):
        TransformerEncoder(folder=str(tmp_path)).identity()
    with pytest.raises(ConfigError, match="did you mean 'minilm-l6-v2'"):
        TransformerEncoder(weights="minilm-l6").identity()


@pytest.mark.weights
def test_minilm_puts_related_texts_nearer():
    from tastemaker.weights import weights_folder

    try:
        weights_folder("minilm-l6-v2")
    except LanguageModelError as error:
        pytest.skip(str(error))
    pairs = [
        ("red nail polish", "OPI nail lacquer, crimson"),
        ("cordless telephone", "VTech DECT 6.0 handset"),
        ("board game for families", "Carcassonne"),
    ]
    encoder = TransformerEncoder()
    left, right = (encoder.encode(side, kind="document") for side in zip(*pairs, strict=True))
    cosines = left @ right.T
    assert np.array_equal(cosines.argmax(axis=1), range(len(pairs)))
