"""`tastemaker codes` on a saved model, before and after new products."""

from __future__ import annotations

import pytest

SETTINGS = ["epochs=2", "dim=8", "levels=4", "codes=8", "source=text"]


@pytest.fixture(scope="module")
def words():
    return [word for setting in SETTINGS for word in ("--set", f"stage.0.{setting}")]


def test_codes_of_a_saved_model(tastemaker, shop, tmp_path, words):
    assert tastemaker("fit", "rpg", "--data", shop, "--out", tmp_path / "m", *words).code == 0
    facts = tastemaker("codes", tmp_path / "m", "--item", "i004", "--json").json()
    assert (facts["model"], facts["scheme"], facts["items"]) == ("rpg", "product", 40)
    assert facts["version"].endswith(facts["digest"][:12])
    assert len(facts["levels"]) == 4
    assert all(1 <= level["perplexity"] <= level["used"] <= 8 for level in facts["levels"])
    assert facts["staleness"]["new_items"] == 0
    assert facts["item"]["item_id"] == "i004"
    shared = [near["shared"] for near in facts["item"]["nearest"]]
    assert 0 < len(shared) <= 10
    assert min(shared) > 0
    table = tastemaker("codes", tmp_path / "m", "--item", "i004").out
    assert "perplexity" in table
    assert facts["item"]["codes"] in table


def test_a_model_without_identifiers_says_so(tastemaker, shop, tmp_path):
    tastemaker("fit", "transitions", "--data", shop, "--out", tmp_path / "m")
    outcome = tastemaker("codes", tmp_path / "m")
    assert outcome.code == 2
    assert "no stage of it has item identifiers, as tiger and rpg have" in outcome.err


def test_an_unknown_item_is_refused(tastemaker, shop, tmp_path, words):
    tastemaker("fit", "rpg", "--data", shop, "--out", tmp_path / "m", *words)
    assert tastemaker("codes", tmp_path / "m", "--item", "nothing").code == 2
