from __future__ import annotations

import builtins
import subprocess
import sys

import pytest

from tastemaker.errors import BudgetExceeded, ConfigError, LanguageModelError, MissingExtra
from tastemaker.lm.base import ChoiceModel, LikelihoodModel, Prompt
from tastemaker.lm.build import build, check, settings_of
from tastemaker.lm.cache import CachedLM
from tastemaker.lm.scripted import ScriptedLM


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TASTEMAKER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TASTEMAKER_LM_KEY", raising=False)


def test_local_model(folder, tmp_path):
    lm = build({"model": str(folder), "batch_size": 2})
    assert isinstance(lm, LikelihoodModel)
    lm.generate([Prompt("x")], max_tokens=1)
    assert build({"model": str(folder)}).generate([Prompt("x")], max_tokens=1)
    assert (tmp_path / "cache" / "answers.sqlite").is_file()
    settings = settings_of(lm)
    assert settings == {
        "model": str(folder), "batch_size": 2, "device": "cpu", "dtype": "float32", "read": "auto", "cache": True
    }  # fmt: skip
    assert settings_of(build(settings)) == settings


def test_server():
    settings = {"url": "http://127.0.0.1:8000/v1", "model": "qwen", "timeout": 30, "cache": False}
    writes, chooses = build(settings), build({**settings, "logprobs": True})
    assert not isinstance(writes, CachedLM)
    assert not isinstance(writes, ChoiceModel)
    assert isinstance(chooses, ChoiceModel)
    assert not isinstance(chooses, LikelihoodModel)
    assert settings_of(writes)["timeout"] == 30
    assert settings_of(build(settings_of(writes))) == settings_of(writes)
    with pytest.raises(ConfigError, match="allow_remote"):
        build({**settings, "url": "https://models.example/v1"})


def test_budget_and_named_cache(folder, tmp_path):
    path = tmp_path / "mine.sqlite"
    settings = {"model": str(folder), "cache": str(path), "max_calls": 1, "max_tokens_total": 10_000}
    lm = build(settings)
    for _ in range(2):
        lm.generate([Prompt("x")], max_tokens=1)  # the second time from the file
    with pytest.raises(BudgetExceeded):
        lm.generate([Prompt("y")], max_tokens=1)
    assert path.is_file()
    assert {key: settings_of(lm)[key] for key in settings} == settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "needs model"),
        ({"cache": False}, "needs model"),
        ({"model": "x", "modle": 1}, r"lm\.modle: unknown key; did you mean 'model'"),
        ({"url": "http://127.0.0.1/v1"}, r"lm\.model"),
        ({"url": "http://127.0.0.1/v1", "model": "m", "threads": 2}, r"lm\.threads: unknown key"),
        ({"model": "x", "max_calls": -1}, r"lm\.max_calls: -1"),
        ({"model": "x", "cache": 3}, r"lm\.cache"),
    ],
)
def test_settings_are_checked(settings, message):
    for use in (build, check):
        with pytest.raises(ConfigError, match=message):
            use(settings)


@pytest.mark.parametrize("settings", ["smollm2-135m-instruct", 3, ["x"], None])
def test_settings_that_are_no_table_name_the_cure(settings):
    for use in (build, check):
        with pytest.raises(ConfigError, match=r'must be a table: \[lm\] needs model = "smollm2'):
            use(settings)


def test_check_lets_good_settings_pass_and_loads_nothing():
    """In a fresh process: a model that is not here, and a server that is not there, without torch."""
    code = (
        "import sys; from tastemaker.lm.build import check\n"
        "check({'model': 'nobody/has-this', 'dtype': 'bfloat16', 'max_calls': 3, 'cache': False})\n"
        "check({'url': 'http://127.0.0.1:9/v1', 'model': 'm', 'logprobs': True})\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_absent_weights_name_the_command():
    with pytest.raises(LanguageModelError, match="tastemaker weights get smollm2-135m-instruct"):
        build({"model": "smollm2-135m-instruct"})


@pytest.mark.parametrize(
    ("blocked", "settings", "extra"),
    [
        ("torch", {"model": "smollm2-135m-instruct"}, "lm"),
        ("transformers", {"model": "smollm2-135m-instruct"}, "lm"),
        ("httpx2", {"url": "http://127.0.0.1/v1", "model": "m"}, "http"),
    ],
)
def test_missing_packages_name_the_extra(monkeypatch, blocked, settings, extra):
    for name in [name for name in sys.modules if name.startswith("tastemaker.lm.") or name == "tastemaker.http_client"]:
        if name.rpartition(".")[2] in ("local", "http", "http_client"):
            monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name.partition(".")[0] == blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=rf"{blocked}: pip install 'tastemaker\[{extra}\]'"):
        build(settings)


def test_a_model_that_was_not_built_cannot_be_written_down():
    with pytest.raises(ConfigError, match="ScriptedLM"):
        settings_of(ScriptedLM())
