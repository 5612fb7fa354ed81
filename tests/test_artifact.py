"""Artifacts are all or nothing, and nothing in them is trusted."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from tastemaker import artifact
from tastemaker.errors import ArtifactError


@pytest.fixture
def folder(tmp_path):
    target = tmp_path / "model"
    artifact.write(
        target, {"model": "x"}, {"a": np.arange(6).reshape(2, 3)}, {"items": pl.DataFrame({"id": ["ü", "/"]})}
    )
    return target


def test_round_trip(folder):
    manifest, arrays, frames = artifact.read(folder)
    assert manifest["model"] == "x"
    np.testing.assert_array_equal(arrays["a"], np.arange(6).reshape(2, 3))
    assert frames["items"]["id"].to_list() == ["ü", "/"]


def test_replaces_an_artifact_and_leaves_no_draft(folder):
    artifact.write(folder, {"model": "y"}, {"a": np.zeros(1)})
    manifest, _, frames = artifact.read(folder)
    assert manifest["model"] == "y"
    assert not frames
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_refuses_to_replace_what_is_no_artifact(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with pytest.raises(ArtifactError, match="not a saved model; choose another folder"):
        artifact.write(tmp_path / "home", {}, {"a": np.zeros(1)})
    assert (tmp_path / "home" / "letter.txt").read_text() == "dear"


@pytest.mark.parametrize("name", ["notes.txt", "shop.db", "mine.parquet"])
def test_refuses_to_replace_what_lies_beside_an_artifact(folder, name):
    (folder / ".DS_Store").write_bytes(b"")
    artifact.check_place(folder)
    (folder / name).write_text("dear")
    with pytest.raises(ArtifactError, match=f"{name} is no part of the saved model there and would be lost"):
        artifact.write(folder, {}, {"a": np.zeros(1)})
    assert (folder / name).read_text() == "dear"
    assert artifact.read(folder)[0]["model"] == "x"


def test_a_folder_whose_manifest_is_another_programs_is_left_alone(folder, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "manifest.json").write_text('{"start_url": "/"}')
    with pytest.raises(ArtifactError, match="not a saved model; choose another folder"):
        artifact.check_place(tmp_path / "site")
    (folder / "manifest.json").write_text("{")
    artifact.check_place(folder)  # remains of an artifact may be replaced
    (folder / "index.html").write_text("")
    with pytest.raises(ArtifactError, match=r"index\.html is no part"):
        artifact.check_place(folder)


def test_a_failed_write_leaves_the_old_artifact(folder):
    with pytest.raises(ValueError):
        artifact.write(folder, {"bad": float("nan")}, {"a": np.zeros(1)})
    assert artifact.read(folder)[0]["model"] == "x"
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("name", ["arrays.safetensors", "items.parquet"])
def test_an_altered_or_missing_file_is_refused(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(ArtifactError, match="SHA-256"):
        artifact.read(folder)
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match="missing"):
        artifact.read(folder)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("not json", "not valid JSON"),
        ("[]", "format None"),
        ('{"format": 99}', "format 99"),
        ('{"format": 1}', "lists no files"),
        ('{"format": 1, "files": {"arrays.safetensors": "", "../../etc/passwd": ""}}', "leaves the folder"),
    ],
)
def test_a_bad_manifest_is_refused(folder, manifest, message):
    content = json.loads((folder / "manifest.json").read_text())
    if "etc/passwd" in manifest:
        content["files"]["../../etc/passwd"] = ""
        manifest = json.dumps(content)
    (folder / "manifest.json").write_text(manifest)
    with pytest.raises(ArtifactError, match=message):
        artifact.read(folder)


def test_no_artifact_says_how_to_make_one(tmp_path):
    with pytest.raises(ArtifactError, match="tastemaker fit"):
        artifact.read(tmp_path)
