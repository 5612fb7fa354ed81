"""Reasons: evidence from the model's own arithmetic, and sentences that cite nothing else."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tastemaker.data import Dataset, Entities, Queries, Ranking
from tastemaker.explain import Explainer
from tastemaker.lm.scripted import ScriptedLM
from tastemaker.models.collaborative.popular import Popular
from tastemaker.models.collaborative.transitions import Transitions
from tastemaker.models.content.text_knn import TextKNN
from tastemaker.pipeline import Pipeline, Stage
from tastemaker.testing import HashEncoder


@pytest.fixture
def shop():
    log = pl.DataFrame(
        [(f"u{user}", item) for user in range(4) for item in ("tea", "pot", "cup")] + [("v", "saw"), ("v", "drill")],
        schema=["user_id", "item_id"],
        orient="row",
    )
    items = pl.DataFrame(
        {
            "item_id": ["tea", "pot", "cup", "saw", "drill"],
            "title": ["Green tea 100 g", "Glass pot", "Blue cup", "Hand saw", "Drill 18 V"],
            "brand": ["Leaf", "Clara", "Clara", "Steel Co", "Volt"],
            "categories": [["Grocery"], ["Kitchen"], ["Kitchen"], ["Tools"], ["Tools"]],
        }
    )
    return Dataset.from_frames(log, items)


def explainer(shop, model=None, **parts):
    return Explainer(Pipeline([Stage(model or Transitions())], fallback=Popular()).fit(shop), **parts)


def numbers(shop, *ids):
    return shop.items.numbers(list(ids))


def test_evidence_is_what_raised_the_score(shop):
    reason = explainer(shop).reason(numbers(shop, "saw", "tea", "pot"), numbers(shop, "cup")[0])
    history = [one for one in reason.evidence if one.kind == "history"]
    assert [one.item_id for one in history] == ["pot", "tea"]
    assert sum(one.weight for one in history) == pytest.approx(1)
    assert history[0].source == "transitions"
    attributes = {(one.name, one.value, one.item_id) for one in reason.evidence if one.kind == "attribute"}
    assert attributes == {("brand", "Clara", "pot"), ("categories", "Kitchen", "pot")}
    assert '"Glass pot"' in reason.text
    assert reason.phrased_by == "template"


def test_two_products_of_one_name_are_named_once(shop):
    titles = [title if title != "Glass pot" else "Green tea 100 g" for title in shop.items.frame["title"]]
    same = Dataset(shop.users, Entities(shop.items.frame.with_columns(title=pl.Series(titles))), shop.log)
    text = explainer(same).reason(numbers(same, "tea", "pot"), numbers(same, "cup")[0]).text
    assert text.count('"Green tea 100 g"') == 1


def test_contributions_sum_to_the_score(shop):
    model = Transitions().fit(shop)
    history = numbers(shop, "saw", "tea", "pot", "tea")
    scores = model.score(Queries.from_lists([history]))[0]
    for item in range(shop.n_items):
        total = model.contributions(history, item).sum()
        assert total == pytest.approx(max(scores[item], 0), abs=1e-6)


def test_popularity_is_cited_only_where_it_is_true(shop):
    reason = explainer(shop, Popular()).reason(np.array([], np.int32), 0)
    assert [one.kind for one in reason.evidence] == ["popularity"]
    assert reason.text == "Popular with other shoppers: bought 4 times."


def test_where_nothing_is_known_that_is_said(shop):
    unsold = shop.with_log(shop.log.filter(pl.col("item") != 4))
    reason = explainer(unsold, Popular()).reason(np.array([], np.int32), 4)
    assert reason.evidence == ()
    assert reason.text == "Chosen by popular; no single purchase or attribute explains it."


def test_a_wish_is_evidence(shop):
    queries = Queries.from_lists([[]], texts=["a blue cup please"])
    pipeline = Pipeline([Stage(TextKNN(encoder=HashEncoder()))]).fit(shop)
    [[first, *_]] = Explainer(pipeline).explain(
        queries, Ranking(np.array([[2]], np.int32), np.ones((1, 1), np.float32))
    )
    assert [one.name for one in first.evidence] == ["blue", "cup"]
    assert first.text == "Fits your wish: blue, cup."


def test_a_wish_that_nothing_heeds_is_no_evidence(shop):
    queries = Queries.from_lists([[]], texts=["a blue cup please"])
    ranking = Ranking(np.array([[2]], np.int32), np.ones((1, 1), np.float32))
    [[first]] = Explainer(Pipeline([Stage(Popular())]).fit(shop)).explain(queries, ranking)
    assert [one.kind for one in first.evidence] == ["popularity"]


def test_words_of_the_brand_are_no_wish_fulfilled(shop):
    queries = Queries.from_lists([[]], texts=["volt"])
    ranking = Ranking(np.array([[4]], np.int32), np.ones((1, 1), np.float32))
    [[first]] = explainer(shop, TextKNN(encoder=HashEncoder())).explain(queries, ranking)
    assert not [one for one in first.evidence if one.kind == "wish"]


def test_a_grounded_sentence_is_kept(shop):
    lm = ScriptedLM(['Goes well with your "Glass pot" by Clara.'])
    found = explainer(shop, lm=lm)
    reason = found.reason(numbers(shop, "tea", "pot"), numbers(shop, "cup")[0])
    assert reason.text == 'Goes well with your "Glass pot" by Clara.'
    assert reason.phrased_by == "scripted"
    assert found.counts == {"kept": 1}


@pytest.mark.parametrize(
    ("sentence", "fault"),
    [
        ('You bought a "Hand saw".', "unknown product"),
        ('Like your "Glass pot", and the brand Volt.', "unknown claim"),
        ('Like your "Glass pot", this jacket is by Clara.', "unknown claim"),
        ('Like your "Glass pot", and dishwasher-safe.', "unknown claim"),
        ('Like your "Glass pot", now 30 % off.', "unknown number"),
        ("You will like it.", "cites no evidence"),
        ('Shoppers who never bought "Glass pot" bought this.', "unknown claim"),
        ('Fifty shoppers who bought "Glass pot" bought this.', "unknown claim"),
        ('A thick, serious and sincere product like "Glass pot".', "unknown claim"),
        ('This is not like "Glass pot".', "unknown claim"),
        ('Shoppers who bought "Glass pot" bought 10 of this.', "unknown number"),
        ('Since you bought "Blue cup", which goes with "Glass pot".', "says that the product itself was bought"),
        ('You have also bought the Blue cup, like "Glass pot".', "says that the product itself was bought"),
        ('Since you bought "Glass pot, you may like this.', "a quote that is never closed"),
        ('Since you bought "Glass pot", you may like', "no end"),
        ('Since you bought "Glass pot", you may like this product by Kitchen.', "unknown maker"),
        ('Since you bought "Glass pot", you may like this product by "Glass pot".', "unknown maker"),
        ('Like "Glass pot", and by Blue cup.', "unknown maker"),
        ("", "empty"),
    ],
)
def test_an_invention_is_dropped_and_counted(shop, sentence, fault):
    """The tea's name holds the number 100: "10" is still not in the facts."""
    found = explainer(shop, lm=ScriptedLM([sentence]))
    reason = found.reason(numbers(shop, "tea", "pot"), numbers(shop, "cup")[0])
    assert reason.phrased_by == "template"
    assert found.counts == {f"dropped: {fault}": 1}


