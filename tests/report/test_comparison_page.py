"""The page of a comparison: what it says, what it escapes, how it holds with parts missing, and its structure."""

from __future__ import annotations

import copy
import math
import re
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_comparison import HOSTILE, MODELS, VARIANTS, sample

from tastemaker.characters import HOSTILE_PATTERN
from tastemaker.data import Dataset
from tastemaker.errors import DataError
from tastemaker.models.content.text_knn import TextKNN
from tastemaker.report import comparison_page
from tastemaker.report.comparison import series_styles
from tastemaker.report.findings import headline
from tastemaker.report.reading import read

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Tree(HTMLParser):
    """Every element with its attributes and text; `open` elements that were never closed."""

    def __init__(self, page):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        assert len({key for key, _ in attrs}) == len(attrs), f"<{tag}> repeats an attribute: {attrs}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def words(page):
    return " ".join(" ".join(Tree(page).texts).split())


@pytest.fixture(scope="module")
def page():
    return comparison_page(sample())


@pytest.fixture(scope="module")
def tree(page):
    return Tree(page)


def test_structure(page, tree):
    assert tree.open == []
    assert len(page.encode()) < 1_500_000
    anchors = {link["href"].removeprefix("#") for link in tree.all("a")}
    ids = [attributes["id"] for _, attributes in tree.elements if "id" in attributes]
    assert anchors <= set(ids)
    assert len(ids) == len(set(ids))
    assert all(heading["scope"] in ("row", "col") for heading in tree.all("th"))
    regions = [attributes for attributes in tree.all("div") if attributes.get("class") == "scroll"]
    assert len(regions) == len(tree.all("table")) > 20
    assert all(one["tabindex"] == "0" and one["role"] == "region" and one["aria-label"] for one in regions)


def test_every_chart_says_its_finding(tree):
    charts = [chart for chart in tree.all("svg") if chart.get("class") != "key"]
    assert len(charts) == len(tree.all("figure")) == 19
    for chart in charts:
        assert chart["role"] in ("img", "group")
        assert re.search(r"\d", chart["aria-label"]), chart["aria-label"]
    labels = [chart["aria-label"] for chart in charts]
    assert any("Highest: sasrec + listwise with 0.05" in label and "popular with 0.005" in label for label in labels)


def test_nothing_is_loaded_and_nothing_runs(page, tree):
    assert "default-src 'none'" in page
    assert not [
        tag for tag, _ in tree.elements if tag in ("script", "img", "iframe", "link", "object", "embed", "form")
    ]
    assert not [key for _, attributes in tree.elements for key in attributes if key.startswith("on") or key == "src"]
    assert all(link["href"].startswith("#") for link in tree.all("a"))
    assert not re.search(r"@import|url\(|https?://(?!x\.example)", page)


def test_hostile_titles_are_shown_as_text(page):
    assert not re.search(HOSTILE_PATTERN, page)
    page.encode("utf-8")
    shown = words(page)
    assert "<script>alert(1)</script>" in shown
    assert '"><img src=x onerror=alert(2)>' in shown
    assert "{{ 7 * 7 }}" in shown
    assert "Creamgnp.exe zero A" not in shown  # the tag character is removed, not turned into its letter
    assert "W" * 100 not in page


def test_the_result_in_words(page):
    shown = words(page)
    assert re.search(r"sasrec \+ listwise has the highest value: NDCG@10 0\.05\d\d \(95 % interval 0\.05", shown)
    assert "standard deviation 0.000" in shown
    assert "It clears the floor: its difference to text_knn" in shown
    assert "The data cannot tell it from sasrec: the difference is inside the noise." in shown
    assert "It has the highest value in both variants" in shown
    assert f"Failed: lightgcn under “{VARIANTS[1]}”: out of memory <script>" in shown


