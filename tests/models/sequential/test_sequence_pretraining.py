"""Pre-training of sequence models: two phases in one fit, both resumed, and off unless it is asked for."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tastemaker import registry
from tastemaker.data import Dataset, Queries
from tastemaker.data.join import join
from tastemaker.errors import ConfigError
from tastemaker.recommender import Aids
from tastemaker.testing import HashEncoder, tiny_shop

pytest.importorskip("torch", reason="needs the extra 'neural'")

SMALL = {"dim": 16, "layers": 1, "dropout": 0.1, "batch_size": 16, "learning_rate": 0.01}
EVERYTHING = ["masked", "next_k", "views", "sequence_item", "sequence_sequence"]
MODELS = ["sasrec", "bert4rec", "bsarec", "gru4rec", "hstu"]


@pytest.mark.parametrize("name", MODELS)
def test_every_sequence_model_has_both_phases(name):
    data, heard = tiny_shop(), []
    settings = {**SMALL, "pretrain": EVERYTHING, "pretrain_epochs": 3, "epochs": 2}
    aids = Aids(on_epoch=lambda part, entry: heard.append(part))
    model = registry.model_class(name)(**settings).fit(data, aids=aids)
    assert heard == [f"{name}.pretraining"] * 3 + [name] * 2
    assert [entry["epoch"] for entry in model.report()["pretraining"]] == [1, 2, 3]
    assert "seconds" not in model.report()["pretraining"][0]
    plain = registry.model_class(name)(**SMALL, epochs=2).fit(data)
    assert "pretraining" not in plain.report()
    assert (model.arrays()["table"] != plain.arrays()["table"]).any()


class Killed(Exception):
    """Stands for a kill between two epochs."""


@pytest.mark.parametrize("phase", ["sasrec.pretraining", "sasrec"])
def test_a_fit_that_is_killed_in_either_phase_goes_on_to_the_same_bits(phase, tmp_path):
    data = tiny_shop()
    settings = {**SMALL, "pretrain": ["masked", "views"], "pretrain_epochs": 3, "epochs": 3}

    def kill(part, entry):
        if part == phase and entry["epoch"] == 2:
            raise Killed

    whole = registry.model_class("sasrec")(**settings).fit(data, seed=1)
    with pytest.raises(Killed):
        registry.model_class("sasrec")(**settings).fit(data, aids=Aids(folder=tmp_path, on_epoch=kill), seed=1)
    resumed = registry.model_class("sasrec")(**settings).fit(data, aids=Aids(folder=tmp_path), seed=1)
    for name, array in whole.arrays().items():
        assert array.tobytes() == resumed.arrays()[name].tobytes(), name


def test_what_is_masked_is_learnt_before_the_next_purchase_is():
    """Shoppers buy pairs; after pre-training a product's partner is near it, which one epoch does not give."""
    rng = np.random.default_rng(0)
    rows = [
        (f"u{user}", f"p{number:02}")
        for user in range(60)
        for pair in rng.choice(6, size=2, replace=False).tolist()
        for number in rng.permutation([2 * pair, 2 * pair + 1]).tolist()
    ]
    data = Dataset.from_frames(pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row"))
    asked = Queries.from_lists([[item] for item in range(12)])
    places = {}
    for pretrain in ([], ["masked"]):
        settings = {**SMALL, "batch_size": 64, "pretrain": pretrain, "pretrain_epochs": 80, "epochs": 1}
        model = registry.model_class("sasrec")(**settings, start="random").fit(data)
        ranking = model.rank(asked, 11).items
        partner = np.arange(12)[:, None] ^ 1
        places[bool(pretrain)] = (ranking == partner).argmax(axis=1).mean()
    assert places[True] < 1
    assert places[False] > 1.5


def test_joined_shops_pretrain_what_a_third_is_ranked_by():
    shops = join({"one": tiny_shop(seed=1), "two": tiny_shop(seed=2)})
    settings = {"inputs": "text", "pretrain": ["sequence_item", "sequence_sequence"], "pretrain_epochs": 2, "epochs": 1}
    model = registry.model_class("sasrec")(encoder=HashEncoder(), **settings, **SMALL).fit(shops)
    third = tiny_shop(seed=3)
    model.transfer(third.items)
    ranking = model.rank(third.queries(), 5)
    assert (ranking.items[:, 0] >= 0).all()
    assert ranking.items.max() < third.n_items


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(ConfigError, match="pretrain cuts histories; max_length must be at least 2"):
        registry.model_class("sasrec")(pretrain=["views"], max_length=1)
    with pytest.raises(ConfigError, match="pretrain"):
        registry.model_class("sasrec")(pretrain=["viws"])
