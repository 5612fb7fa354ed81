"""Saving and loading a fitted pipeline together with its catalogue and the shoppers' histories."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import tastemaker
from tastemaker import artifact, registry
from tastemaker.configurable import under
from tastemaker.data.entities import Entities
from tastemaker.data.queries import Queries
from tastemaker.errors import ArtifactError, DataError
from tastemaker.pipeline import Pipeline, Stage

if TYPE_CHECKING:
    from tastemaker.recommender import Recommender


@dataclass(frozen=True, slots=True)
class SavedModel:
    """A fitted pipeline with what it needs to answer for known shoppers.

    Attributes:
        pipeline: the fitted recommender.
        users: the shoppers it knows; row number = query number in `histories`.
        histories: one query a user, as they may be used at recommendation time.
        facts: how it was fitted: split, data fingerprint, seed. JSON values.
    """

    pipeline: Pipeline
    users: Entities
    histories: Queries
    facts: dict[str, Any] = field(default_factory=dict)


def save(folder: Path, model: SavedModel) -> None:
    """Write `model` as an artifact folder; an artifact already there is replaced as a whole."""
    items = model.pipeline.items
    manifest = {
        "model": registry.settings_of(model.pipeline),
        "version": tastemaker.__version__,
        "items": {"count": len(items), "digest": items.digest},
        "facts": model.facts,
    }
    arrays = {f"model.{name}": array for name, array in model.pipeline.arrays().items()}
    arrays["histories.offsets"] = model.histories.offsets
    arrays["histories.items"] = model.histories.items
    users = model.users.frame.select("id")
    artifact.write(Path(folder), manifest, arrays, {"items": items.frame, "users": users})


def load(folder: Path, *, device: str | None = None, keep_answers: bool = True) -> SavedModel:
    """Read a saved model and check it against the registry.

    Args:
        folder: that `save` has written.
        device: where encoder and language model are to work; None for where they worked when it was saved.
        keep_answers: False keeps the language model's answers out of its cache on disk, whatever its settings say: they
            tell what shoppers bought, and the cache does not know of whom.

    Raises:
        ArtifactError: missing, altered, incomplete, or of another format.
        ConfigError: it names a model that is not known here.
        MissingExtra: it needs a package that is not installed.
    """
    manifest, arrays, frames = artifact.read(Path(folder))
    try:
        items, users = Entities(frames["items"]), Entities(frames["users"])
        histories = Queries(
            arrays["histories.offsets"].astype(np.int64),
            arrays["histories.items"].astype(np.int32),
            users=np.arange(len(users), dtype=np.int32),
        )
        digest, settings = manifest["items"]["digest"], manifest["model"]
    except (KeyError, TypeError, DataError) as error:
        raise ArtifactError(f"{folder}: incomplete ({error}); fit the model again") from error
    if len(histories) != len(users) or (len(histories.items) and histories.items.max() >= len(items)):
        raise ArtifactError(f"{folder}: the saved histories do not fit users and catalogue; fit the model again")
    if items.digest != digest:
        raise ArtifactError(f"{folder}: items.parquet is not the catalogue that the model was fitted on; fit it again")
    settings = registry.on_device(settings, device, move=True)
    pipeline = registry.build(settings if keep_answers else registry.without_answers_kept(settings), place=str(folder))
    pipeline.attach(items, under(arrays, "model"))
    return SavedModel(pipeline, users, histories, manifest.get("facts", {}))


def save_recommender(folder: Path, recommender: Recommender) -> None:
    """Save one fitted recommender without any shopper's data."""
    pipeline = recommender if isinstance(recommender, Pipeline) else Pipeline([Stage(recommender)])
    if pipeline is not recommender:
        pipeline._items = recommender.items
    save(folder, SavedModel(pipeline, Entities.from_ids([]), Queries.from_lists([])))


def load_recommender(folder: Path) -> Pipeline:
    """Load the recommender of a saved model."""
    return load(folder).pipeline
