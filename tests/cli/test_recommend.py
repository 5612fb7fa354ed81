"""`fit` and `recommend`: the lists are those that `evaluate` measures."""

from __future__ import annotations

import csv
import json
import math

import polars as pl
import pytest

from tastemaker.testing import tiny_shop


@pytest.fixture
def model(tastemaker, shop, tmp_path):
    outcome = tastemaker("fit", "transitions", "--data", shop, "--out", tmp_path / "model")
    assert outcome.code == 0, outcome.err
    return tmp_path / "model"


def last_items(shop):
    log = pl.read_parquet(shop / "interactions.parquet")
    return {
        user: items
        for user, items in log.group_by("user_id", maintain_order=True).agg("item_id").iter_rows()
        if len(items) >= 3
    }


@pytest.mark.parametrize("name", ["transitions", "popular", "item_knn"])
def test_ndcg_recomputed_by_hand_is_that_of_evaluate(tastemaker, shop, tmp_path, name):
    assert tastemaker("fit", name, "--data", shop, "--out", tmp_path / "m").code == 0
    lists = {line["user_id"]: line for line in tastemaker("recommend", tmp_path / "m", "--all", "--json").lines()}
    gains = []
    for user, items in last_items(shop).items():
        listed = lists[user]["item_ids"]
        assert len(listed) == len(lists[user]["scores"]) == 10
        assert not set(items[:-1]) & set(listed), "an item of the history is listed"
        gains.append(1 / math.log2(listed.index(items[-1]) + 2) if items[-1] in listed else 0.0)
    result = tastemaker("evaluate", name, "--data", shop, "--json").json()
    assert result["metrics"]["ndcg@10"]["value"] == pytest.approx(sum(gains) / len(gains), abs=1e-7)
    assert result["protocol"]["split"] == "leave-one-out"


def test_user_and_history_agree(tastemaker, shop, model):
    user, items = next(iter(last_items(shop).items()))
    by_user = tastemaker("recommend", model, "--user", user, "-k", 5, "--json").json()
    by_history = tastemaker("recommend", model, "--history", ",".join(items[:-1]), "-k", 5, "--json").json()
    assert by_user["item_ids"] == by_history["item_ids"]
    assert by_user["user_id"] == user
    assert by_history["user_id"] is None


def test_explanations_cite_the_history(tastemaker, shop, model):
    user, items = next(iter(last_items(shop).items()))
    answer = tastemaker("recommend", model, "--user", user, "--explain", "--json").json()
    assert len(answer["reasons"]) == len(answer["item_ids"])
    for reason in answer["reasons"]:
        assert reason["text"]
        for evidence in reason["evidence"]:
            assert evidence["item_id"] is None or evidence["item_id"] in items[:-1]


def test_production_fit_learns_from_everything(tastemaker, shop, tmp_path):
    outcome = tastemaker("fit", "transitions", "--data", shop, "--out", tmp_path / "m", "--split", "none", "--json")
    assert outcome.json()["protocol"]["split"] == "none"
    user, items = next(iter(last_items(shop).items()))
    answer = tastemaker("recommend", tmp_path / "m", "--user", user, "-k", 40, "--json").json()
    assert not set(items) & set(answer["item_ids"])


def test_out_file_and_table(tastemaker, shop, model, tmp_path):
    outcome = tastemaker("recommend", model, "--all", "--out", tmp_path / "lists.jsonl")
    assert outcome.code == 0
    assert outcome.out == ""
    lines = [json.loads(line) for line in (tmp_path / "lists.jsonl").read_text().splitlines()]
    assert len(lines) == 80
    table = tastemaker("recommend", model, "--history", "i001", "--explain").out
    assert "reason" in table
    assert "number" in table


def test_a_wish_without_a_stage_that_reads_it_is_said(tastemaker, model):
    outcome = tastemaker("recommend", model, "--history", "i001", "--wish", "soap", "--json")
    assert outcome.code == 0
    assert "no stage of this model reads a wish" in outcome.err


