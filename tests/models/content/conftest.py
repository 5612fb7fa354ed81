"""A shop of printers, paper and the like, and a tiny random sentence encoder, for tests of two towers."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from printer_shop import KINDS, MAKERS, WORDS, catalogue

from tastemaker.data.dataset import Dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A sentence-transformers model of three tiny random BERT layers."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    place = tmp_path_factory.mktemp("model")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (place / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(str(place / "vocab.txt"), model_max_length=32).save_pretrained(place / "bert")
    shape = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=32, initializer_range=0.15, **shape)
        model = BertModel(config)
        model.embeddings.word_embeddings.weight.data.mul_(10)  # words stay apart
        model.save_pretrained(place / "bert")
    modules = [Transformer(str(place / "bert"), max_seq_length=16), Pooling(32), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(place / "model"), create_model_card=False)
    return str(place / "model")


@pytest.fixture(scope="module")
def shop():
    """Who buys a printer of a maker buys paper of some maker next: texts alone would say another printer.

    Nobody buys what "fine" makes.
    """
    rng = np.random.default_rng(0)
    rows = []
    for user in range(200):
        for at in range(3):
            kind = 2 * rng.integers(3)
            bought = [f"{KINDS[kind + step]}-{MAKERS[rng.integers(5)]}" for step in (0, 1)]
            rows += [(f"u{user}", item, 10 * at + step) for step, item in enumerate(bought)]
    log = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    return Dataset.from_frames(log, catalogue())
