"""A saved model: a folder of manifest.json, safetensors and parquet files, written whole or not at all.

The manifest names the format, the model, its configuration and the SHA-256 of every other file. Reading checks all of
it before anything is used. No pickle, no code, no secrets.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from tastemaker.drafts import draft
from tastemaker.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FORMAT = 1
MANIFEST = "manifest.json"
ARRAYS = "arrays.safetensors"
IGNORED = frozenset({".DS_Store", "Thumbs.db"})
"""What systems put into folders that people look at."""


def write(
    folder: Path,
    manifest: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    frames: Mapping[str, pl.DataFrame] | None = None,
) -> None:
    """Write an artifact folder, whole or not at all. An artifact that stands at `folder` is replaced.

    Args:
        folder: where the artifact goes; its parent is made if needed.
        manifest: JSON values; "format" and "files" are added here.
        arrays: arrays by name, any shape.
        frames: tables by file stem, each written as parquet.

    Raises:
        ArtifactError: `folder` exists and is no artifact, or cannot be written.
    """
    folder = Path(folder)
    check_place(folder)
    try:
        with draft(folder) as new:
            packed = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
            save_file(packed, new / ARRAYS, metadata={"manifest": _digest(manifest)})
            for stem, frame in (frames or {}).items():
                frame.write_parquet(new / f"{stem}.parquet")
            hashes = {path.name: _sha256(path) for path in sorted(new.iterdir())}
            content = {"format": FORMAT, **manifest, "files": hashes}
            (new / MANIFEST).write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    except OSError as error:
        raise ArtifactError(f"{folder}: cannot be written: {error.strerror}") from error


def check_place(folder: Path) -> None:
    """Refuse to replace what is not an artifact, whole or in part; long work asks before it begins.

    Raises:
        ArtifactError: something else stands at `folder`, or lies in it beside an artifact.
    """
    if not folder.exists():
        return
    inside = {path.name for path in folder.iterdir()} - IGNORED if folder.is_dir() else {folder.name}
    try:
        own = {*read_manifest(folder)["files"]}
    except ArtifactError as error:  # none, a damaged one, or one of another format
        own = {name for name in inside if name == ARRAYS or name.endswith(".parquet")}
        if inside and (ARRAYS not in own or MANIFEST not in inside):
            raise ArtifactError(f"{folder}: exists and is not a saved model; choose another folder") from error
    if strange := sorted(inside - own - {MANIFEST}):
        raise ArtifactError(
            f"{folder}: {strange[0]} is no part of the saved model there and would be lost; move it away, or choose "
            "another folder"
        )


def read(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]], dict[str, pl.DataFrame]]:
    """Read and verify an artifact folder.

    Returns:
        (manifest, arrays by name, tables by stem).

    Raises:
        ArtifactError: not an artifact, another format, a file missing or altered.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    files = manifest["files"]
    for name, expected in files.items():
        if Path(name).name != name:
            raise ArtifactError(f"{folder / MANIFEST}: file name {name!r} leaves the folder")
        path = folder / name
        if not path.is_file():
            raise ArtifactError(f"{path}: missing; copy the whole folder or fit the model again")
        if _sha256(path) != expected:
            raise ArtifactError(f"{path}: content differs from the manifest (SHA-256); fit the model again")
    try:
        with safe_open(folder / ARRAYS, framework="numpy") as file:
            digest = (file.metadata() or {}).get("manifest")
        arrays = load_file(folder / ARRAYS)
        frames = {Path(name).stem: pl.read_parquet(folder / name) for name in files if name.endswith(".parquet")}
    except (SafetensorError, pl.exceptions.PolarsError) as error:
        raise ArtifactError(f"{folder}: cannot be read: {error}") from error
    if digest != _digest({key: value for key, value in manifest.items() if key not in ("format", "files")}):
        raise ArtifactError(f"{folder / MANIFEST}: was edited after it was written; fit the model again")
    return manifest, arrays, frames


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read what an artifact says of itself; its files are not looked at.

    Raises:
        ArtifactError: not an artifact, or another format.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    except OSError as error:
        raise ArtifactError(f"{folder}: not a saved model (no {MANIFEST}); make one with 'tastemaker fit'") from error
    except ValueError as error:
        raise ArtifactError(f"{folder / MANIFEST}: not valid JSON; fit the model again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise ArtifactError(f"{folder}: format {found!r}, this version reads {FORMAT}; fit the model again")
    files = manifest.get("files")
    if not isinstance(files, dict) or ARRAYS not in files:
        raise ArtifactError(f"{folder / MANIFEST}: lists no files; fit the model again")
    return manifest


def fingerprint(folder: Path) -> str:
    """Return the SHA-256 of an artifact's manifest, and so of all its content: the manifest has that of each file.

    Raises:
        ArtifactError: there is no artifact.
    """
    try:
        return _sha256(Path(folder) / MANIFEST)
    except OSError as error:
        raise ArtifactError(f"{folder}: not a saved model (no {MANIFEST}); make one with 'tastemaker fit'") from error


def _digest(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what a manifest says, whatever its layout; the arrays carry it."""
    text = json.dumps(manifest, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
