"""`tastemaker fit` of networks: checkpoints, learning curves, threads and device."""

from __future__ import annotations

import json
import re

import polars as pl
import pytest
import tiny_models

from tastemaker import registry, saved
from tastemaker.cli.loading import build_pipeline
from tastemaker.compare import entries
from tastemaker.data.dataset import Dataset
from tastemaker.data.writers.canonical import write
from tastemaker.errors import TrainingFailed
from tastemaker.neural.training import loop

SMALL = ("--set", "stage.0.dim=8", "--set", "stage.0.layers=1", "--set", "stage.0.epochs=3")


def test_a_stopped_fit_goes_on_where_it_was(tastemaker, shop, tmp_path, monkeypatch):
    words = ["fit", "sasrec", "--data", shop, *SMALL, "--out", tmp_path / "model", "--split", "none"]
    words += ["--checkpoints", tmp_path / "kept", "--curves", f"jsonl:{tmp_path / 'curves.jsonl'}"]
    epoch, count = loop._epoch, 0

    def stopping(*args, **settings):
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return epoch(*args, **settings)

    monkeypatch.setattr(loop, "_epoch", stopping)
    stopped = tastemaker(*words)
    assert stopped.code
    assert f"stopped; the same command goes on from {tmp_path / 'kept'}" in stopped.err
    assert not (tmp_path / "model").exists()
    assert tastemaker(*words, "--json").json()["reports"][0]["best_epoch"]
    lines = [json.loads(line) for line in (tmp_path / "curves.jsonl").read_text().splitlines()]
    assert [one["epoch"] for one in lines if "ndcg@10" in one] == [1, 2, 3]  # none was trained twice
    assert {one["part"] for one in lines} == {"0/sasrec"}
    assert list((tmp_path / "kept").iterdir()) == []


def test_threads_are_told(tastemaker, shop, tmp_path):
    words = ["fit", "sasrec", "--data", shop, *SMALL, "--out", tmp_path / "model", "--json"]
    assert tastemaker(*words, "--threads", "1").json()["reports"][0]["threads"] == 1


@pytest.mark.parametrize(
    ("option", "word", "said"),
    [
        ("--threads", "many", "--threads many: must be a number of at least 1, or measure"),
        ("--threads", "0", "--threads 0: must be a number of at least 1, or measure"),
        ("--device", "cuda:9", "device 'cuda:9': not on this machine"),
        ("--curves", "csv:here", "--curves csv:here: unknown kind of learning curve"),
    ],
)
def test_mistakes_are_refused_before_anything_is_trained(refused, shop, tmp_path, option, word, said):
    assert said in refused("fit", "sasrec", "--data", shop, "--out", tmp_path / "model", option, word)


def test_one_option_puts_everything_on_a_device(shop, tmp_path):
    config = tmp_path / "c.toml"
    stage = '[[stage]]\nmodel = "text_knn"\n[encoder]\nmodel = "transformer"\n'

    def device_of(text, device, *overrides):
        config.write_text(text)
        model = build_pipeline(str(config), list(overrides), device=device).stages[0].recommender
        return model.encoder.config.device

    assert device_of(stage, None) == "cpu"
    assert device_of(stage, "cuda:1") == "cuda:1"
    assert device_of(f'{stage}device = "cpu"\n', "cuda:1") == "cpu"
    assert device_of(stage, "cuda:1", "encoder.device=cuda:2") == "cuda:2"
    [*_, row] = entries([str(config)], device="cuda:1")
    assert row.settings["encoder"]["device"] == "cuda:1"
    local = {"model": "smollm2-135m-instruct"}
    served = {"url": "http://127.0.0.1:1/v1", "model": "m"}
    for lm, wanted in ((local, {**local, "device": "cuda"}), (served, served)):
        assert registry.on_device({"lm": lm, "encoder": {}}, "cuda") == {"lm": wanted, "encoder": {}}
    own = {"lm": {**local, "device": "cpu"}}
    assert registry.on_device(own, "cuda") == registry.on_device(own, None, move=True) == own
    assert registry.on_device(own, "cuda", move=True) == {"lm": {**local, "device": "cuda"}}


def test_a_saved_model_is_moved_to_a_device(tastemaker, refused, shop, tmp_path, monkeypatch):
    pytest.importorskip("sentence_transformers", reason="needs the extra 'text'")
    folder = tiny_models.sentence_encoder()
    words = ("--set", "encoder.model=transformer", "--set", f"encoder.folder={folder}", "--set", "encoder.cache=false")
    assert tastemaker("fit", "text_knn", *words, "--data", shop, "--out", tmp_path / "m").code == 0
    pipelines = [saved.load(tmp_path / "m", device=device).pipeline for device in (None, "cuda:7")]
    assert [one.stages[0].recommender.encoder.config.device for one in pipelines] == ["cpu", "cuda:7"]
    asked = ("recommend", tmp_path / "m", "--history", "i001")
    assert "device 'cuda:7': not on this machine" in refused(*asked, "--device", "cuda:7")
    saved.save(tmp_path / "card", saved.load(tmp_path / "m", device="cuda:7"))
    there = ("recommend", tmp_path / "card", "--history", "i001", "--wish", "soap", "--json")
    assert "encoder.device: 'cuda:7': not on this machine" in refused(*there)
    moved = tastemaker(*there, "--device", "cpu").json()
    assert moved["item_ids"] == tastemaker(*asked, "--wish", "soap", "--json").json()["item_ids"]