def test_a_wish_that_only_orders_what_others_found_is_said(tastemaker, shop, tmp_path):
    (tmp_path / "two.toml").write_text('[[stage]]\nmodel = "transitions"\nkeep = 7\n[[stage]]\nmodel = "text_knn"\n')
    tastemaker("fit", tmp_path / "two.toml", "--data", shop, "--out", tmp_path / "two")
    ask = ("recommend", tmp_path / "two", "--history", "i001", "--wish")
    assert "its words order the 7 candidates that the first stage finds without them" in tastemaker(*ask, "soap").err
    assert "order the 7" not in tastemaker(*ask, "under 100").err


def test_lists_are_written_as_a_table(tastemaker, model, tmp_path):
    lines = tastemaker("recommend", model, "--all", "-k", 2, "--explain").lines()
    tastemaker("recommend", model, "--all", "-k", 2, "--explain", "--out", tmp_path / "lists.csv")
    with (tmp_path / "lists.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["user_id"], row["item_id"], row["reason"]) for row in rows] == [
        (line["user_id"], item, reason["text"])
        for line in lines
        for item, reason in zip(line["item_ids"], line["reasons"], strict=True)
    ]
    assert [row["rank"] for row in rows[:2]] == ["1", "2"]


def test_a_table_of_lists_says_what_it_has_no_place_for(tastemaker, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id\n" + "".join(f"u{n},{item}\n" for n in range(9) for item in ("a", "-b", "c")))
    assert tastemaker("fit", "popular", "--data", log, "--split", "none", "--out", tmp_path / "m").code == 0
    outcome = tastemaker("recommend", tmp_path / "m", "--history", "a,c", "--out", tmp_path / "one.csv")
    assert (tmp_path / "one.csv").read_text().splitlines()[1].startswith(",1,'-b,")
    assert "1 cell that a spreadsheet would run begin with ' now; JSON lines leave them" in outcome.err
    outcome = tastemaker("recommend", tmp_path / "m", "--all", "--out", tmp_path / "all.csv")
    assert (tmp_path / "all.csv").read_text() == "user_id,rank,item_id,score,reason\n"
    assert "9 lists without a product: no line of the table" in outcome.err


def test_reasons_in_german(tastemaker, refused, model):
    words = ("recommend", model, "--history", "i001", "-k", 1, "--explain", "--json")
    [english], [german] = (tastemaker(*words, "--language", one).json()["reasons"] for one in ("en", "de"))
    assert english["evidence"] == german["evidence"]
    assert "gekauft" in german["text"].lower()
    assert tastemaker(*words, "--language", "fr").code == 2
    words = ("recommend", model, "--history", "i001", "--language", "de")
    assert "--language de: no reason would be in it: give --explain too" in refused(*words)
    assert "a language model phrases in English alone; leave --phrase out" in refused(*words, "--phrase")


def test_a_wish_filters_whatever_the_model(tastemaker, model):
    items = tiny_shop(users=80).items.frame
    fitting = items.filter((pl.col("price") <= 19.99) & (pl.col("brand") != "Acme"))["id"].to_list()
    outcome = tastemaker(
        "recommend", model, "--history", "i001", "-k", 40, "--wish", "under 20, not from acme", "--json"
    )
    answer = outcome.json()
    assert set(answer["item_ids"]) == set(fitting) - {"i001"}
    assert answer["wish"]["filters"] == {"price_to": 19.99, "not_brands": ["Acme"]}
    assert answer["wish"]["products_that_fit"] == len(fitting)
    assert "understood as: price up to 19.99; not brand Acme (" in outcome.err
    assert "reads a wish" not in outcome.err, "no words remain that a stage could read"
    everybody = tastemaker("recommend", model, "--all", "--wish", "under 20, not from acme").lines()
    assert all(set(line["item_ids"]) <= set(fitting) for line in everybody)


def test_a_wish_that_nothing_fits_gives_no_product(tastemaker, model):
    outcome = tastemaker("recommend", model, "--history", "i001", "--wish", "under 1", "--json")
    assert outcome.json()["item_ids"] == []
    assert outcome.json()["note"] == "no product fits the wish; ask for less"
    assert "(0 of 40 products fit)" in outcome.err


def test_a_short_list_under_a_wish_says_who_has_no_opinion_and_what_helps(tastemaker, shop, tmp_path):
    table = pl.read_parquet(shop / "items.parquet")
    new = table.head(3).with_columns(item_id=pl.col("item_id") + "-new", brand=pl.lit("Novum"))
    pl.concat([table, new]).write_parquet(shop / "items.parquet")
    ask = ("--history", "i001", "--wish", "from novum")
    plain, bare, read = (tmp_path / name for name in ("plain", "bare", "read"))
    for name, model, more in (
        (plain, "transitions", ()),
        (bare, "transitions", ("--set", "fallback=none")),
        (read, "text_knn", ()),
    ):
        assert tastemaker("fit", model, "--data", shop, "--out", name, *more).code == 0
    cure = "put a stage first that ranks products by their texts (text_knn)"
    said = tastemaker("recommend", plain, *ask)
    assert "note: 3 products fit the wish, and transitions and the fallback popular have no opinion on 3 of them: " in (
        said.err
    )
    assert cure in said.err
    answer = tastemaker("recommend", bare, *ask, "--json").json()
    assert answer["item_ids"] == []
    assert answer["note"].endswith(f'transitions has no opinion on 3 of them: {cure} or set fallback = "popular"')
    answer = tastemaker("recommend", read, *ask, "--json").json()
    assert len(answer["item_ids"]) == 3
    assert "note" not in answer
    answer = tastemaker("recommend", read, "--history", "i001-new,i000-new,i002-new", *ask[2:], "--json").json()
    assert answer["note"] == "the shopper has all products that fit the wish (3); seen = true (--seen) lists them"


def test_a_wish_is_read_by_the_language_model_if_there_is_one(refused, model):
    line = refused("recommend", model, "--history", "i001", "--wish", "soap", "--wish-reader", "lm")
    assert "--wish-reader lm: no stage of this model has a language model" in line
    line = refused("recommend", model, "--history", "i001", "--wish-reader", "lm")
    assert "--wish-reader lm: there is no wish to read; give --wish TEXT too" in line


def test_a_wish_steers_text_knn(tastemaker, shop, tmp_path):
    assert tastemaker("fit", "text_knn", "--data", shop, "--out", tmp_path / "m").code == 0
    answer = tastemaker("recommend", tmp_path / "m", "--history", "i001", "--wish", "brush", "-k", 3, "--json").json()
    catalogue = pl.read_parquet(shop / "items.parquet")
    titles = dict(zip(catalogue["item_id"], catalogue["title"], strict=True))
    assert all("brush" in titles[item] for item in answer["item_ids"])


def test_a_huge_k_gives_the_whole_catalogue(tastemaker, model):
    answer = tastemaker("recommend", model, "--history", "i001", "-k", 10**9, "--json").json()
    assert len(answer["item_ids"]) < 40


def test_a_model_that_holds_purchases_back_says_so(tastemaker, model):
    assert "holds back test purchases" in tastemaker("recommend", model, "--all").err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--user", "nobody"], "unknown id 'nobody'"),
        (["--history", "i001,i9999"], "unknown id 'i9999'"),
        (["--history", "i001\ni002"], "--history: "),
        ([], "give exactly one of"),
        (["--user", "u001", "--all"], "give exactly one of"),
    ],
)
def test_mistakes_are_one_line(refused, model, words, message):
    assert message in refused("recommend", model, *words)


def test_a_missing_or_damaged_model_is_one_line(refused, model, tmp_path):
    assert "not a saved model" in refused("recommend", tmp_path / "nothing", "--all")
    (model / "arrays.safetensors").write_bytes(b"x")
    assert "SHA-256" in refused("recommend", model, "--all")


def test_output_that_cannot_be_written(refused, model, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused("recommend", model, "--all", "--out", tmp_path / "file" / "lists.jsonl")
