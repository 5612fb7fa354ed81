"""Augmentation: only training data is read, every row has its provenance, and what is no help is switched off."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest

from tastemaker.augment import gate, run
from tastemaker.augment.edges import propose
from tastemaker.augment.settings import AugmentConfig
from tastemaker.data import Dataset, Entities, readers
from tastemaker.data.dataset import WRITTEN_FROM
from tastemaker.data.splits import item_cold, leave_one_out, temporal
from tastemaker.data.writers.canonical import write
from tastemaker.encoders.tfidf import TfidfEncoder
from tastemaker.errors import ConfigError, DataError, LanguageModelError
from tastemaker.lm.scripted import GARBLED, ScriptedLM
from tastemaker.search.objective import Asked
from tastemaker.testing import tiny_shop
from tastemaker.text.item_writer import ItemWriter, words_of_company
from tastemaker.text.render import item_texts, user_texts
from tastemaker.text.shopper_picker import ShopperPicker

SETTINGS = {"stage": [{"model": "item_knn"}]}


def two_tastes(users=80, items=40):
    """Return a shop where even shoppers buy even products; titles tell the taste, and a colour that says nothing."""
    rng = np.random.default_rng(0)
    rows = [
        (f"u{user:03}", f"i{item:03}")
        for user in range(users)
        for item in rng.permutation(np.arange(user % 2, items - 4, 2))[:6]
    ]
    frame = pl.DataFrame(
        {
            "item_id": [f"i{item:03}" for item in range(items)],
            "title": [
                f"{('lavender cream', 'steel drill')[item % 2]} {('red', 'green', 'blue')[item % 3]} number {item}"
                for item in range(items)
            ],
        }
    )
    return Dataset.from_frames(pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row"), frame)


# --- writers ----------------------------------------------------------------------------------------------------------


def test_words_of_company_against_a_slow_oracle():
    data = tiny_shop(users=100)
    found = words_of_company(data, count=3)
    texts = [
        set(re.findall(r"[a-z]{3,}", " ".join(filter(None, [row["title"], row["brand"], *row["categories"]])).lower()))
        for row in data.items.frame.iter_rows(named=True)
    ]
    stop = {"number", "category", "brand"} - {"number"}
    counts = {word: sum(word in text for text in texts) for text in texts for word in text}
    bought = data.matrix().toarray() > 0
    for item in range(data.n_items):
        weights = {}
        for word in counts:
            company = [
                (bought[:, item] & bought[:, other]).sum()
                for other in range(data.n_items)
                if other != item and word in texts[other]
            ]
            if word not in texts[item] and word not in stop and counts[word] >= 2 and np.count_nonzero(company) >= 2:
                weights[word] = sum(company) * np.log(data.n_items / counts[word])
        best = [
            word for word in sorted(weights, key=lambda word: (-round(weights[word], 3), word)) if weights[word] > 0
        ]
        assert found[item] == ", ".join(best[:3])


def test_a_model_writes_and_garbage_is_left_out():
    items = tiny_shop().items
    writer = ItemWriter(
        items, ScriptedLM(lambda prompt: "A mild shampoo by Bolt for every day. A mild shampoo by Bolt for every day.")
    )
    assert writer.descriptions([1]) == ["A mild shampoo by Bolt for every day."]
    assert writer.descriptions([2]) == [""], "it must speak of the product"
    assert writer.unreadable == 1
    keywords = ItemWriter(items, ScriptedLM(lambda prompt: "1. Dry hair, daily care\n- daily care, " + "word " * 20))
    assert keywords.keywords([1]) == ["dry hair, daily care"]
    failing = ItemWriter(items, ScriptedLM([LanguageModelError("down")] * 2))
    assert failing.descriptions([1]) + failing.keywords([1]) == ["", ""]
    assert failing.tries.failed == 2
    down = ScriptedLM([LanguageModelError("down")] * 9)
    with pytest.raises(LanguageModelError, match="failed 5 times, without one answer; the last failure: down"):
        ItemWriter(items, down).keywords(range(1, 10))
    assert len(down.asked) == 5, "a server that hangs would take minutes a product"


@pytest.mark.parametrize("answer", GARBLED)
def test_any_answer_is_survived(answer):
    lm = ScriptedLM(lambda prompt: answer)
    writer = ItemWriter(tiny_shop().items, lm)
    for text in (*writer.descriptions(range(3)), *writer.keywords(range(3))):
        assert len(text) <= 300
        assert not re.search("[\x00-\x1f\u202e\u200b]", text)
    picker = ShopperPicker(lm)
    picked = picker.pick("a soap", [["x"], ["y"], ["z"]], count=2)
    assert len(picked) == len(set(picked)) <= 2
    assert set(picked) <= {0, 1, 2}


def test_the_picker_names_none_but_those_shown():
    shown = {}

    def last_two(prompt):
        shown.update(re.findall(r'^([A-Z])\. "(.*?)"', prompt.user, re.MULTILINE))
        letter = {name: letter for letter, name in shown.items()}
        return f"{letter['buys z']}, Q, {letter['buys z']}, {letter['buys x']}, {letter['buys y']}"

    picker = ShopperPicker(ScriptedLM(last_two))
    assert picker.pick("a soap", [["buys x"], ["buys y"], ["buys z"]], count=2) == [2, 0]
    assert picker.counts == {"picked": 1, "invalid letters": 1, "repeated letters": 1}


# --- edges ------------------------------------------------------------------------------------------------------------


def test_cold_products_get_buyers_of_their_taste():
    data = two_tastes()
    edges = propose(data, TfidfEncoder(), AugmentConfig(picked=3))
    assert edges.cold == edges.asked == 4
    assert set(edges.items.tolist()) == {36, 37, 38, 39}
    assert np.bincount(edges.items)[36:].tolist() == [3, 3, 3, 3]
    assert (edges.users % 2 == edges.items % 2).all()


def test_only_retrieved_shoppers_who_have_not_bought_it_are_offered():
    data = two_tastes()
    offered = []

    class Recorder(ShopperPicker):
        def pick(self, product, shoppers, *, count):
            offered.append((product, shoppers))
            return [len(shoppers) - 1]

    edges = propose(
        data, TfidfEncoder(), AugmentConfig(shoppers=5, cold_below=100, most=3), picker=Recorder(ScriptedLM())
    )
    assert edges.asked == 3
    bought = data.matrix().toarray() > 0
    assert not bought[edges.users, edges.items].any()
    assert all(len(shoppers) == 5 for _, shoppers in offered)
    assert all(product not in names for product, shoppers in offered for names in shoppers)


# --- the gate ---------------------------------------------------------------------------------------------------------


def test_what_helps_is_kept_and_what_does_not_is_switched_off():
    """Synthetic buyers, judged where cold products are asked for; keywords do nothing for a model without texts."""
    data = two_tastes(users=120, items=60)
    found = run.augment(
        SETTINGS, {"kinds": ["keywords", "interactions"], "picked": 20, "shoppers": 26}, data, split="item-cold"
    )
    judged = found.report["judged"]
    trials = {tuple(one["kinds"]): one for one in judged["trials"]}
    assert trials[("interactions",)]["helps"]
    assert trials[("keywords",)]["gain"] == 0
    assert found.report["kept"] == ["interactions"]
    assert found.report["switched_off"] == ["keywords"]
    assert "written_keywords" not in found.data.items.frame.columns
    assert judged["without"] == pytest.approx(trials[("interactions",)]["ndcg@10"] - trials[("interactions",)]["gain"])
    item_cold(found.data, seed=0)


def test_noise_is_switched_off():
    data = tiny_shop(users=200)
    found = run.augment(SETTINGS, {"kinds": ["interactions"], "cold_below": 100, "picked": 3}, data)
    [trial] = found.report["judged"]["trials"]
    assert not trial["helps"]
    assert found.report["kept"] == []
    assert not found.data.synthetic().any()
    assert found.rows.height == 0


def test_the_judgement_is_that_of_two_evaluations():
    data = tiny_shop(users=200)
    asked = Asked.of(data)
    verdict = gate.judge(SETTINGS, asked, ["same"], lambda kinds: asked.train)
    assert verdict.trials[0].gain == verdict.trials[0].error == 0
    assert verdict.kept == ()
    assert verdict.questions == len(asked.judged)


def test_kinds_that_do_not_go_together_leave_the_best(monkeypatch):
    values = {(): 0.1, ("a",): 0.3, ("b",): 0.2, ("a", "b"): 0.25}
    rng = np.random.default_rng(0).normal(0, 0.01, 100)
    monkeypatch.setattr(gate, "_values", lambda settings, asked, train, seed: values[train] + rng * len(train))

    class Nobody:
        train, judged = (), range(100)

    verdict = gate.judge({}, Nobody, ["a", "b"], tuple)
    assert [trial.kinds for trial in verdict.trials] == [("a",), ("b",), ("a", "b")]
    assert verdict.kept == ("a",)


# --- the whole --------------------------------------------------------------------------------------------------------


def scramble_held_out(data, seed):
    """Change nothing but what a leave-one-out split holds out."""
    late = (pl.len().over("user") >= 3) & (pl.int_range(pl.len()).over("user") >= pl.len().over("user") - 2)
    other = np.random.default_rng(seed).integers(0, data.n_items, len(data)).astype(np.int32)
    return data.with_log(data.log.with_columns(pl.when(late).then(pl.Series(other)).otherwise("item").alias("item")))


def test_nothing_held_out_enters_a_prompt(monkeypatch):
    data = tiny_shop(users=60)
    twin = scramble_held_out(data, 1)
    assert leave_one_out(twin).train.log.equals(leave_one_out(data).train.log)
    prompts = []
    for shop in (data, twin):
        lm = ScriptedLM(lambda prompt: "A, B")
        monkeypatch.setattr(run.language_models, "build", lambda settings, lm=lm: lm)
        wanted = {"writer": "lm", "cold_below": 4, "most": 10}
        run.augment({**SETTINGS, "lm": {"model": "any"}}, wanted, shop, keep=["interactions"])
        prompts.append(lm.asked)
    assert prompts[0] == prompts[1]
    kinds = {prompt.answer for prompt in prompts[0]}
    assert kinds == {"Description:", "Keywords:", "Keywords:\n", "Letters:"}


def test_the_shops_own_texts_stay(monkeypatch):
    data = tiny_shop(users=60)
    frame = data.items.frame.with_columns(pl.when(pl.col("id") < "i020").then(pl.lit("own")).alias("description"))
    data = Dataset(data.users, Entities(frame), data.log)
    lm = ScriptedLM(lambda prompt: "A soap or shampoo or brush or perfume for every day.")
    monkeypatch.setattr(run.language_models, "build", lambda settings: lm)
    found = run.augment(
        {**SETTINGS, "lm": {"model": "any"}}, {"writer": "lm", "kinds": ["descriptions"]}, data, keep=["descriptions"]
    )
    assert found.data.items.frame["description"].to_list() == frame["description"].to_list()
    assert found.data.items.frame["written"].is_not_null().to_list() == [n >= 20 for n in range(40)]
    again = run.augment(SETTINGS, {"kinds": ["keywords"]}, found.data)
    assert "written" not in again.data.items.frame.columns, "what was written before is left out"


@pytest.mark.parametrize("kind", ["keywords", "profiles"])
def test_texts_are_refused_under_another_split(kind, tmp_path):
    """A word about purchases before the cut in time tells most of what leave-one-out holds out."""
    data = tiny_shop(users=300)
    found = run.augment(SETTINGS, {"kinds": [kind]}, data, split="temporal", keep=[kind])
    write(found.data, tmp_path / "parquet")
    write(found.data, tmp_path / "csv", format="csv")
    for shop in (found.data, *(readers.read(tmp_path / name)[0] for name in ("parquet", "csv"))):
        assert not shop.synthetic().any()
        assert temporal(shop).train.log.equals(temporal(data).train.log)
        with pytest.raises(DataError, match=r"synthetic texts of .* train part of this leave-one-out split"):
            leave_one_out(shop)
    again = run.augment(SETTINGS, {"kinds": ["profiles"]}, found.data)
    assert WRITTEN_FROM not in again.data.items.frame.columns + again.data.users.frame.columns
    leave_one_out(again.data)


def test_what_texts_were_written_from_is_never_shown():
    data = tiny_shop(users=60)
    kinds = ["keywords", "profiles"]
    found = run.augment(SETTINGS, {"kinds": kinds}, data, keep=kinds).data
    assert "train=" in found.items.frame[WRITTEN_FROM][0]
    assert any(user_texts(found.users))
    for text in (*item_texts(found.items), *user_texts(found.users)):
        assert "train=" not in text
        assert "written from" not in text
    with pytest.raises(ConfigError, match=WRITTEN_FROM):
        item_texts(found.items, template="{written_from}")


def test_a_shops_own_column_is_its_own():
    data = tiny_shop(users=60)
    data = Dataset(data.users, Entities(data.items.frame.with_columns(pl.lit("the web").alias(WRITTEN_FROM))), data.log)
    leave_one_out(data)
    with pytest.raises(DataError, match="items: column 'written_from' is in the way"):
        run.augment(SETTINGS, {"kinds": ["keywords"]}, data)
