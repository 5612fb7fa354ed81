"""What is tried: words, tables, checks against the models' own settings, and the usual ranges."""

from __future__ import annotations

import math
import tomllib

import pytest

from tastemaker import config, registry
from tastemaker.errors import ConfigError
from tastemaker.search import Choices, Range, checked, default_space, flat, parse, usual_values
from tastemaker.search.space import grid, owner, size, value_at, with_values
from tastemaker.search.toml import toml

BLEND = {"stage": [{"model": "blend", "member": [{"model": "transitions"}, {"model": "ease", "reg": 40}]}]}


def tried(words):
    return parse("stage.0.reg", words, place="--try")


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("32,64,128", Choices((32, 64, 128))),
        ("tfidf, bm25", Choices(("tfidf", "bm25"))),
        ("true,false", Choices((True, False))),
        ("[0.5, 1]", Choices((0.5, 1))),
        ([1, 2], Choices((1, 2))),
        ("1..5", Range(1, 5)),
        ("0.1..5", Range(0.1, 5)),
        ("1e-4..1e-2:log", Range(1e-4, 1e-2, log=True)),
        ("-1..1", Range(-1, 1)),
        ("20..500:log", Range(20, 500, log=True)),
    ],
)
def test_words(words, values):
    assert tried(words) == values


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("5..1", "must rise; 5 is not below 1"),
        ("1..1", "must rise"),
        ("0..1:log", "must begin above 0"),
        ("1..2:lg", "unknown scale; did you mean 'log'"),
        ("a..b", "'a' is no number"),
        ("1..inf", "needs two ends"),
        ("7", "one value leaves nothing to try; set it with --set stage.0.reg=7"),
        ("1,,2", "empty value"),
        ("", "empty value"),
        ([], "empty value"),
        ("1,2,1", "1 stands there twice"),
        (True, "must be values such as"),
        ([[1], [2]], "must be values such as"),
    ],
)
def test_words_that_say_nothing(words, message):
    with pytest.raises(ConfigError, match=message):
        tried(words)


def test_a_table_has_the_same_addresses_quoted_or_nested():
    table = tomllib.loads('"stage.0.reg" = [1, 2]\nstage.1.keep = [5, 6]\n[stage.0.member.2]\nreg = "1..9"\n')
    assert flat(table, place="x") == {"stage.0.reg": [1, 2], "stage.1.keep": [5, 6], "stage.0.member.2.reg": "1..9"}
    with pytest.raises(ConfigError, match=r"x\.stage\.0\.reg: stands there twice"):
        flat({"stage.0.reg": [1, 2], "stage": {"0": {"reg": [3, 4]}}}, place="x")


