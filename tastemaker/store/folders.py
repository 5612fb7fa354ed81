"""Versions of a model and the folders in which they lie: what a folder makes, and whether it still holds it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tastemaker import artifact
from tastemaker.errors import ArtifactError
from tastemaker.store.records import ModelVersion

DIGITS = 10
"""Of a digest, in messages."""


def model_in(folder: Path, version: str) -> ModelVersion:
    """Return the version that a saved model's folder makes; of the files only the manifest is read.

    Raises:
        ArtifactError: there is no saved model.
    """
    digest = artifact.fingerprint(folder)
    manifest = artifact.read_manifest(folder)
    facts = {"model": manifest.get("model"), "items": manifest.get("items"), "fitted": manifest.get("facts")}
    return ModelVersion(version, str(folder.resolve()), facts=facts, digest=digest)


def outline(model: ModelVersion) -> dict[str, Any]:
    """Return in a few words what a version is made of: stages, fallback, products, whether it asks a language model.

    What the facts do not say, as those of other releases and tools, is None.
    """
    settings, items = model.facts.get("model"), model.facts.get("items")
    settings = settings if isinstance(settings, Mapping) else {}
    count = items.get("count") if isinstance(items, Mapping) else items
    stages = [stage.get("model") for stage in settings.get("stage", ())] or model.facts.get("stages")
    return {
        "stages": stages,
        "fallback": settings.get("fallback", model.facts.get("fallback")),
        "items": count,
        "language_model": "lm" in settings if settings else model.facts.get("language_model"),
    }


def in_words(model: ModelVersion) -> str:
    """Return what a version is made of, such as "item_knn -> listwise, 1,200 products"."""
    found = outline(model)
    stages = " -> ".join(map(str, found["stages"] or ["unknown stages"]))
    return stages if found["items"] is None else f"{stages}, {found['items']:,} products"


def check_folder(model: ModelVersion) -> None:
    """See that a version's folder still holds the model that the version's name was given to.

    A version without a digest comes from an older release, which kept none, and is let through.

    Raises:
        ArtifactError: it holds another model, or none.
    """
    if model.digest is None:
        return
    found = artifact.fingerprint(Path(model.folder))
    if found != model.digest:
        raise ArtifactError(changed(model, found))


def changed(model: ModelVersion, found: str) -> str:
    """Return what to say of a version whose folder has another digest by now."""
    known = (model.digest or "")[:DIGITS]
    return (
        f"model {model.version!r}: {model.folder} was fitted anew since it got this name (manifest {found[:DIGITS]}, "
        f"was {known}); register it as a new version: tastemaker model promote {model.folder} --version NAME, or POST "
        "/v1/models"
    )
