"""Synthetic interactions are marked, join training, and are never a target, never in a history that is asked about."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from tastemaker import evaluate, guards
from tastemaker.data import Dataset, readers
from tastemaker.data.dataset import PROVENANCE
from tastemaker.data.splits import SPLITS, leave_one_out
from tastemaker.data.synthetic import behind, synthetic_rows, train_digest
from tastemaker.data.writers.canonical import write
from tastemaker.errors import DataError
from tastemaker.metrics import Catalogue
from tastemaker.models.collaborative.als import ALS
from tastemaker.models.collaborative.bpr import BPR
from tastemaker.models.collaborative.ease import EASE
from tastemaker.models.collaborative.lightgcn import LightGCN
from tastemaker.models.collaborative.popular import Popular
from tastemaker.models.collaborative.transitions import Transitions
from tastemaker.models.sequential.bert4rec import BERT4Rec
from tastemaker.models.sequential.sasrec import SASRec
from tastemaker.pipeline import Pipeline, Stage
from tastemaker.testing import HashEncoder, tiny_shop


def with_rows(shop, train, users, items):
    said = f"test, train={train_digest(train)}"
    rows = synthetic_rows(train, np.array(users, np.int32), np.array(items, np.int32), [said] * len(users))
    return behind(shop, rows)


def pairs(log):
    return set(log.select("user", "item").iter_rows())


@pytest.mark.parametrize("name", ["leave-one-out", "temporal", "user-cold", "item-cold"])
def test_every_split_sets_them_aside(name):
    shop = tiny_shop(users=120)
    plain = SPLITS[name](shop, seed=0)
    user = int(plain.train.log["user"][0])
    augmented = with_rows(shop, plain.train, [user, user], [38, 39])
    split = SPLITS[name](augmented, seed=0)
    assert split.train.log.height == plain.train.log.height + 2
    assert split.refit.log.height == plain.refit.log.height + 2
    assert split.train.synthetic().sum() == 2
    for part in ("validation", "test"):
        old, new = getattr(plain, part), getattr(split, part)
        for what in ("queries", "targets"):
            np.testing.assert_array_equal(getattr(old, what).items, getattr(new, what).items)
            np.testing.assert_array_equal(getattr(old, what).offsets, getattr(new, what).offsets)
    assert split.protocol["synthetic_interactions_in_training"] == 2
    assert split.protocol["data_fingerprint"] == augmented.fingerprint != shop.fingerprint
    assert plain.train.fingerprint == split.train.real().fingerprint
    history = split.train.queries().history(user)
    assert history[-2:].tolist() == [38, 39], "they stand behind the shopper's own"


def test_rows_that_were_proposed_from_another_part_are_refused():
    shop = tiny_shop(users=120)
    whole = with_rows(shop, shop, [0], [39])
    with pytest.raises(
        DataError,
        match=r"were not made from the train part .* augment on the same data with --split leave-one-out, by which fit",
    ):
        leave_one_out(whole)
    with pytest.raises(DataError, match=r"with --split temporal$"):
        SPLITS["temporal"](with_rows(shop, leave_one_out(shop).train, [0], [39]))


def test_a_proposal_that_comes_true_is_no_leak_and_counts_as_no_purchase():
    """The very test target is proposed: training may know it, leak tests and measures look at real rows."""
    shop = tiny_shop(users=120)
    plain = leave_one_out(shop)
    users, items = plain.test.who()[:5], plain.test.targets.items[:5]
    split = leave_one_out(with_rows(shop, plain.train, users, items))
    guards.check_split(split)
    np.testing.assert_array_equal(split.train.popularity, plain.train.popularity)
    np.testing.assert_array_equal(Catalogue.of(split.train).buyers, Catalogue.of(plain.train).buyers)
    result = evaluate.evaluate(Pipeline([Stage(Transitions())], fallback=Popular()), split)
    assert result.protocol["synthetic_interactions_in_training"] == 5


def test_models_learn_from_them():
    shop = tiny_shop(users=120)
    plain = leave_one_out(shop)
    assert plain.train.popularity[39] == 0
    newest = {int(user): int(history[-1]) for user, history in enumerate(plain.train.queries()) if len(history)}
    users = list(newest)[:30]
    split = leave_one_out(with_rows(shop, plain.train, users, [39] * 30))
    asked = plain.validation.queries
    before, after = (Transitions().fit(one.train).score(asked)[:, 39] for one in (plain, split))
    assert np.isneginf(before).all()
    assert np.isfinite(after).any()


SMALL = {"dim": 8, "epochs": 2, "patience": 0}


@pytest.mark.parametrize(
    "make",
    [
        lambda: SASRec(inputs="id", **SMALL),
        lambda: SASRec(inputs="both", encoder=HashEncoder(), **SMALL),
        lambda: BERT4Rec(inputs="both", encoder=HashEncoder(), **SMALL),
        lambda: LightGCN(inputs="both", encoder=HashEncoder(), **SMALL),
        lambda: EASE(),
        lambda: ALS(),
        lambda: BPR(),
    ],
    ids=["sasrec-id", "sasrec-both", "bert4rec-both", "lightgcn-both", "ease", "als", "bpr"],
)
def test_what_is_only_proposed_is_learnt_and_can_be_ranked(make):
    """The last product, which nobody bought: its number is beyond those of all products with a real purchase."""
    shop = tiny_shop()
    last, users = shop.n_items - 1, list(range(6))
    augmented = with_rows(shop, shop, users, [last] * len(users))
    assert augmented.popularity[last] == 0
    assert augmented.bought.tolist() == [bool(n) for n in np.bincount(augmented.log["item"], minlength=shop.n_items)]
    scores = make().fit(augmented).score(shop.queries())
    assert np.isfinite(scores[:, last]).any()


@pytest.mark.parametrize("model", [SASRec, LightGCN])
def test_a_proposed_product_is_a_target_of_its_own(model, monkeypatch):
    """Targets are told to the loss as places among the products that compete: each has to find itself there."""
    found = []
    search = torch.searchsorted

    def checked(rivals, wanted, **settings):
        places = search(rivals, wanted, **settings)
        found.append(bool((rivals[places.clamp(max=len(rivals) - 1)] == wanted).all()))
        return places

    monkeypatch.setattr(torch, "searchsorted", checked)
    shop = tiny_shop()
    augmented = with_rows(shop, shop, [0, 1, 2], [38, 38, 39])
    model(inputs="both", encoder=HashEncoder(), **SMALL).fit(augmented)
    assert found
    assert all(found)


def test_they_survive_a_folder_and_a_shops_own_column_is_its_own(tmp_path):
    shop = tiny_shop()
    augmented = with_rows(shop, leave_one_out(shop).train, [0, 3], [39, 38])
    write(augmented, tmp_path / "shop", beside={"augmentation.json": b"{}", "provenance.parquet": b""})
    back, _ = readers.read(tmp_path / "shop")
    assert pairs(back.log.filter(back.synthetic())) == pairs(augmented.log.filter(augmented.synthetic()))
    assert leave_one_out(back).train.synthetic().sum() == 2
    write(augmented, tmp_path / "shop", overwrite=True)
    own = shop.with_log(shop.log.with_columns(pl.lit("web").alias(PROVENANCE)))
    assert not own.synthetic().any()
    assert own.real() is own
    assert leave_one_out(own).train.log[PROVENANCE].to_list()[0] == "web"


def test_without_any_nothing_changes():
    shop = tiny_shop()
    assert shop.real() is shop
    assert not shop.synthetic().any()
    assert isinstance(shop.real(), Dataset)
