"""Configuration: one TOML file, typed, and messages that name place, key, value and cure."""

from __future__ import annotations

import pytest

from tastemaker import config, registry
from tastemaker.configurable import Config, explained
from tastemaker.errors import ConfigError


def build(tmp_path, text, overrides=None):
    file = tmp_path / "shop.toml"
    file.write_text(text)
    return registry.build(config.read(str(file), overrides=overrides), place="shop.toml")


def test_the_smallest_file(tmp_path):
    pipeline = build(tmp_path, '[[stage]]\nmodel = "transitions"\n')
    assert [stage.recommender.name for stage in pipeline.stages] == ["transitions"]
    assert pipeline.fallback.name == "popular"


def test_a_model_name_is_a_config():
    assert config.read("ease") == {"stage": [{"model": "ease"}]}


def test_overrides(tmp_path):
    text = '[[stage]]\nmodel = "transitions"\n'
    pipeline = build(tmp_path, text, ["stage.0.recency=0.5", "stage.0.keep=7", "fallback=none"])
    assert pipeline.stages[0].recommender.config.recency == 0.5
    assert pipeline.stages[0].keep == 7
    assert pipeline.fallback is None


def test_every_setting_of_every_model_is_explained():
    for name in registry.names():
        kind = registry.model_class(name).Config
        assert set(explained(kind)) == set(kind.model_fields), name


def test_a_setting_means_what_the_nearest_class_says():
    class Wide(Config):
        """Settings.

        Attributes:
            size: how many,
                and no more.
            a, b: alike.
        """

        size: int = 1
        a: int = 1
        b: int = 1

    class Narrow(Wide):
        """Settings, beyond those.

        Attributes:
            b: of its own.
            more: one: with a colon.

        Not an attribute: this.
        """

        more: int = 1

    assert explained(Narrow) == {
        "size": "how many, and no more.", "a": "alike.", "b": "of its own.", "more": "one: with a colon."
    }  # fmt: skip


def test_settings_round_trip(tmp_path):
    text = 'fallback = "none"\n[[stage]]\nmodel = "transitions"\nwindow = 3\nkeep = 9\n[[stage]]\nmodel = "text_knn"\n'
    settings = registry.settings_of(build(tmp_path, text))
    assert registry.settings_of(registry.build(settings)) == settings
    assert settings["stage"][0]["window"] == 3


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (
            "[[stage]]\nmodel = 'transition'",
            [],
            r"shop.toml.stage\[0\]: unknown model 'transition'; did you mean 'transitions'\?",
        ),
        ("[[stage]]\nmodel = 'ease'\nregg = 3", [], r"shop.toml.stage\[0\].regg: unknown key; did you mean 'reg'\?"),
        ("[[stage]]\nmodel = 'transitions'\nrecency = 7", [], r"shop.toml.stage\[0\].recency: 7"),
        ("[[stage]]\nmodel = 'transitions'\nrecency = nan", [], r"shop.toml.stage\[0\].recency: nan"),
        ("[[stage]]\nmodel = 'transitions'\nkeep = 0", [], r"shop.toml.stage\[0\].keep: 0: must be a whole number"),
        ("[[stage]]\nkeep = 3", [], r"shop.toml.stage\[0\]: needs model"),
        ("[encoder]\nmodel = 'bert'\n[[stage]]\nmodel = 'popular'", [], "unknown encoder 'bert'"),
        ("[lm]\nmodle = 'x'\n[[stage]]\nmodel = 'popular'", [], r"lm.modle: unknown key; did you mean 'model'\?"),
        ("", [], r"needs at least one \[\[stage\]\]"),
        ("stages = 3", [], r"shop.toml.stages: unknown key; did you mean 'stage'\?"),
        ("[[stage", [], "not valid TOML"),
        ("[[stage]]\nmodel = 'popular'", ["nonsense"], "must look like"),
        ("[[stage]]\nmodel = 'popular'", ["stage.4.reg=1"], "no entry '4'"),
        ("[[stage]]\nmodel = 'popular'", ["stage.reg=1"], "no key of a list"),
    ],
)
def test_mistakes_are_named(tmp_path, text, overrides, message):
    with pytest.raises(ConfigError, match=message):
        build(tmp_path, text, overrides)


def test_no_such_file_lists_the_models():
    with pytest.raises(ConfigError, match=r"no such file, and no model of that name; known: .*transitions"):
        config.read("nowhere.toml")


def test_a_model_s_name_is_proposed():
    with pytest.raises(ConfigError, match=r"transitons: no such file, .* that name; did you mean 'transitions'"):
        config.read("transitons")
