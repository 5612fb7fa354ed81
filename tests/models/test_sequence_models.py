"""Sequence models on a shop with a known order, and what all of them share."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tastemaker import evaluate, registry
from tastemaker.data import Dataset, Queries
from tastemaker.data.split import leave_one_out
from tastemaker.errors import ConfigError
from tastemaker.pipeline import Pipeline, Stage
from tastemaker.recommender import Aids

SMALL = {"dim": 16, "layers": 1, "dropout": 0.1, "batch_size": 16, "learning_rate": 0.01}
MODELS = ["sasrec", "bsarec", "gru4rec", "hstu"]


def rounds(users=120, items=12, seed=0):
    """Shoppers who walk a fixed round of products, two steps at a time if they began at an even place.

    What comes next depends on the last two purchases: one alone does not tell.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        place = int(rng.integers(items))
        step = 1 + place % 2 if items % 2 else 1 + int(rng.integers(2))
        for _ in range(6):
            rows.append((f"u{user:03}", f"p{place:02}"))
            place = (place + step) % items
    return Dataset.from_frames(pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row"))


@pytest.mark.parametrize("name", MODELS)
def test_the_order_of_purchases_is_learnt(name):
    data = rounds()
    model = registry.model_class(name)(epochs=30, **SMALL).fit(data)
    by_one, by_two = Queries.from_lists([[3, 4, 5]]), Queries.from_lists([[1, 3, 5]])
    assert model.rank(by_one, 1).items[0, 0] == 6
    assert model.rank(by_two, 1).items[0, 0] == 7


@pytest.mark.parametrize("name", MODELS)
def test_validation_ends_training_and_refit_keeps_the_length(name):
    split = leave_one_out(rounds())
    model = registry.model_class(name)(epochs=60, patience=3, **SMALL)
    evaluate.fit(Pipeline([Stage(model)]), split, refit=True)
    best = model.report()["best_epoch"]
    assert 0 < best < 60
    assert len(model.report()["learning_curve"]) == best
    assert "ndcg@10" not in model.report()["learning_curve"][0]
    model.fit(split.train, aids=Aids(validation=split.validation))
    assert model.report()["best_epoch"] == best
    assert len(model.report()["learning_curve"]) == best + 3


def test_text_alone_ranks_a_product_that_nobody_bought():
    data = rounds()
    words = ["amber", "beech", "cedar", "dogwood", "elm", "fir", "ginkgo", "hazel", "ivy", "juniper", "kapok", "larch"]
    titles = [f"{words[number]} bowl" for number in range(12)] + ["elm bowl, large"]
    items = pl.DataFrame({"item_id": [f"p{number:02}" for number in range(13)], "title": titles})
    log = pl.DataFrame(
        {
            "user_id": data.users.frame["id"].gather(data.log["user"]),
            "item_id": data.items.frame["id"].gather(data.log["item"]),
        }
    )
    places = {}
    for inputs in ("id", "text", "both"):
        model = registry.model_class("sasrec")(inputs=inputs, own_dropout=0.5, epochs=30, **SMALL)
        asked = Queries.from_lists([[1, 2, 3], [2, 3], [5, 0, 1, 2, 3]])
        ranking = model.fit(Dataset.from_frames(log, items)).rank(asked, 13)
        places[inputs] = (ranking.items == 12).argmax(axis=1).mean()
    assert places["text"] < 4 < places["id"], places
    assert places["both"] < places["id"], places


def test_heads_must_divide_dim():
    with pytest.raises(ConfigError, match="heads = 3 does not divide dim = 16"):
        registry.model_class("sasrec")(dim=16, heads=3)


def test_one_item_histories_are_no_training_data():
    log = pl.DataFrame({"user_id": list("abc"), "item_id": list("xyz")})
    model = registry.model_class("sasrec")(epochs=2, **SMALL).fit(Dataset.from_frames(log))
    assert np.isfinite(model.score(Queries.from_lists([[0]]))).all()
