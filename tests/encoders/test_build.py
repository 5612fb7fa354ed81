from __future__ import annotations

import json

import pytest

from tastemaker.encoders import build
from tastemaker.encoders.cache import CachedEncoder
from tastemaker.encoders.tfidf import TfidfEncoder
from tastemaker.encoders.transformer import TransformerEncoder
from tastemaker.errors import ConfigError, MissingExtra

TABLES = [
    {},
    {"model": "tfidf", "dim": 32, "ngrams": [2, 4]},
    {"model": "transformer"},
    {"model": "transformer", "folder": "x", "cache": False},
    {"model": "http", "url": "http://127.0.0.1:1/v1", "served_model": "x", "key_variable": "SHOP_KEY"},
]


@pytest.mark.parametrize("table", TABLES, ids=range(len(TABLES)))
def test_settings_make_the_same_encoder_again(table):
    encoder = build.build(table)
    settings = build.settings_of(encoder)
    again = build.build(json.loads(json.dumps(settings)))
    assert type(again) is type(encoder)
    assert again.name == encoder.name and again.config == encoder.config
    assert build.settings_of(again) == settings
    assert table.items() <= settings.items() or table.get("ngrams")


def test_the_default_needs_no_extra():
    assert isinstance(build.build({}), TfidfEncoder)
    assert build.build({"ngrams": [2, 4]}).config.ngrams == (2, 4)


def test_slow_encoders_are_cached_unless_told_otherwise():
    assert isinstance(build.build({"model": "transformer"}), CachedEncoder)
    assert isinstance(build.build({"model": "transformer", "cache": False}), TransformerEncoder)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"model": "transfomer"}, r"encoder.model: unknown encoder 'transfomer'; did you mean 'transformer'"),
        ({"model": "tfidf", "dims": 3}, r"tfidf.dims: unknown key; did you mean 'dim'"),
        ({"cache": True}, "encoder.cache: 'tfidf' has no cache"),
        ({"model": "transformer", "cache": "yes"}, "encoder.cache: 'yes': must be true or false"),
        ({"model": "http", "url": "http://127.0.0.1:1"}, r"http.served_model"),
        ({"model": 3}, "unknown encoder 3"),
        ({"model": ["tfidf"]}, "unknown encoder"),
    ],
)
def test_wrong_tables_say_what_is_wrong(table, message):
    with pytest.raises(ConfigError, match=message):
        build.build(table)


@pytest.mark.parametrize(("name", "extra"), [("transformer", "text"), ("http", "http")])
def test_a_missing_package_names_its_extra(name, extra, monkeypatch):
    monkeypatch.setattr(build, "find_spec", lambda module: None)
    with pytest.raises(MissingExtra, match=rf"tastemaker\[{extra}\]"):
        build.build({"model": name})