def small(**rows):
    """A comparison of one variant: label -> (value, verdict)."""
    return {
        "format": 1,
        "measure": "ndcg@10",
        "floor": ["popular"],
        "rows": [
            {
                "model": model,
                "floor": verdict == "floor",
                "verdict": verdict,
                "metrics": {"ndcg@10": {"value": value, "low": None, "high": None, "spread": None}},
                "against_floor": None
                if verdict == "floor"
                else {"model": "popular", "difference": value - 0.1, "p_holm": 0.2, "significant": False},
            }
            for model, (value, verdict) in rows.items()
        ],
    }


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            {"als": (0.2, "above the floor"), "popular": (0.1, "floor")},
            "It clears the floor: its difference to popular",
        ),
        ({"als": (0.11, "within the noise of the floor"), "popular": (0.1, "floor")}, "It does not clear the floor"),
        ({"als": (0.01, "below the floor"), "popular": (0.1, "floor")}, "No model beats the floor: popular needs"),
        ({"als": (0.01, "below the floor"), "popular": (0.1, "floor")}, "Below the floor: als."),
        ({"als": (0.01, "below the floor")}, "It lies below the floor"),
        ({"als": (math.nan, "no floor was run")}, "No model has a value of NDCG@10"),
    ],
)
def test_verdicts_in_words(rows, said):
    assert said in " ".join(headline(read(small(**rows))))


def test_no_proof_of_a_gain_says_what_would_have_been_seen():
    comparison = small(als=(0.11, "within the noise of the floor"), popular=(0.1, "floor"))
    comparison["rows"][0]["against_floor"] |= {"low": -0.02, "high": 0.04}
    said = headline(read(comparison))[1]
    assert "popular, the best of the floor, is +0.0100 (p = 0.200 after Holm's correction)" in said
    assert "no proof of a gain with this many shoppers; about 0.0300 or more would have been seen" in said


def test_few_questions_get_no_verdict():
    comparison = small(als=(0.2, "above the floor"), popular=(0.1, "floor"))
    assert "als has the highest value" in words(comparison_page(comparison | {"protocol": {"test_queries": 20}}))
    shown = words(comparison_page(comparison | {"protocol": {"test_queries": 19}}))
    assert "too few questions to compare: 19 questions, and 20 are the least" in shown
    assert "○ too few questions" in shown
    assert "has the highest value" not in shown
    assert "clears the floor" not in shown


def test_nobody_hit_anything():
    comparison = small(als=(0.0, "within the noise of the floor"), popular=(0.0, "floor"))
    [said] = headline(read(comparison))
    assert said == "Nobody hit anything: NDCG@10 is 0 for every model, so none can be told from another."
    [one, *_] = headline(read(comparison | {"protocol": {"test_queries": 1}}))
    assert one.endswith("1 question, and 20 are the least. Nobody hit anything: NDCG@10 is 0 for every model.")


def test_ties_are_named():
    comparison = small(als=(0.2, "above the floor"), bpr=(0.1 + 0.1, "above the floor"), popular=(0.1, "floor"))
    assert headline(read(comparison))[0] == "als and bpr share the highest: NDCG@10 0.2000."
    shown = {"length": 0, "queries": 30, "ndcg@10": 0.0305}
    for row in comparison["rows"]:
        row["cold_start"] = [shown, shown | {"length": None, "ndcg@10": 0.5 if row["model"] == "als" else 0.1}]
    said = words(comparison_page(comparison))
    assert (
        "With 0 purchases shown, all alike: 0.0305; with the whole history, als has the highest value, 0.5000." in said
    )
    assert "models that have no answer show the fallback's best-sellers" in said
    for row in comparison["rows"]:
        row["cold_start"] = [entry | {"queries": 6} for entry in row["cold_start"]]
    said = words(comparison_page(comparison))
    assert "With 0 purchases shown, too few questions to compare (n 6)" in said


def test_what_no_masked_list_can_hit_is_said_with_the_result():
    protocol = {"history_masked": True, "targets_in_history": 142, "test_queries": 390, "split": "leave-one-out"}
    comparison = small(als=(0.2, "above the floor"), popular=(0.1, "floor")) | {"protocol": protocol}
    [said] = [one for one in headline(read(comparison)) if "bought before" in one]
    assert said.startswith("142 of 390 targets were bought before, and masked lists cannot hit them: the highest ")
    assert "reachable recall is 0.6359. See --repeats novel or --masking unmasked." in said
    several = protocol | {"split": "temporal"}  # several targets a question: what can be reached is not known
    assert "142 targets were bought before" in " ".join(headline(read(comparison | {"protocol": several})))
    for changed in ({"history_masked": False}, {"targets_in_history": 0}):
        assert "bought before" not in " ".join(headline(read(comparison | {"protocol": protocol | changed})))


