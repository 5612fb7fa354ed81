"""The rating experiment of arXiv 2403.02760: MAE and RMSE over K neighbours, plain and text-enriched.

The paper's own numbers are no target: they exceed the rating scale's range. This prints real ones, on explicit ratings:

    python benchmarks/rating_neighbours.py DATA/movielens-100k --json rating_neighbours.json
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from tastemaker import rating
from tastemaker.data.dataset import Dataset
from tastemaker.encoders.tfidf import TfidfEncoder
from tastemaker.models.collaborative.item_knn import ItemKNN
from tastemaker.models.collaborative.user_knn import UserKNN
from tastemaker.progress import bar

if TYPE_CHECKING:
    from tastemaker.recommender import Recommender

METHODS: list[tuple[type[Recommender], str]] = [
    (UserKNN, "cosine"),
    (UserKNN, "pearson"),
    (ItemKNN, "cosine"),
    (ItemKNN, "adjusted-cosine"),
]


def make(kind: type[Recommender], similarity: str, shrinkage: float, alpha: float) -> Recommender:
    """Return an unfitted model that predicts ratings."""
    return kind(similarity=similarity, shrinkage=shrinkage, feedback="ratings", alpha=alpha, encoder=TfidfEncoder())


def main() -> None:
    """Measure, print a table, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with interactions.parquet and items.parquet")
    parser.add_argument("--shrinkage", type=float, nargs="+", default=[0.0, 10.0], help="0 is the published form")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    options = parser.parse_args()
    tables = [pl.read_parquet(options.data / f"{name}.parquet") for name in ("interactions", "items")]
    models = {
        f"{kind.name} {similarity}, shrinkage {shrinkage:g}": partial(make, kind, similarity, shrinkage)
        for shrinkage in options.shrinkage
        for kind, similarity in METHODS
    }
    result = rating.evaluate_ratings(Dataset.from_frames(*tables), models, seed=options.seed, progress=bar)
    print(json.dumps(result["protocol"]))
    print(f"{'':<44} alpha " + "".join(f"  K={k:<5}" for k in result["protocol"]["neighbours"]) + "(MAE)")
    for name, errors in result["baselines"].items():
        print(f"{name:<44}       {errors['mae']:.4f}")
    for entry in result["models"]:
        errors = "".join(f"  {row['mae']:.4f} " for row in entry["rows"])
        print(f"{entry['model']:<44} {entry['alpha']:>5.1f} {errors}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