@pytest.mark.parametrize("cited", ['"Shea butter, 8 oz."', '"Shea butter, 8 oz"', '"Shea butter, 8 oz.,"'])
def test_a_name_that_ends_with_a_full_stop_is_known(cited):
    items = pl.DataFrame({"item_id": ["butter", "soap"], "title": ["Shea butter, 8 oz.", "Soap"]})
    log = pl.DataFrame({"user_id": ["a", "a", "b", "b"], "item_id": ["butter", "soap"] * 2})
    shop = Dataset.from_frames(log, items)
    found = explainer(shop, lm=ScriptedLM([f"Goes well with your {cited}."]))
    found.reason(numbers(shop, "butter"), numbers(shop, "soap")[0])
    assert found.counts == {"kept": 1}


@pytest.mark.parametrize("maker", ["Clara", "the same brand as before, Clara", "Clara and bought by shoppers"])
def test_a_product_is_by_its_brand(shop, maker):
    found = explainer(shop, lm=ScriptedLM([f'Goes with your "Glass pot", and is by {maker}.']))
    found.reason(numbers(shop, "tea", "pot"), numbers(shop, "cup")[0])
    assert found.counts == {"kept": 1}


def test_shoppers_may_be_said_to_have_bought_the_product(shop):
    sentence = 'Shoppers who bought your "Glass pot" also bought "Blue cup".'
    found = explainer(shop, lm=ScriptedLM([sentence]))
    assert found.reason(numbers(shop, "tea", "pot"), numbers(shop, "cup")[0]).text == sentence


def test_a_silent_model_is_counted(shop):
    found = explainer(shop, lm=ScriptedLM([]))
    assert found.reason(numbers(shop, "tea"), numbers(shop, "cup")[0]).phrased_by == "template"
    assert found.counts == {"dropped: LanguageModelError": 1}


def test_reasons_follow_the_lists(shop):
    pipeline = Pipeline([Stage(Transitions())], fallback=Popular()).fit(shop)
    queries = Queries.from_lists([numbers(shop, "tea"), []])
    ranking = pipeline.rank(queries, 3)
    reasons = Explainer(pipeline).explain(queries, ranking)
    assert [len(row) for row in reasons] == ranking.lengths.tolist()
    assert reasons[0][0].to_dict()["evidence"][0]["item_id"] == "tea"
