"""The rating experiment: its split, baselines and rows."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from tastemaker import rating
from tastemaker.data.dataset import Dataset
from tastemaker.errors import DataError
from tastemaker.models.collaborative.item_knn import ItemKNN
from tastemaker.models.collaborative.user_knn import UserKNN
from tastemaker.testing import HashEncoder


@pytest.fixture(scope="module")
def tastes():
    """Forty users of two tastes who rate 25 of 30 items: what fits 5 or 4, the rest 1 or 2; titles name the kind."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(40):
        for item in rng.choice(30, 25, replace=False):
            liked = user % 2 == item % 2
            rows.append((f"u{user}", f"i{item}", float(rng.integers(4, 6) if liked else rng.integers(1, 3))))
    items = pl.DataFrame({"item_id": [f"i{n}" for n in range(30)], "title": [f"kind {n % 2}" for n in range(30)]})
    return Dataset.from_frames(pl.DataFrame(rows, schema=["user_id", "item_id", "rating"], orient="row"), items)


@pytest.mark.parametrize("holdout", ["random", "last"])
def test_no_rating_is_in_two_parts_and_none_is_lost(tastes, holdout):
    split = rating.split_ratings(tastes, holdout=holdout, seed=1)
    parts = [set(part.select("user", "item").rows()) for part in (split.train.log, split.validation, split.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(tastes)
    held = 2 if holdout == "random" else 1  # a tenth of 25, rounded down
    assert [len(part) for part in parts[1:]] == [40 * held] * 2
    assert split.test["user"].value_counts()["count"].unique().to_list() == [held]


def test_the_last_ratings_are_held_out_in_order(tastes):
    split = rating.split_ratings(tastes, holdout="last")
    newest = tastes.log.group_by("user", maintain_order=True).agg(pl.col("item").last())
    assert split.test["item"].to_list() == newest["item"].to_list()


def test_the_seed_decides_the_random_split(tastes):
    first, again, other = (rating.split_ratings(tastes, seed=seed).test for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


def test_a_repeated_pair_is_in_one_part_only():
    rows = [("u", f"i{n % 12}", float(n)) for n in range(24)]
    data = Dataset.from_frames(pl.DataFrame(rows, schema=["user_id", "item_id", "rating"], orient="row"))
    split = rating.split_ratings(data)
    assert split.protocol["train_ratings"] + split.protocol["validation_ratings"] + split.protocol["test_ratings"] == 12
    assert split.train.log["value"].min() >= 12  # the newer one of each pair


def test_baselines_by_hand():
    rows = [("a", "x", 1.0), ("a", "y", 3.0), ("a", "z", 5.0), ("b", "x", 2.0), ("b", "y", 2.0), ("b", "z", 4.0)]
    data = Dataset.from_frames(pl.DataFrame(rows, schema=["user_id", "item_id", "rating"], orient="row"))
    split = rating.split_ratings(data, holdout="last")  # learns from (a, x, 1) and (b, x, 2), tests on z: 5 and 4
    found = rating.baselines(split)
    assert {name: errors["mae"] for name, errors in found.items()} == {
        "global mean": pytest.approx(3.0),
        "user mean": pytest.approx(3.0),
        "item mean": pytest.approx(3.0),  # nobody rated z before: the mean of all
    }
    assert found["user mean"]["rmse"] == pytest.approx(((5 - 1) ** 2 / 2 + (4 - 2) ** 2 / 2) ** 0.5)


def test_neighbours_beat_the_means_and_the_table_is_json(tastes):
    models = {
        "item_knn": lambda alpha: ItemKNN(
            similarity="adjusted-cosine", feedback="ratings", alpha=alpha, encoder=HashEncoder()
        ),
        "user_knn": lambda alpha: UserKNN(similarity="pearson", feedback="ratings", alpha=alpha, encoder=HashEncoder()),
    }
    result = json.loads(json.dumps(rating.evaluate_ratings(tastes, models, ks=(5, 10), alphas=(0.5, 0.9))))
    assert [entry["model"] for entry in result["models"]] == [
        "item_knn",
        "item_knn + text",
        "user_knn",
        "user_knn + text",
    ]
    floor = min(errors["mae"] for errors in result["baselines"].values())
    for entry in result["models"]:
        assert [row["neighbours"] for row in entry["rows"]] == [5, 10]
        assert all(row["mae"] < 0.7 * floor and row["fallback_share"] == 0 for row in entry["rows"])
    assert result["models"][1]["alpha"] in (0.5, 0.9)
    assert result["protocol"]["clipped_to"] == [1.0, 5.0]


def test_alpha_is_chosen_on_validation_and_never_on_test(tastes, monkeypatch):
    asked = []
    original = rating._rows

    def spy(model, split, log, ks, seed):
        asked.append((model.config.alpha, "test" if log is split.test else "validation"))
        return original(model, split, log, ks, seed)

    monkeypatch.setattr(rating, "_rows", spy)
    result = rating.evaluate_ratings(
        tastes, {"user_knn": lambda alpha: UserKNN(feedback="ratings", alpha=alpha, encoder=HashEncoder())}, ks=(5,)
    )
    chosen = result["models"][1]["alpha"]
    assert asked == [(1.0, "test"), *((alpha, "validation") for alpha in rating.ALPHAS), (chosen, "test")]


def test_without_alphas_only_the_plain_form_is_tested(tastes):
    result = rating.evaluate_ratings(
        tastes, {"item_knn": lambda alpha: ItemKNN(feedback="ratings", alpha=alpha)}, alphas=()
    )
    [plain] = result["models"]
    assert [row["neighbours"] for row in plain["rows"]] == [5, 10, 15, 20, 25, 30]


def test_what_cannot_be_split_is_refused(tastes):
    with pytest.raises(DataError, match="no value"):
        rating.split_ratings(Dataset.from_frames(pl.DataFrame({"user_id": ["a"], "item_id": ["x"]})))
    short = Dataset.from_frames(pl.DataFrame({"user_id": ["a"], "item_id": ["x"], "rating": [1.0]}))
    with pytest.raises(DataError, match="no user has 10 ratings"):
        rating.split_ratings(short)
