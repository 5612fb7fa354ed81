"""`tastemaker rules`: mistakes, what rules touch, and the way into a store and back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tastemaker.rules import RuleSet

PAGE = Path(__file__).resolve().parents[2] / "docs" / "rules.md"
RULES = re.search(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]


def test_the_command_counts(tastemaker, shop, tmp_path):
    file = tmp_path / "rules.toml"
    rules = ['name = "no Acme"\nhide = { brands = ["Acme"] }', 'name = "hero"\npin = { items = ["i001", "x"] }']
    file.write_text("".join(f"[[rule]]\n{rule}\n" for rule in rules))
    plain = tastemaker("rules", "check", file)
    assert plain.code == 0, plain.err
    assert "no Acme" in plain.out
    counted = tastemaker("rules", "check", file, "--data", shop)
    assert "may be shown 26 of 40 products" in counted.out
    assert "warning: hero: no product has the id 'x'" in counted.err
    found = tastemaker("rules", "check", file, "--data", shop, "--at", "2026-11-27T12:00Z", "--json").json()
    assert [one["products"] for one in found["rules"]] == [14, 1]
    assert tastemaker("rules", "check", file, "--json").json()[0] == {
        "rule": "no Acme",
        "kind": "hide",
        "enabled": True,
    }


def test_the_command_names_every_mistake(refused, tmp_path, shop):
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"rule": [{"name": "a", "hyde": {}}, {"name": "b", "pin": {}}]}))
    message = refused("rules", "check", file)
    assert f"{file}.rule[0] 'a'.hyde: unknown key; did you mean 'hide'?" in message
    assert f"{file}.rule[1] 'b'.pin.items: field required" in message
    file.write_text("{}")
    assert "--at noon" in refused("rules", "check", file, "--data", shop, "--at", "noon")


def test_why_a_product_is_not_shown(tastemaker, refused, shop, tmp_path):
    file = tmp_path / "rules.toml"
    file.write_text(
        '[[rule]]\nname = "adults"\nminimum_age = { brands = ["Acme"], age = 18 }\n'
        '[[rule]]\nname = "home"\nwhen = { strategies = ["home"] }\nhide = { categories = ["soap"] }\n'
    )
    words = ("rules", "why", file, "i000", "--data", shop)
    assert tastemaker(*words).out == "i000 is hidden by: adults\n"
    assert tastemaker(*words, "--user", "age=20").out == "i000 may be shown\n"
    found = tastemaker(*words, "--user", "age=17", "--strategy", "home", "--json").json()
    assert found == {
        "item_id": "i000",
        "allowed": False,
        "hidden_by": ["adults", "home"],
        "rules_that_hold": ["adults", "home"],
    }
    assert "unknown id 'i9'" in refused("rules", "why", file, "i9", "--data", shop)
    assert "--user age: must look like region=DE" in refused(*words, "--user", "age")


def test_rules_go_into_a_store_and_come_back(tastemaker, refused, tmp_path):
    pytest.importorskip("sqlalchemy")
    file = tmp_path / "rules.toml"
    file.write_text(RULES)
    store = tmp_path / "shop.db"
    assert "version 1: 10 rules" in tastemaker("rules", "put", file, "--store", store).out
    assert "version 2: 10 rules" in tastemaker("rules", "put", file, "--store", store).out
    shown = tastemaker("rules", "show", "--store", store)
    assert RuleSet.parse(shown.json()).rules == RuleSet.read(file).rules
    assert RuleSet.parse(shown.json()).digest == RuleSet.read(file).digest
    assert "which store?" in refused("rules", "show")
