"""Rule documents: what is understood, and every mistake with its place, value and cure."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tastemaker.errors import ConfigError
from tastemaker.rules import RuleSet


def one(**rule):
    return {"rule": [{"name": "it", **rule}]}


def test_toml_and_json_say_the_same(tmp_path):
    toml = tmp_path / "rules.toml"
    toml.write_text(
        """
        timezone = "Europe/Berlin"

        [[rule]]
        name = "Advent"
        when = { since = 2026-11-29, until = 2026-12-24, strategies = ["Home"], user = { age = { min = 18 } } }
        boost = { categories = ["Candles"], factor = 1.5 }
        """
    )
    document = {
        "timezone": "Europe/Berlin",
        "rule": [
            {
                "name": "Advent",
                "when": {
                    "since": "2026-11-29",
                    "until": "2026-12-24",
                    "strategies": ["home"],
                    "user": {"age": {"min": 18}},
                },
                "boost": {"categories": ["candles"], "factor": 1.5},
            }
        ],
    }
    written = tmp_path / "rules.json"
    written.write_text(json.dumps(document))
    assert RuleSet.read(toml).rules == RuleSet.read(written).rules == RuleSet.parse(document).rules


def test_days_are_whole_and_in_the_time_zone_of_the_document():
    rules = RuleSet.parse({"timezone": "Europe/Berlin"})
    day = datetime(2026, 3, 29).date()  # the clock goes forward: a day of 23 hours
    assert rules.starts(day) == datetime(2026, 3, 28, 23, tzinfo=UTC).timestamp() * 1000
    assert rules.ends(day) == datetime(2026, 3, 29, 22, tzinfo=UTC).timestamp() * 1000
    moment = datetime(2026, 3, 29, 12, tzinfo=UTC)
    assert rules.starts(moment) == rules.ends(moment) == moment.timestamp() * 1000


def test_the_digest_tells_documents_apart():
    first, second = one(hide={"brands": ["a"]}), one(hide={"brands": ["b"]})
    assert RuleSet.parse(first).digest == RuleSet.parse(json.loads(json.dumps(first))).digest
    assert RuleSet.parse(first).digest != RuleSet.parse(second).digest


def test_nothing_is_a_document():
    assert RuleSet.parse({}).rules == ()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"rules": []}, "rules.rules: unknown key; did you mean 'rule'?"),
        ({"rule": {"name": "x"}}, "rules.rule: must be a list of rules, [[rule]] in TOML"),
        ({"timezone": "Mars/Olympus"}, "rules.timezone: 'Mars/Olympus': must be an IANA name such as 'Europe/Berlin'"),
        ({"timezone": "../../etc/passwd"}, "must be an IANA name"),
        ({"timezone": 3}, "rules.timezone: 3: must be an IANA name"),
        ({"rule": ["hide"]}, "rules.rule[0]: 'hide': must be a table with a name and one action"),
        ({"rule": [{"hide": {"brands": ["x"]}}]}, "rules.rule[0].name: None: every rule needs a name"),
        (one(), "rules.rule[0] 'it': has no action; one of: keep, hide, "),
        (one(hide={"brands": ["x"]}, pin={"items": ["x"]}), "has 2 actions (hide, pin); split the rule"),
        (one(hidde={"brands": ["x"]}), "rules.rule[0] 'it'.hidde: unknown key; did you mean 'hide'?"),
        (one(hide={"brand": ["x"]}), "rules.rule[0] 'it'.hide.brand: unknown key; did you mean 'brands'?"),
        (one(hide={"brands": "Acme"}), "'it'.hide.brands: 'Acme': must be a list"),
        (one(hide={"brands": []}), "'it'.hide.brands: []: "),
        (one(hide={"brands": [["x"]]}), "'it'.hide.brands.0: ['x']: must be text"),
        (one(hide={"items": [17]}), "'it'.hide.items.0: 17: must be an id in quotes"),
        (one(hide={}), "'it'.hide: names no products"),
        (one(hide=["x"]), "'it'.hide: ['x']: must be a table"),
        (one(keep={"price": {"mni": 3}}), "'it'.keep.price.mni: unknown key; did you mean 'min'?"),
        (one(keep={"price": {"min": 3, "max": 2}}), "min 3 is above max 2"),
        (one(keep={"price": {"min": float("nan")}}), "'it'.keep.price.min: nan"),
        (one(keep={"attributes": {"seller": {"mn": 1}}}), "attributes.seller.mn: unknown key; did you mean 'min'?"),
        (one(keep={"attributes": {"seller": "Smith"}}), "attributes.seller: 'Smith': must be a list of values, or"),
        (one(boost={"brands": ["x"]}), "'it'.boost: needs either factor or places"),
        (one(boost={"brands": ["x"], "factor": 0.5}), "'it'.boost.factor: 0.5: input should be greater than 1"),
        (one(pin={"items": ["a", "b"], "positions": [1]}), "'it'.pin: has 2 items but 1 positions"),
        (one(pin={"items": ["a", "a"]}), "'it'.pin: names a product twice"),
        (one(pin={"items": ["a"], "positions": [0]}), "'it'.pin.positions.0: 0: input should be greater"),
        (one(cap={"by": "brand", "at_most": 3, "top": 3}), "can never bind: at most 3 in the first 3"),
        (one(minimum_age={"age": 18}), "names no products"),
        (one(minimum_age={"categories": ["wine"]}), "'it'.minimum_age: needs either age or column"),
        (one(hide={"brands": ["x"]}, when={}), "'it'.when: is empty"),
        (one(hide={"brands": ["x"]}, when={"since": "tomorrow"}), "when.since: 'tomorrow': must be a day such as"),
        (one(hide={"brands": ["x"]}, when={"stratgies": ["x"]}), "did you mean 'strategies'?"),
        (one(hide={"brands": ["x"]}, enabled="no"), "'it'.enabled: 'no': must be true or false"),
        ({"rule": [one(hide={"brands": ["x"]})["rule"][0]] * 2}, "rules.rule[1].name: 'it': rule[0] is called so"),
        ({"rule": [{"name": "hidden product", "hide": {"brands": ["x"]}}]}, "choose another"),
        ({"rule": [{}] * 1001}, "1,001 rules; at most 1,000"),
    ],
)
def test_mistakes_have_place_value_and_cure(document, message):
    with pytest.raises(ConfigError) as caught:
        RuleSet.parse(document)
    assert message in str(caught.value)


def test_all_mistakes_come_at_once():
    document = {"rule": [{"name": "a", "hide": {"brandz": ["x"]}}, {"name": "b", "boost": {"items": ["x"]}}]}
    with pytest.raises(ConfigError) as caught:
        RuleSet.parse(document)
    lines = str(caught.value).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["rules.rule[0]", "rules.rule[1]"]


def test_a_bad_value_is_shown_in_part_only():
    with pytest.raises(ConfigError) as caught:
        RuleSet.parse(one(hide={"items": [f"i{number}" for number in range(10_001)]}))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rules.toml", "[[rule", "rules.toml: not valid TOML"),
        ("rules.json", "{", "rules.json: not valid JSON"),
        ("rules.toml", '{"rule": []}', "a JSON file is called .json"),
        ("rules.json", "[" * 100_000, "not valid JSON"),
        ("rules.json", "[]", "must be a table with the key 'rule'"),
    ],
)
def test_files_that_are_none(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        RuleSet.read(tmp_path / name)
    assert message in str(caught.value)


def test_no_such_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        RuleSet.read(tmp_path / "nowhere.toml")
