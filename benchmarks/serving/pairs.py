"""A shop whose lists a cross-encoder puts in order: product names as long as those of a real one, little training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tastemaker import evaluate, registry, saved
from tastemaker.data.dataset import Dataset

if TYPE_CHECKING:
    from pathlib import Path

ITEMS, USERS = 2000, 1500
WORDS = """
    argan oil shampoo conditioner moisturizing organic lavender hand cream soothing skin care repair night serum 
    professional ceramic tourmaline hair dryer travel size ounce pack bottle natural coconut body lotion vitamin c 
    brush set makeup eye shadow palette waterproof mascara black brown nail polish gel remover cotton pads facial 
    cleanser deep pore charcoal mask peel off perfume eau de toilette spray men women gift box 2 3 8 12 16
    """.split()  # noqa: SIM905  # a list of words reads best as words
SHORTEST, LONGEST = 8, 20
"""Words of a product's name: as in Amazon's beauty products, half of which have 18 tokens or more."""


def make_pairs_shop(folder: Path, **settings: Any) -> Path:  # noqa: ANN401  # settings of the stage
    """Save a pipeline of `popular` and `cross_encoder` on MiniLM; how well it ranks is not the point here."""
    rng = np.random.default_rng(0)
    titles = [" ".join(rng.choice(WORDS, rng.integers(SHORTEST, LONGEST + 1))) for _ in range(ITEMS)]
    lengths = rng.integers(3, 12, USERS)
    bought = rng.integers(0, ITEMS, lengths.sum())
    bought[:ITEMS] = np.arange(ITEMS)  # each is bought, so that the first stage has an opinion on all of them
    log = pl.DataFrame(
        {
            "user_id": np.repeat([f"user-{user}" for user in range(USERS)], lengths),
            "item_id": [f"item-{item}" for item in bought],
        }
    )
    items = pl.DataFrame({"item_id": [f"item-{item}" for item in range(ITEMS)], "title": titles})
    shop = Dataset.from_frames(log, items)
    little = {"weight": 1.0, "rounds": 1, "epochs": 1, "questions": 32, "negatives": 3, "warmup": 0, "patience": 0}
    stages = [{"model": "popular", "keep": 50}, {"model": "cross_encoder", "candidates": 50, **little, **settings}]
    pipeline = registry.build({"encoder": {"model": "transformer"}, "stage": stages})
    evaluate.fit_on_all(pipeline, shop, seed=0)
    saved.save(folder, saved.SavedModel(pipeline, shop.users, shop.queries(), {"protocol": {}}))
    return folder
