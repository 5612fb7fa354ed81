"""The catalogue of a shop of printers, paper and the like, and what is recommended in it."""

from __future__ import annotations

import numpy as np
import polars as pl

from tastemaker.data.entities import Entities
from tastemaker.data.queries import Queries

ONE = np.zeros(20, dtype=np.int64)  # all texts of one shop
KINDS = ["printer", "paper", "kettle", "tea", "racket", "ball"]  # each even one is followed by the odd one behind it
MAKERS = ["acme", "bolt", "cosy", "dora", "echo", "fine"]
WORDS = [*KINDS, *MAKERS, "number", ";", ":", "brand"]
QUICK = {"epochs": 5, "warmup": 0, "learning_rate": 1e-3, "refreshed": 8, "batch_size": 64, "schedule": "constant"}


def catalogue(makers=MAKERS):
    titles = [f"{kind} {maker}" for kind in KINDS for maker in makers]
    return pl.DataFrame({"item_id": [title.replace(" ", "-") for title in titles], "title": titles})


def kinds_listed(model, item, k=6):
    ranking = model.rank(Queries.from_lists([[model.items.numbers([item])[0]]]), k)
    return [id_.split("-")[0] for id_ in model.items.ids(ranking.items[0])]


def share_of_next_kind(model):
    return np.mean([kinds_listed(model, f"{kind}-acme").count(KINDS[KINDS.index(kind) + 1]) / 6 for kind in KINDS[::2]])


def as_entities(makers):
    return Entities(catalogue(makers).rename({"item_id": "id"}))
