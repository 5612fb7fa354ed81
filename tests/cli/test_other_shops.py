"""`data join`, `transfer`, `tune`, and `evaluate` of a saved model: the road from several shops to one more."""

from __future__ import annotations

import polars as pl
import pytest

from tastemaker.cli.tune import _to_tune
from tastemaker.data.writers.canonical import write
from tastemaker.testing import tiny_shop

SMALL = ("--set", "stage.0.dim=8", "--set", "stage.0.layers=1", "--set", "stage.0.epochs=2")
TEXT = ("--set", "stage.0.inputs=text")


@pytest.fixture
def others(tmp_path):
    for seed in (1, 2):
        write(tiny_shop(users=60, seed=seed), tmp_path / f"other{seed}")
    return tmp_path / "other1", tmp_path / "other2"


@pytest.fixture
def source(tastemaker, others, tmp_path):
    first, second = others
    joined = tastemaker("data", "join", f"one={first}", f"two={second}", "--out", tmp_path / "both", "--json")
    assert joined.json()["users"] == 120
    fitted = tastemaker("fit", "sasrec", *SMALL, *TEXT, "--data", tmp_path / "both", "--out", tmp_path / "source")
    assert fitted.code == 0, fitted.err
    return tmp_path / "source"


def test_zero_shot_few_shot_and_scratch_are_measured_alike(tastemaker, source, shop):
    zero = tastemaker("evaluate", source, "--data", shop, "--json").json()
    few = tastemaker("evaluate", source, "--data", shop, "--share", 0.5, "--json").json()
    scratch = tastemaker("evaluate", "sasrec", *SMALL, *TEXT, "--data", shop, "--share", 0.5, "--json").json()
    assert zero["protocol"]["tuned_on_share"] == 0
    assert few["protocol"]["tuned_on_interactions"] < zero["protocol"]["train_interactions"]
    assert scratch["protocol"]["learnt_from_share_of_shoppers"] == 0.5
    assert len({one["protocol"]["test_queries"] for one in (zero, few, scratch)}) == 1
    assert len({one["metrics"]["ndcg@10"]["value"] for one in (zero, few, scratch)}) == 3


def test_a_transferred_model_recommends_the_other_shops_products(tastemaker, source, shop, tmp_path):
    moved = tastemaker("transfer", source, "--data", shop, "--out", tmp_path / "moved", "--json")
    assert moved.json()["transferred_from"]["data_fingerprint"] != moved.json()["data_fingerprint"]
    listed = tastemaker("recommend", tmp_path / "moved", "--all", "--json").lines()
    assert {item for line in listed for item in line["item_ids"]} <= set(
        pl.read_parquet(shop / "items.parquet")["item_id"]
    )


def test_a_transfer_says_how_much_of_the_catalogue_was_known(tastemaker, source, shop, tmp_path):
    said = tastemaker("transfer", source, "--data", shop, "--out", tmp_path / "there").out
    assert f"ranks the 40 products of {shop}, 0 of which it knew by id," in said
    assert tastemaker("fit", "text_knn", "--data", shop, "--out", tmp_path / "own").code == 0
    table = pl.read_parquet(shop / "items.parquet")
    new = table.head(2).with_columns(pl.col("item_id") + "-new")
    pl.concat([table, new]).write_parquet(shop / "items.parquet")
    said = tastemaker("transfer", tmp_path / "own", "--data", shop, "--out", tmp_path / "today").out
    assert f"ranks the 42 products of {shop}, 40 of which it knew by id," in said


def test_tuning_writes_a_new_model_and_names_what_was_fitted_anew(tastemaker, source, shop, tmp_path):
    before = sorted((path.name, path.read_bytes()) for path in source.iterdir())
    tuned = tastemaker("tune", source, "--data", shop, "--out", tmp_path / "tuned", "--share", 0.5, "--json").json()
    assert tuned["protocol"]["tuned_on_share"] == 0.5
    assert tuned["protocol"]["fitted_anew"] == ["popular"]  # the fallback
    assert sorted((path.name, path.read_bytes()) for path in source.iterdir()) == before
    everything = tastemaker("tune", source, "--data", shop, "--out", tmp_path / "all", "--split", "none", "--json")
    assert everything.json()["protocol"]["split"] == "none"


def test_mistakes_are_said(tastemaker, refused, source, shop, others, tmp_path):
    assert "write NAME=FOLDER" in refused("data", "join", others[0], "--out", tmp_path / "x")
    assert "needs at least two" in refused("data", "join", f"a={others[0]}", "--out", tmp_path / "x")
    assert "is the model itself" in refused("transfer", source, "--data", shop, "--out", source)
    assert "must be between 0 and 1" in refused("tune", source, "--data", shop, "--out", tmp_path / "x", "--share", 2)
    assert "a saved model keeps its settings" in refused("evaluate", source, "--data", shop, *SMALL)
    assert "a saved model is measured as it is" in refused("evaluate", source, "--data", shop, "--refit", "yes")
    by_id = tmp_path / "by_id"
    assert tastemaker("fit", "sasrec", *SMALL, "--data", others[0], "--out", by_id).code == 0
    assert 'inputs = "text" or "both"' in refused("transfer", by_id, "--data", shop, "--out", tmp_path / "x")


