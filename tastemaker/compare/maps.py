"""Text vectors of the products, for measures, and a map of them for people: made once for a data set, then kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tastemaker import artifact, provenance
from tastemaker.compare import store
from tastemaker.compare.plan import digest
from tastemaker.errors import ArtifactError
from tastemaker.evaluate.vectors import text_vectors
from tastemaker.text.render import item_names

if TYPE_CHECKING:
    from pathlib import Path

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.types import Float32

POINTS, LEAST_POINTS = 1000, 10
"""Products on the map: the most bought ones."""
PERPLEXITY = 30.0


@dataclass(frozen=True, slots=True)
class Products:
    """What a comparison keeps of the products.

    Attributes:
        place: the folder that holds it, from which jobs read the vectors.
        points: the map, or None.
    """

    place: Path
    points: dict[str, Any] | None


def kept(folder: Path, data: Dataset) -> Products:
    """Return the vectors and the map of the products, from `folder` where they are there and whole."""
    made_from = [data.fingerprint, provenance.code_digest(), provenance.versions()]
    place = folder / "products" / digest(made_from)
    try:
        manifest, _, _ = artifact.read(place)
    except ArtifactError:
        store.clear(place)
        vectors = text_vectors(data.items)
        manifest = {"map": points(data, vectors)}
        artifact.write(place, manifest, {} if vectors is None else {"vectors": vectors})
    return Products(place, manifest.get("map"))


def read_vectors(place: Path) -> Float32 | None:
    """Return the text vectors that are kept, [n, d]; None where no product has a text."""
    return artifact.read(place)[1].get("vectors")


def points(data: Dataset, vectors: Float32 | None) -> dict[str, Any] | None:
    """Lay the most bought products out in the plane, neighbours near each other (t-SNE; van der Maaten, 2008)."""
    if vectors is None:
        return None
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    has_text = np.linalg.norm(vectors, axis=1) > 0
    bought = np.argsort(-data.popularity, kind="stable")
    shown = bought[has_text[bought] & (data.popularity[bought] > 0)][:POINTS]
    if len(shown) < LEAST_POINTS:
        return None
    dim = min(50, len(shown), vectors.shape[1])
    reduced = PCA(dim, random_state=0).fit_transform(vectors[shown])
    perplexity = min(PERPLEXITY, (len(shown) - 1) / 3)
    places = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(reduced)
    names, categories = item_names(data.items), _categories(data.items)
    return {
        "of": f"text vectors (tfidf) of the {len(shown):,} most bought products, by t-SNE",
        "points": [
            {
                "x": round(float(x), 2),
                "y": round(float(y), 2),
                "title": names[item],
                "category": categories[item],
                "popularity": int(data.popularity[item]),
            }
            for item, (x, y) in zip(shown.tolist(), places, strict=True)
        ],
    }


def _categories(items: Entities) -> list[str | None]:
    """Return each item's most general category below the one that all share."""
    if "categories" not in items.frame.columns:
        return [None] * len(items)
    column = items.frame["categories"]
    if not isinstance(column.dtype, pl.List):
        return column.cast(pl.String).to_list()
    for depth in range(3):
        words = column.list.get(depth, null_on_oob=True)
        if words.n_unique() > 2:
            return words.to_list()
    return column.list.last().to_list()
