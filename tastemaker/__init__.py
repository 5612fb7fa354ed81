"""tastemaker: recommendations for online shops in which language models and collaborative filtering work together."""

import os
from typing import TYPE_CHECKING, Any

# Threads spin while they wait for each other, which makes a training many times as long where another process holds a
# core. On idle cores the bound costs a few percent (benchmarks/busy_core.py). It is read when torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

from tastemaker.data import Dataset, Entities, Queries, Ranking
from tastemaker.errors import TastemakerError
from tastemaker.pipeline import Pipeline, Stage
from tastemaker.recommender import Recommender

if TYPE_CHECKING:
    from tastemaker.saved import load_recommender as load
    from tastemaker.saved import save_recommender as save

__version__ = "0.6.0"

__all__ = [
    "Dataset",
    "Entities",
    "Pipeline",
    "Queries",
    "Ranking",
    "Recommender",
    "Stage",
    "TastemakerError",
    "load",
    "save",
]

_LAZY = {"load": "load_recommender", "save": "save_recommender"}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # whatever the name stands for
    """Load `load` and `save` on first use: they need the registry, which needs this package."""
    if name in _LAZY:
        from tastemaker import saved

        return getattr(saved, _LAZY[name])
    raise AttributeError(f"module 'tastemaker' has no attribute {name!r}")
