from __future__ import annotations

import json
import subprocess
import sys

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


@pytest.mark.parametrize("settings", ["tfidf", 3, ["tfidf"], None])
def test_settings_that_are_no_table_name_the_cure(settings):
    for use in (build.build, build.check):
        with pytest.raises(ConfigError, match=r'must be a table: \[encoder\] model = "tfidf"'):
            use(settings)


@pytest.mark.parametrize("table", TABLES, ids=range(len(TABLES)))
def test_check_lets_good_tables_pass(table):
    build.check(table)


def test_check_needs_neither_weights_nor_torch():
    """In a fresh process, a table of the transformer is checked and torch is not imported."""
    code = (
        "import sys; from tastemaker.encoders import build\n"
        "build.check({'model': 'transformer', 'folder': 'nowhere', 'max_length': 5})\n"
        "try:\n    build.check({'model': 'transformer', 'max_lenght': 5})\n"
        "except build.ConfigError as error:\n    print(error, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "transformer.max_lenght: unknown key; did you mean 'max_length'? False\n"