def test_a_list_that_holds_the_whole_catalogue():
    comparison = small(als=(0.2, "above the floor"), popular=(0.1, "floor"))
    assert "has room for the whole catalogue of 10 products" in " ".join(
        headline(read(comparison | {"data": {"items": 10}}))
    )
    assert "whole catalogue" not in " ".join(headline(read(comparison | {"data": {"items": 11}})))


def test_a_shop_without_texts_is_no_failure():
    with pytest.raises(DataError) as refused:
        TextKNN().fit(Dataset.from_frames(pl.DataFrame({"user_id": ["a"], "item_id": ["1"]})))
    comparison = small(als=(0.2, "above the floor"), popular=(0.1, "floor"))
    comparison["rows"].append({"model": "text_knn", "floor": True, "error": f"seed 0: {refused.value}"})
    assert "Not applicable: text_knn, because the shop has no texts. The floor is 1 method: popular." in headline(
        read(comparison)
    )
    shown = words(comparison_page(comparison))
    assert "○ not applicable: no texts" in shown
    assert "ailed" not in shown


def test_gaps_inside_the_noise_are_called_so_and_the_widest_tested_one_leads():
    shown = words(comparison_page(SMALL))
    assert re.search(r"Widest beyond the noise: .*between “cold” \(n 310\) and “head” \(n 5,000\), p = 0.003", shown)
    assert "All gaps are inside the noise; the widest:" in shown
    order = [shown.index(f"Gap in {name}") for name in ("Recall@10 by item popularity", "NDCG@10 by loyalty")]
    assert order == sorted(order)
    assert "All gaps are inside the noise." in shown  # at the groups themselves


def test_the_spread_says_where_no_list_changed_and_where_fits_are_missing():
    comparison = sample(points=0)
    for number, row in enumerate(comparison["rows"][:2]):
        row["seeds"] = 2
        if number:
            for measured in row["metrics"].values():
                measured["spread"] = 0.0
    shown = words(comparison_page(comparison))
    assert re.search(r"0\.000\d, 2 fits", shown)
    assert "same lists, 2 fits" in shown


def test_notes_stand_before_the_table_and_models_share_one():
    notes = ["als gave the same lists", "popular gave the same lists", "the floor was left out"]
    shown = words(comparison_page(sample(points=0) | {"notes": notes}))
    assert shown.index("Note: als and popular: gave the same lists") < shown.index("All models under")
    assert "Note: the floor was left out" in shown


def test_reasons_that_cannot_be_tested_say_why():
    comparison = copy.deepcopy(SMALL)
    untested = {"asked": 9, "cites no purchase": 9, "without a control": 0, "tested": 0, "fell": None}
    comparison["rows"][2]["trust"]["reasons"]["counterfactual"] = untested
    shown = words(comparison_page(comparison))
    assert "Not testable: als: cites no purchase." in shown
    assert "not that it is why the model listed the product" in shown


def test_differences_inside_the_noise_buy_no_place_on_the_front():
    comparison = small(als=(0.2, "above the floor"), popular=(0.1, "floor"))
    for row, milliseconds in zip(comparison["rows"], (8.0, 0.3), strict=True):
        row["cost"] = {"latency_ms": {"p50": milliseconds}}
    front = "On the Pareto front, where nothing else is clearly cheaper or better: "
    assert f"{front}popular and als." in words(comparison_page(comparison))
    tied = {"a": "als", "b": "popular", "difference": 0.1, "significant": False}
    assert f"{front}popular." in words(comparison_page(comparison | {"pairs": [tied]}))
    comparison["rows"][0]["cost"]["latency_ms"]["p50"] = 0.35  # the clock is no better
    assert f"{front}als." in words(comparison_page(comparison))


def test_without_a_floor_the_claim_is_marked():
    comparison = small(als=(0.2, "no floor was run")) | {"floor": []}
    shown = words(comparison_page(comparison))
    assert "No floor was run, so nothing here says whether a training-free method would do as well." in shown
    assert "no floor was run" in shown


