"""`tastemaker augment`: the folder that it writes, with the provenance of every row, and how other commands use it."""

from __future__ import annotations

import json

import polars as pl
import pytest

from tastemaker import config
from tastemaker.augment import run
from tastemaker.data import readers
from tastemaker.data.writers.canonical import write
from tastemaker.errors import ConfigError, DataError
from tastemaker.testing import tiny_shop

SETTINGS = {"stage": [{"model": "item_knn"}]}


def test_every_row_has_its_provenance(tastemaker, shop, tmp_path):
    out = tmp_path / "augmented"
    words = ["augment", "item_knn", "--data", shop, "--out", out, "--set", "stage.0.alpha=0.5"]
    done = tastemaker(
        *words, *(word for kind in ("keywords", "profiles", "interactions") for word in ("--keep", kind)), "--json"
    )
    assert done.code == 0, done.err
    report = done.json()
    assert report == {"out": str(out), **json.loads((out / "augmentation.json").read_text())}
    assert report["written"]["descriptions"]["skipped"] == 'needs writer = "lm"'
    rows = pl.read_parquet(out / "provenance.parquet")
    data, _ = readers.read(out)
    assert set(rows["author"]) == set(rows["prompt"]) == {"statistics"}
    assert set(rows["train"]) == {report["train"]}
    for table, column, entities in (
        ("items", "written_keywords", data.items),
        ("users", "profile", data.users),
    ):
        said = rows.filter((pl.col("table") == table) & (pl.col("field") == column))["id"].to_list()
        assert said == entities.frame.filter(pl.col(column).is_not_null())["id"].to_list()
        assert said
    synthetic = data.log.filter(data.synthetic())
    proposed = rows.filter(pl.col("table") == "interactions")
    assert proposed.height == synthetic.height > 0
    assert set(zip(proposed["field"], proposed["id"], strict=True)) == set(
        zip(data.users.ids(synthetic["user"].to_numpy()), data.items.ids(synthetic["item"].to_numpy()), strict=True)
    )
    assert "statistics" in synthetic["provenance"][0]
    again = tastemaker("evaluate", "item_knn", "--data", out, "--json")
    assert again.code == 0, again.err
    assert again.json()["protocol"]["synthetic_interactions_in_training"] == synthetic.height
    fitted = tastemaker("fit", "transitions", "--data", out, "--out", tmp_path / "m", "--split", "none")
    assert fitted.code == 0, fitted.err
    user = data.users.ids(synthetic["user"].to_numpy()[:1])[0]
    listed = tastemaker("recommend", tmp_path / "m", "--user", user, "-k", 40, "--json").json()["item_ids"]
    proposed_to = set(data.items.ids(synthetic.filter(pl.col("user") == synthetic["user"][0])["item"].to_numpy()))
    assert proposed_to & set(listed), "what was only proposed is not taken for bought"
    replaced = tastemaker(*words, "--overwrite")
    assert replaced.code == 0, replaced.err
    assert "switched off" in replaced.out


def test_production_chooses_by_a_leave_one_out_split_and_says_so(tastemaker, refused, tmp_path):
    write(tiny_shop(users=700), tmp_path / "shop")
    config = tmp_path / "c.toml"
    stage = '[[stage.member]]\nmodel = "item_knn"\nalpha = 0.5\n[[stage.member]]\nmodel = "popular"\n'
    config.write_text(f'[[stage]]\nmodel = "blend"\n{stage}')
    for split in ("leave-one-out", "temporal"):
        keep = [word for kind in ("keywords", "interactions") for word in ("--kind", kind, "--keep", kind)]
        words = ("augment", config, "--data", tmp_path / "shop", "--out", tmp_path / split, "--split", split, *keep)
        assert tastemaker(*words).code == 0
    fit = ("fit", config, "--split", "none", "--out", tmp_path / "m", "--data")
    done = tastemaker(*fit, tmp_path / "leave-one-out", "--json")
    assert done.code == 0, done.err
    assert done.json()["reports"][0]["ndcg@10_on_validation"], "it chose"
    answer = tastemaker("recommend", tmp_path / "m", "--user", "u001", "--explain", "--json").json()
    assert len(answer["item_ids"]) == len(answer["reasons"]) == 10
    said = refused(*fit, tmp_path / "temporal")
    assert (
        "augment on the same data with --split leave-one-out, by which fit --split none makes its choices too" in said
    )


def test_mistakes_are_named(refused, shop, tmp_path):
    out = ("--data", shop, "--out", tmp_path / "x")
    assert "augment.kinds" in refused("augment", "item_knn", *out, "--kind", "poems")
    assert '"lm" needs an [lm] table' in refused("augment", "item_knn", *out, "--writer", "lm")
    assert "--keep profiles: is not written" in refused(
        "augment", "item_knn", *out, "--kind", "keywords", "--keep", "profiles"
    )
    assert "item_knn.stage[0].nope: unknown key" in refused("augment", "item_knn", *out, "--set", "stage.0.nope=1")
    assert "augment.nope: unknown key" in refused("augment", "item_knn", *out, "--set", "augment.nope=1")
    with pytest.raises(ConfigError, match="must be a table of what to write"):
        (tmp_path / "bad.toml").write_text('augment = "all"\n[[stage]]\nmodel = "popular"\n')
        config.read_augment(str(tmp_path / "bad.toml"))
    data = tiny_shop()
    with pytest.raises(DataError, match="'provenance' is in the way"):
        run.augment(SETTINGS, {}, data.with_log(data.log.with_columns(pl.lit("web").alias("provenance"))))


def test_settings_of_the_table_can_be_set_from_the_command_line(tastemaker, shop, tmp_path):
    words = ("augment", "item_knn", "--data", shop, "--out", tmp_path / "a", "--keep", "keywords", "--json")
    done = tastemaker(*words, "--set", "augment.most=3", "--set", 'augment.kinds=["keywords"]')
    assert done.code == 0, done.err
    report = done.json()
    assert report["config"]["most"] == 3
    assert list(report["written"]) == ["keywords"]
    assert report["written"]["keywords"]["count"] == 3
    assert pl.read_parquet(tmp_path / "a" / "items.parquet")["written_keywords"].count() == 3


def test_a_folder_that_is_in_the_way_is_refused_before_anything_is_written(refused, shop, tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    monkeypatch.setattr(run, "augment", None)
    assert "not empty (notes.txt)" in refused("augment", "item_knn", "--data", shop, "--out", tmp_path / "full")