def test_a_member_of_a_blend_is_reached():
    changed = with_values(BLEND, {"stage.0.member.1.reg": 7.5})
    assert changed["stage"][0]["member"][1] == {"model": "ease", "reg": 7.5}
    assert BLEND["stage"][0]["member"][1]["reg"] == 40
    assert registry.build(changed).stages[0].recommender.members[1].config.reg == 7.5
    assert value_at(registry.settings_of(registry.build(changed)), "stage.0.member.0.window") == 10
    values = checked("stage.0.member.1.reg", Range(1, 9), BLEND, place="--try")
    assert (values, values.whole) == (Range(1.0, 9.0), False)


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        ("stage.0.member.1.regg", Range(1, 9), "--try: ease has no such setting; did you mean 'reg'"),
        ("stage.0.member.1.reg", Range(0, 9), "--try: 0: input should be greater than 0"),
        ("stage.0.member.0.window", Range(1.0, 9.0), "takes whole numbers"),
        ("stage.0.member.7.reg", Range(1, 9), "no entry '7'; there are 2"),
        ("stage.0.keep", Choices((0, 5)), "must be a whole number of at least 1"),
        ("stage.0.nothing.reg", Choices((0, 5)), "unknown key"),
        ("fallback", Choices(("popular", "populra")), "did you mean 'popular'"),
        ("stag.0.reg", Choices((1, 2)), "unknown key"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_fitted(key, values, message):
    with pytest.raises(ConfigError, match=message):
        checked(key, values, BLEND, place="--try")


def test_text_is_no_range():
    with pytest.raises(ConfigError, match=r"item_knn.similarity is no number"):
        checked("stage.0.similarity", Range(1, 9), {"stage": [{"model": "item_knn"}]}, place="--try")


def test_a_rule_between_settings_is_left_to_the_trial():
    settings = {"stage": [{"model": "item_knn"}]}
    values = Choices(("adjusted-cosine", "cosine"))
    assert checked("stage.0.similarity", values, settings, place="--try") == values


def test_usual_ranges_hold_the_configuration_as_it_stands():
    for name in registry.names():
        if name in ("blend",):
            continue
        settings = {"stage": [{"model": "popular"}, {"model": name}]}
        defaults = registry.model_class(name).Config().model_dump()
        for key, values in default_space(settings).items():
            assert values.holds(defaults[key.rpartition(".")[2]]), key
            assert checked(key, values, settings, place="usual") == values


def test_usual_ranges():
    space = default_space(BLEND)
    assert list(space) == [
        "stage.0.item_facts",
        *(f"stage.0.member.0.{name}" for name in ("window", "gap_decay", "backward", "row_power", "column_power")),
        "stage.0.member.0.recency",
        "stage.0.member.1.reg",
        "stage.0.member.1.recency",
    ]
    assert space["stage.0.member.1.reg"] == Range(1.3, 1200.0, log=True)
    knn = default_space({"stage": [{"model": "item_knn", "recency": 0.1}]})
    assert knn["stage.0.similarity"] == Choices(("cooccurrence", "cosine", "tfidf", "bm25"))  # of ratings: no
    assert knn["stage.0.recency"] == Range(0.1, 1.0)
    assert "stage.0.alpha" not in knn  # 1: texts are off
    assert usual_values(BLEND, "stage.0.pool", place="x") is None
    with pytest.raises(ConfigError, match="did you mean 'reg'"):
        usual_values(BLEND, "stage.0.member.1.rge", place="x")


def test_size_and_grid():
    space = {"a": Choices(("x", "y")), "b": Range(1, 3)}
    assert size(space) == 6
    assert grid(space)[:2] == [{"a": "x", "b": 1}, {"a": "x", "b": 2}]
    assert size({**space, "c": Range(0.0, 1.0)}) == math.inf


@pytest.mark.parametrize(
    ("values", "inside", "outside"),
    [
        (Choices((1, "x")), (1, "x"), (2, True, None)),
        (Range(1, 5), (1, 5), (0, 6, 2.5, True, None)),
        (Range(0.5, 5.0), (0.5, 1, 5), (0.4, "1", None)),
    ],
)
def test_holds(values, inside, outside):
    assert all(values.holds(one) for one in inside)
    assert not any(values.holds(one) for one in outside)


def test_the_end_of_a_range():
    assert Range(1.0, 1e6, log=True).at_end(1.2)
    assert not Range(1.0, 1e6, log=True).at_end(100.0)
    assert Range(0.0, 1.0).at_end(0.99)


@pytest.mark.parametrize(
    ("key", "part"),
    [
        ("stage.0.dim", "0/"),
        ("stage.1.member.2.dim", "1/2/"),
        ("stage.0.keep", None),
        ("stage.0.model", None),
        ("encoder.model", None),
        ("stage.0.member.2.model", None),
    ],
)
def test_owner(key, part):
    assert owner(key) == part


def test_toml_is_read_back(tmp_path):
    settings = {
        "fallback": "none",
        "encoder": {"model": "tfidf", "odd key": 'a "quoted"\nline\x7f'},
        "stage": [
            {"model": "blend", "pool": 50, "member": [{"model": "ease", "reg": 1e-05}, {"model": "popular"}]},
            {"model": "text_knn", "recency": 1.0, "words": [1, True, "ä"]},
        ],
    }
    assert tomllib.loads(toml(settings)) == settings
    file = tmp_path / "best.toml"
    file.write_text(toml(settings), encoding="utf-8")
    assert config.read(str(file)) == settings
    with pytest.raises(ConfigError, match=r"stage.a: None"):
        toml({"stage": {"a": None}})