def test_a_failure_that_rows_share_is_said_once():
    failed = [{"model": model, "variant": variant, "error": "no data"} for variant in VARIANTS for model in ("a", "b")]
    comparison = {"format": 1, "measure": "ndcg@10", "variants": list(VARIANTS), "rows": failed}
    assert headline(read(comparison))[1:] == ["Failed: a and b: no data"]
    assert headline(read(comparison | {"rows": failed[:1]}))[1:] == [f"Failed: a under “{VARIANTS[0]}”: no data"]


def test_a_model_is_called_best_only_if_it_is_tested_against_all_others():
    comparison = sample(points=0)
    for pair in comparison["pairs"]:
        pair["significant"] = True
    said = " ".join(headline(read(comparison)))
    assert said.startswith("sasrec + listwise is best: NDCG@10 0.05")
    assert "Its lead over every other model is larger than the noise." in said
    assert headline(read(comparison | {"pairs": []}))[0].startswith("sasrec + listwise has the highest value")


def test_another_winner_under_another_variant():
    comparison = sample(points=0)
    for row in comparison["rows"]:
        if row["model"] == "als" and row["variant"] == VARIANTS[1]:
            row["metrics"]["ndcg@10"]["value"] = 0.9
    shown = " ".join(headline(read(comparison)))
    assert f"Which model leads depends on the protocol: under “{VARIANTS[1]}” als leads." in shown


def test_what_was_not_measured_is_said_and_not_drawn():
    page = comparison_page({"format": 1, "measure": "ndcg@10"})
    assert "<svg" not in page
    assert "<figure" not in page
    shown = words(page)
    for sentence in (
        "Models were not tested against each other in pairs.",
        "Accuracy by history length was not measured.",
        "Recall by item popularity was not measured.",
        "Coverage by list length was not measured.",
        "Latency was not measured",
        "so there are no learning curves",
        "No item vectors were mapped.",
        "No language model took part.",
        "Reasons were not checked.",
        "No example shoppers were asked for.",
        "The command that made this comparison is not known.",
    ):
        assert sentence in shown


