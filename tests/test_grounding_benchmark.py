"""What the check of reasons lets through is grounded: told by the benchmark's own, independent judge."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemaker.explain import Explainer
from tastemaker.lm.scripted import ScriptedLM
from tastemaker.models.collaborative.item_knn import ItemKNN
from tastemaker.pipeline import Pipeline, Stage
from tastemaker.testing import tiny_shop
from tastemaker.text.render import item_names

FILE = Path(__file__).resolve().parent.parent / "benchmarks" / "grounding.py"
SPEC = importlib.util.spec_from_file_location("grounding", FILE)
grounding = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(grounding)

SHOP = tiny_shop()
PIPELINE = Pipeline([Stage(ItemKNN())]).fit(SHOP)
NAMES = item_names(SHOP.items)
EXPLAINER = Explainer(PIPELINE)
CASES = [
    (item, evidence)
    for item in range(1, 30)
    if (evidence := EXPLAINER.evidence(np.array([1, 2, 6, 9], np.int32), item)) and evidence[0].kind != "popularity"
]


@pytest.mark.parametrize(
    ("sentence", "grounded"),
    [
        ('You may like this since you bought "soap number 4".', True),
        ('You may like this since you bought "soap number 5".', False),
        ("The same brand as before: Acme.", True),
        ("The best brand: Acme.", False),
        ("Bought 17 times.", False),
        ("Acme's product goes with it.", True),
        ('Since you bought "soap number 4, this.', False),
        ('Since you bought "soap number 4." and "Refill, 8 oz.".', True),
        ("", True),
    ],
)
def test_the_second_judge(sentence, grounded):
    assert grounding.is_grounded(sentence, ["soap number 4", "Acme", "brand", "Refill, 8 oz."]) == grounded


WORDS = ["Since", "you", "bought", "this", "by", "Acme", "Bolt", "Cosy", "soap", "number", "4", "17", "lovely", "best"]
WORDS += [
    "also",
    "like",
    "the",
    "same",
    "brand",
    "shampoo",
    "perfume",
    "brush",
    '"soap number 4"',
    '"brush number 2"',
    ".",
    "!",
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(CASES), st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join))
def test_what_passes_the_check_passes_the_second_judge(case, sentence):
    item, evidence = case
    if EXPLAINER.fault(sentence, item, evidence) is None:
        assert grounding.is_grounded(sentence, [NAMES[item], *grounding.said(evidence)])


def test_the_benchmark_counts_before_and_after():
    told = iter(range(1000))

    def writes(prompt):
        """Every other sentence is the fact itself, the others claim something."""
        fact = prompt.user.rpartition("Facts:\n- ")[2].splitlines()[0]
        return fact if next(told) % 2 else "The loveliest product ever made."

    found = grounding.measure(PIPELINE, SHOP.queries(), ScriptedLM(writes), reasons=20)
    assert found["reasons"] == 20
    assert 0.3 < found["passed_before"]["value"] < 0.7
    assert found["grounded_after"] == found["kept_and_grounded"] == 1.0
    assert sum(found["dropped"].values()) == 20 - round(20 * found["passed_before"]["value"])
    assert len(found["sentences"]) == 20