def test_what_can_be_tuned_is_said(refused, shop, tmp_path):
    words = ("--data", shop, "--out", tmp_path / "x")
    said = refused("tune", "popular", *words)
    assert "not a saved model" in said
    assert "a TOML file with a table [stage.tuning]" in said
    untuned, tuned = tmp_path / "untuned.toml", tmp_path / "tuned.toml"
    lines = '[[stage]]\nmodel = "transitions"\n[[stage]]\nmodel = "distilled"\n[[stage.member]]\nmodel = "listwise"\n'
    lines = f'[lm]\nmodel = "smollm2-135m-instruct"\n{lines}'
    untuned.write_text(lines)
    tuned.write_text(f"{lines}[stage.member.tuning]\nepochs = 1\n")
    assert "add one, or use tastemaker fit" in refused("tune", untuned, *words)
    assert [stage.recommender.name for stage in _to_tune(tuned, None, 1.0).stages] == ["transitions", "distilled"]


def test_a_model_that_learnt_everything_is_not_measured_on_the_same_shop(tastemaker, refused, shop, tmp_path):
    for split in ("none", "leave-one-out"):
        words = ("fit", "text_knn", "--data", shop, "--out", tmp_path / split, "--split", split)
        assert tastemaker(*words).code == 0
    assert "fitted on these very data" in refused("evaluate", tmp_path / "none", "--data", shop)
    found = tastemaker("evaluate", tmp_path / "leave-one-out", "--data", shop, "--json").json()
    plain = tastemaker("evaluate", "text_knn", "--data", shop, "--json").json()
    assert found["metrics"]["ndcg@10"] == plain["metrics"]["ndcg@10"]


def test_fit_and_evaluate_draw_one_split_by_seed(tastemaker, refused, shop, tmp_path):
    cold = ("--data", shop, "--split", "user-cold", "--seed", 3)
    saved = tastemaker("fit", "text_knn", *cold, "--out", tmp_path / "cold", "--json").json()
    assert saved["protocol"]["split_seed"] == 3
    found = tastemaker("evaluate", tmp_path / "cold", *cold, "--json").json()
    assert found["protocol"]["fitted_on"] == "train, and saved"
    plain = tastemaker("evaluate", "text_knn", *cold, "--json").json()
    assert found["metrics"]["ndcg@10"] == plain["metrics"]["ndcg@10"]
    assert "another train part of them" in refused("evaluate", tmp_path / "cold", *cold[:-1], 4)


def test_a_detour_makes_no_model_forget_the_shop(tastemaker, refused, shop, others, tmp_path):
    everything, away, back = (tmp_path / name for name in ("everything", "away", "back"))
    assert tastemaker("fit", "text_knn", "--data", shop, "--out", everything, "--split", "none").code == 0
    assert tastemaker("tune", everything, "--data", others[0], "--out", away).code == 0
    assert tastemaker("transfer", away, "--data", shop, "--out", back).code == 0
    for model in (away, back):
        assert "fitted on these very data" in refused("evaluate", model, "--data", shop)
    assert "fitted on these very data" in refused("tune", away, "--data", shop, "--out", tmp_path / "tuned")


def test_a_model_that_only_moved_here_has_learnt_nothing_here(tastemaker, source, shop, tmp_path):
    assert tastemaker("transfer", source, "--data", shop, "--split", "none", "--out", tmp_path / "moved").code == 0
    found = tastemaker("evaluate", tmp_path / "moved", "--data", shop, "--json").json()
    straight = tastemaker("evaluate", source, "--data", shop, "--json").json()
    assert found["protocol"]["fitted_on"] == straight["protocol"]["fitted_on"] == "other data, and saved"
    assert found["metrics"]["ndcg@10"] == straight["metrics"]["ndcg@10"]
    assert found["protocol"]["choices"] == straight["protocol"]["choices"]
    assert found["protocol"]["choices"].startswith("as saved: validation: ")


def test_a_shop_inside_a_join_is_known_again(tastemaker, refused, shop, others, tmp_path):
    joined, source, away = (tmp_path / name for name in ("joined", "source", "away"))
    both = ("data", "join", f"here={shop}", f"there={others[0]}", "--out", joined)
    assert tastemaker(*both).code == 0
    assert tastemaker("fit", "text_knn", "--data", joined, "--out", source).code == 0
    assert tastemaker("tune", source, "--data", others[1], "--out", away).code == 0
    for model in (source, away):
        for words in (
            ("evaluate", model),
            ("evaluate", model, "--share", 0.5),
            ("tune", model, "--out", tmp_path / "x"),
        ):
            message = refused(*words, "--data", shop)
            assert "learnt from this very shop, so it is not zero-shot here" in message
            assert "the shop 'here' of the joined data" in message
    assert tastemaker("evaluate", source, "--data", others[1]).code == 0
    assert tastemaker("tune", source, "--data", shop, "--out", tmp_path / "x", "--split", "none").code == 0


def test_a_shop_under_another_fingerprint_is_known_again(tastemaker, refused, shop, tmp_path):
    export = tmp_path / "export"
    export.mkdir()
    log = pl.read_parquet(shop / "interactions.parquet")
    log.filter(pl.col("user_id") != log["user_id"][0]).write_parquet(export / "interactions.parquet")
    pl.read_parquet(shop / "items.parquet").with_columns(colour=pl.lit("red")).write_parquet(export / "items.parquet")
    assert tastemaker("fit", "text_knn", "--data", export, "--out", tmp_path / "m", "--split", "none").code == 0
    assert "learnt from this very shop" in refused("evaluate", tmp_path / "m", "--data", shop)


def test_what_tuned_no_encoder_has_none_to_export(tastemaker, refused, source, tmp_path):
    assert "no stage of it has tuned a sentence encoder" in refused("weights", "export", source, tmp_path / "encoder")