def leaves(value, path=()):
    """Paths of everything in a JSON value that may be missing."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        if key not in ("format", "measure", "model", "by", "a", "b"):
            yield (*path, key)
        yield from leaves(one, (*path, key))


SMALL = sample(points=12)
PATHS = [
    path for path in leaves(SMALL) if not isinstance(path[-1], int)
]  # a list keeps its length; what it holds may go


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), share=st.sampled_from([0.002, 0.05, 0.4]))
def test_anything_may_be_missing(seed, share):
    rng = np.random.default_rng(seed)
    comparison = copy.deepcopy(SMALL)
    for number in rng.choice(len(PATHS), int(share * len(PATHS)) + 1, replace=False):
        *road, last = PATHS[number]
        part = comparison
        for step in road:
            part = part.get(step) if isinstance(part, dict) else part[step] if isinstance(part, list) else None
        if isinstance(part, dict) and last in part:
            old = part[last]
            part[last] = math.nan if isinstance(old, float) else None
    tree = Tree(comparison_page(comparison))
    assert tree.open == []
    assert not [text for text in tree.texts if re.search(r"\b(nan|inf|None)\b", text)]
    numbers = [value for _, attributes in tree.elements for value in attributes.values() if value]
    assert not [value for value in numbers if re.search(r"\bnan\b|\binf\b", value)]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"format": 2}, "comparison.format: 2: this version reads 1"),
        ({}, "comparison.format: None"),
        ({"format": 1}, "comparison.measure: .*Field required"),
        ({"format": 1, "measure": "ndcg@10", "rows": [{"floor": True}]}, r"comparison\.rows\.0\.model: .*required"),
        (
            {"format": 1, "measure": "m", "rows": [{"model": "a", "metrics": {"m": {"value": "high"}}}]},
            r"comparison\.rows\.0\.metrics\.m\.value: 'high': .*tastemaker compare",
        ),
    ],
)
def test_a_broken_comparison_is_refused_by_name(broken, message):
    with pytest.raises(DataError, match=message):
        comparison_page(broken)


def test_a_model_looks_the_same_in_every_chart_and_unlike_the_others():
    styles = series_styles(read(sample(points=0)))
    assert list(styles) == [*list(MODELS)[:3], "lightgcn", "text_knn", "popular"]
    assert styles["sasrec + listwise"].css == "s0"
    assert styles["popular"].css == styles["text_knn"].css == "floor"
    assert len({(style.dash, style.marker(0, 0)) for style in styles.values()}) == len(styles)


def test_the_map_is_capped_and_says_so():
    comparison = sample(points=1600)
    shown = words(comparison_page(comparison))
    assert "The 1,500 most popular of 1,600 are drawn." in shown
    assert "other categories" in shown


def test_the_page_escapes_every_hostile_text_wherever_it_stands():
    """Put markup into every string of the comparison: no element appears that a clean page lacks."""

    def poisoned(value, key=""):
        if isinstance(value, dict):
            return {name: poisoned(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [poisoned(inner, key) for inner in value]
        known = ("measure", "verdict", "by", "tastemaker")
        return f"{value}{HOSTILE[1]}{HOSTILE[2]}" if isinstance(value, str) and key not in known else value

    tree = Tree(comparison_page(poisoned(SMALL)))
    assert tree.open == []
    assert {tag for tag, _ in tree.elements} == {tag for tag, _ in Tree(comparison_page(SMALL)).elements}
    assert not [key for _, attributes in tree.elements for key in attributes if key.startswith("on") or key == "src"]


def test_settings_in_force_are_shown_once_and_the_protocol_where_rows_differ():
    tree = Tree(comparison_page(SMALL))
    shown = " ".join(" ".join(tree.texts).split())
    assert (
        shown.count("in force, stage 0: only dim: 64; dropout: 0.2") == 4
    )  # each model but the language model's, both variants
    assert "Protocol of each row model and variant history masked fitted on sasrec + listwise" in shown
    assert "tastemaker compare sasrec.toml als --data 'shop dir/' --seeds 3" in shown


def test_products_of_the_history_are_a_fault_only_in_masked_lists():
    comparison = copy.deepcopy(SMALL)
    comparison["rows"][0]["trust"]["lists"]["items of the history"] = 7
    assert "Faulty lists: sasrec + listwise: items of the history 7." in words(comparison_page(comparison))
    comparison["rows"][0]["protocol"]["history_masked"] = False
    assert "No list holds an invalid or a repeated product." in words(comparison_page(comparison))


def test_the_counterfactual_is_shown_beside_its_control():
    shown = words(comparison_page(SMALL))
    assert "Clearest for sasrec + listwise: 71.0 % fall without the cited purchases, 22.0 % without others." in shown
    assert "0.7100 [0.6400, 0.7800]" in shown


def test_one_group_is_said_and_not_drawn():
    comparison = small(als=(0.2, "above the floor"))
    comparison["rows"][0]["slices"] = [
        {"by": "history length", "group": "11+", "queries": 1500, "metrics": {"ndcg@10": {"value": 0.2}}}
    ]
    page = comparison_page(comparison)
    assert "All 1,500 questions are in one group by purchases in the history: “11+”." in words(page)
    assert page.count("<figure") == 1  # the bars


def test_examples_begin_with_the_best_model_and_long_histories_are_cut():
    comparison = copy.deepcopy(SMALL)
    comparison["examples"] = [
        {
            "shopper": "shopper 1",
            "history": [f"product {number}." for number in range(50)],
            "bought": [],
            "lists": [{"model": model, "items": [{"name": f"by {model}"}]} for model in ("popular", "als", "sasrec")],
        }
    ]
    page = comparison_page(comparison)
    shown = words(page)
    assert "Shopper 1" in shown
    assert "Shopper shopper" not in shown
    assert "30 earlier; product 30." in shown
    assert "product 29." not in shown
    assert shown.index("by sasrec") < shown.index("by als") < shown.index("by popular")


@pytest.mark.parametrize(("groups", "drawn"), [(6, "line s0"), (7, ">group 7 (n 9)</text>")])
def test_more_groups_than_fit_side_by_side_stand_one_below_the_other(groups, drawn):
    comparison = small(als=(0.2, "above the floor"))
    comparison["rows"][0]["slices"] = [
        {"by": "history length", "group": f"group {number}", "queries": 9, "metrics": {"ndcg@10": {"value": 0.2}}}
        for number in range(1, groups + 1)
    ]
    page = comparison_page(comparison)
    assert ('class="line s0"' in page) == (groups == 6)
    assert drawn in page
