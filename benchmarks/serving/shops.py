"""Shops to serve: a saved model of any size whose vectors lie in clusters, as those of product texts do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tastemaker import saved
from tastemaker.data.entities import Entities
from tastemaker.data.queries import Queries
from tastemaker.encoders.tfidf import TfidfEncoder
from tastemaker.models.content.text_knn import TextKNN
from tastemaker.models.parts.matrices.similarity import on_grid
from tastemaker.pipeline import Pipeline, Stage

if TYPE_CHECKING:
    from pathlib import Path

CLUSTERS = 500
SPREAD = 0.55
"""How far a vector lies from its cluster's centre; cosines within a cluster are about 1 / (1 + SPREAD^2)."""


def make_shop(folder: Path, *, items: int, dim: int, users: int = 5000, seed: int = 0) -> Path:
    """Save a `text_knn` of so many products and shoppers; histories stay in a few clusters each."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((CLUSTERS, dim)).astype(np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    kind = rng.integers(0, CLUSTERS, items)
    noise = rng.standard_normal((items, dim)).astype(np.float32) * np.float32(SPREAD / np.sqrt(dim))
    vectors = centres[kind] + noise
    vectors = on_grid(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    frame = pl.DataFrame(
        {
            "id": [f"item-{number}" for number in range(items)],
            "title": [f"Product {number} of kind {cluster}" for number, cluster in enumerate(kind)],
            "brand": [f"Brand {number % 997}" for number in range(items)],
            "price": (rng.gamma(2.0, 15.0, items) + 1).round(2),
        }
    )
    encoder = TfidfEncoder(dim=dim)
    encoder.fit(frame["title"].head(2000).to_list())
    model = TextKNN.of_vectors(Entities(frame), vectors, encoder=encoder)
    by_kind = [np.flatnonzero(kind == cluster) for cluster in range(CLUSTERS)]
    histories = []
    for _ in range(users):
        own = np.concatenate([by_kind[cluster] for cluster in rng.integers(0, CLUSTERS, 3)])
        histories.append(rng.choice(own, size=min(len(own), int(rng.integers(3, 30))), replace=False))
    pipeline = Pipeline([Stage(model)])
    pipeline._items = model.items
    shoppers = Entities.from_ids([f"user-{number}" for number in range(users)])
    saved.save(folder, saved.SavedModel(pipeline, shoppers, Queries.from_lists(histories)))
    return folder
