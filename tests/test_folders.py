from __future__ import annotations

from pathlib import Path

import pytest

from tastemaker.folders import cache_folder


def test_the_variable_wins(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("TASTEMAKER_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.setenv("TASTEMAKER_CACHE", "~/mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "mine"


def test_xdg_is_next_unless_it_is_relative(monkeypatch, tmp_path):
    monkeypatch.delenv("TASTEMAKER_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "tastemaker"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder().is_absolute() and "relative" not in cache_folder().parts


@pytest.mark.parametrize(
    ("platform", "place"),
    [
        ("linux", ".cache/tastemaker"),
        ("darwin", "Library/Caches/tastemaker"),
        ("win32", "AppData/Local/tastemaker/cache"),
    ],
)
def test_each_system_has_its_own_default(platform, place, monkeypatch, tmp_path):
    for variable in ("TASTEMAKER_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", platform)
    assert cache_folder() == tmp_path / Path(place)
    assert not cache_folder().exists()