def test_a_training_that_fails_saves_nothing(refused, shop, tmp_path, monkeypatch):
    def fails(*args, **settings):
        raise TrainingFailed("the loss is nan in epoch 1, batch 1")

    monkeypatch.setattr(loop, "_epoch", fails)
    assert "the loss is nan" in refused("fit", "sasrec", "--data", shop, *SMALL, "--out", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def write_shop(folder, rows):
    ids = sorted({item for _, item in rows})
    frame = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")
    write(Dataset.from_frames(frame, pl.DataFrame({"item_id": ids, "title": [f"red {one}" for one in ids]})), folder)
    return folder


@pytest.mark.parametrize("model", ["sasrec", "bert4rec", "lightgcn"])
def test_one_purchase_each_is_told_as_it_is(refused, tmp_path, model):
    shop = write_shop(tmp_path / "shop", [(f"u{user}", f"i{user % 5}") for user in range(20)])
    said = refused("fit", model, "--data", shop, "--split", "none", "--out", tmp_path / "model")
    assert f"{model}: no shopper has 2 purchases in the training part" in said
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("model", ["sasrec", "lightgcn"])
def test_two_purchases_each_are_learnt_from_for_all_epochs(tastemaker, tmp_path, model):
    shop = write_shop(tmp_path / "shop", [(f"u{user}", f"i{(user + at) % 5}") for user in range(20) for at in (0, 1)])
    words = ["fit", model, "--data", shop, "--split", "none", "--out", tmp_path / "model", "--set", "stage.0.epochs=2"]
    assert len(tastemaker(*words, "--json").json()["reports"][0]["learning_curve"]) == 2


def test_a_member_that_no_question_could_stop_is_told(tastemaker, tmp_path):
    """All that is held back is new: the last two purchases of each shopper are of products that nobody else bought."""
    rows = [(f"u{user}", one) for user in range(30) for one in (f"a{user % 3}", f"b{user % 4}", f"v{user}", f"t{user}")]
    shop = write_shop(tmp_path / "shop", rows)
    config = tmp_path / "blend.toml"
    config.write_text(
        '[[stage]]\nmodel = "blend"\n[[stage.member]]\nmodel = "sasrec"\ndim = 8\nlayers = 1\nepochs = 2\n'
        '[[stage.member]]\nmodel = "transitions"\n'
    )
    said = tastemaker("fit", config, "--data", shop, "--out", tmp_path / "model").err
    assert "note: blend, sasrec: trained for all epochs, as none of 30 validation questions has a history" in said


RETRIEVER = '[[stage]]\nmodel = "transitions"\nkeep = 6\n[[stage]]\ncandidates = 4\ncalibration = 20\n'
TRAINED = f"{RETRIEVER}epochs = 1\nquestions = 40\n"
CHOOSING = {
    "listwise": RETRIEVER + 'model = "listwise"\nprofile = "none"\norders = 1\n',
    "hybrid": TRAINED + 'model = "hybrid"\ndim = 8\n',
    "cross_encoder": TRAINED + 'model = "cross_encoder"\n',
    "distilled": RETRIEVER + 'model = "distilled"\n[[stage.member]]\nmodel = "text_knn"\n',
    "grounded": '[[stage]]\nmodel = "grounded"\nanswer_tokens = 4\ngamma = 0.5\n',
}


@pytest.mark.parametrize("name", CHOOSING)
def test_what_was_chosen_on_validation_is_said_in_words(tastemaker, shop, tmp_path, name):
    tables = f'[lm]\nmodel = "{tiny_models.causal()}"\ncache = false\n'
    if name == "cross_encoder":
        tables = f'[encoder]\nmodel = "transformer"\nfolder = "{tiny_models.sentence_encoder()}"\n'
    config = tmp_path / "pipeline.toml"
    config.write_text((tables if name != "distilled" else "") + CHOOSING[name])
    wanted = "weighted with the configured gamma 0.5" if name == "grounded" else "was switched off|takes part"
    for words in (["fit", config, "--out", tmp_path / "model"], ["evaluate", config, "--sample", 20]):
        told = tastemaker(*words, "--data", shop)
        assert told.code == 0, told.err
        assert re.search(wanted, " ".join(told.out.split()))
