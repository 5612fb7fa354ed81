"""Two towers in another shop, over joined shops, and where training is no help."""

from __future__ import annotations

import numpy as np
import pytest

from tastemaker.data.dataset import Dataset
from tastemaker.data.entities import Entities
from tastemaker.data.join import join
from tastemaker.data.queries import Queries
from tastemaker.data.splits import Holdout
from tastemaker.errors import DataError
from tastemaker.recommender import Aids
from tastemaker.testing import HashEncoder, tiny_shop

pytest.importorskip("sentence_transformers", reason="needs the extra 'text'")

from printer_shop import KINDS, MAKERS, QUICK, as_entities, kinds_listed

from tastemaker.encoders.transformer import TransformerEncoder
from tastemaker.models.content.text_knn import TextKNN
from tastemaker.models.content.two_tower import TwoTower
from tastemaker.models.parts.texts.text_pairs import steps, titles_of


@pytest.mark.parametrize("tuned_layers", [0, 2])
def test_another_catalogue_is_ranked_by_what_was_learnt(folder, shop, tuned_layers):
    settings = {**QUICK, "tuned_layers": tuned_layers, "text_transform": "none"}
    model = TwoTower(encoder=TransformerEncoder(folder=folder), transfer_strength=1.0, **settings).fit(shop)
    before = model.vectors
    model.transfer(as_entities(["echo", "fine"]))
    assert len(model.items) == 12
    assert "paper" in kinds_listed(model, "printer-fine", k=2)
    model.transfer(shop.items)
    np.testing.assert_allclose(model.vectors, before, atol=1e-6)
    with pytest.raises(DataError, match="no item has a title"):
        model.transfer(Entities.from_ids(["a", "b"]))
    assert model.items is shop.items
    np.testing.assert_allclose(model.vectors, before, atol=1e-6)


@pytest.mark.parametrize("tuned_layers", [0, 2])
def test_without_strength_another_shop_is_ranked_as_if_nothing_had_been_learnt(folder, shop, tuned_layers):
    encoder = TransformerEncoder(folder=folder)
    settings = {**QUICK, "tuned_layers": tuned_layers, "text_transform": "none"}
    model = TwoTower(encoder=encoder, transfer_strength=0.0, **settings).fit(shop)
    items = as_entities([*MAKERS, "number"])
    model.transfer(items)
    other = Dataset(shop.users, items, shop.log)
    histories = other.queries().take(slice(0, 50))
    knn = TextKNN(encoder=encoder).fit(other)
    seen_once = Queries.from_lists([list(dict.fromkeys(history[::-1]))[::-1] for history in histories])
    np.testing.assert_allclose(model.score(seen_once), knn.score(seen_once), atol=1e-5)


def test_strength_moves_the_maps_from_the_beginning_to_what_was_learnt_and_a_second_move_takes_nothing(shop):
    def moved(strength, times=1):
        model = TwoTower(encoder=HashEncoder(), transfer_strength=strength, **QUICK).fit(shop)
        for number in range(times):
            model.transfer(as_entities(MAKERS[number:]))
        return model

    none, half, all_ = (moved(strength)._maps for strength in (0.0, 0.5, 1.0))
    np.testing.assert_array_equal(none.weight, np.eye(64, dtype=np.float32))
    np.testing.assert_allclose(half.onward, (none.onward + all_.onward) / 2, atol=1e-6)
    np.testing.assert_allclose(half.ages, np.sqrt(none.ages * all_.ages), rtol=1e-5)
    assert np.abs(all_.weight - none.weight).max() > 0.01
    np.testing.assert_array_equal(moved(0.5, times=2)._maps.weight, half.weight)


def test_shops_are_whitened_each_by_itself_and_told_apart_in_no_step():
    shops = {name: tiny_shop(users=40, seed=seed) for name, seed in (("a", 1), ("b", 2))}
    both = join(shops)
    model = TwoTower(encoder=HashEncoder(), epochs=1, learning_rate=1e-12, batch_size=8).fit(both)
    alone = [TwoTower(encoder=HashEncoder(), epochs=1, learning_rate=1e-12).fit(shop) for shop in shops.values()]
    np.testing.assert_allclose(model.vectors, np.concatenate([one.vectors for one in alone]), atol=1e-5)
    titles = titles_of(both.items, model="x")
    assert titles.shops.tolist() == sorted(titles.shops) and set(titles.shops) == {0, 1}
    histories = titles.asked(both.queries())
    made = list(
        steps(
            histories,
            titles.shops,
            size=16,
            most=10**6,
            max_length=5,
            negatives=1000,
            refreshed=4,
            rng=np.random.default_rng(0),
        )
    )
    assert all(len(set(titles.shops[step.texts])) == 1 for step in made)
    assert sum(len(step.targets) for step in made) == int((histories.lengths - 1).clip(min=0).sum())
    assert {titles.shops[step.texts[0]] for step in made} == {0, 1}
    turned = {shop: set() for shop in (0, 1)}
    for step in made:
        turned[titles.shops[step.texts[0]]].update(step.refreshed.tolist())
    assert turned[0] | turned[1] == set(histories.items.tolist())


def test_whitening_makes_unlearnt_vectors_even_and_is_learnt_from_no_purchase(shop):
    model = TwoTower(encoder=HashEncoder(), epochs=1, learning_rate=1e-12, text_shrinkage=0.01).fit(shop)
    vectors = HashEncoder().encode(titles_of(shop.items, model="x").texts, kind="document")
    centred = vectors - vectors.mean(axis=0)
    variances, axes = np.linalg.eigh(centred.T.astype(np.float64) @ centred / len(centred))
    shrunk = 0.99 * variances + 0.01 * variances.mean()
    white = centred @ axes / np.sqrt(shrunk) @ axes.T
    expected = white / np.linalg.norm(white, axis=1, keepdims=True)
    np.testing.assert_allclose(model.vectors, expected, atol=1e-4)


def test_training_that_is_no_help_on_validation_changes_nothing(shop):
    """Shoppers are asked for the same kind again, which texts say already, and training says the next kind."""
    printers, papers = ([KINDS.index(kind) * len(MAKERS) + at for at in range(5)] for kind in ("printer", "tea"))
    histories = [[item] for items in (printers, papers) for item in items]
    targets = [[items[at - 1]] for items in (printers, papers) for at in range(5)]
    aids = Aids(validation=Holdout(Queries.from_lists(histories), Queries.from_lists(targets)))
    model = TwoTower(encoder=HashEncoder(), **QUICK).fit(shop, aids=aids)
    said = model.report()
    assert said["judged_at_start"] > max(entry["ndcg@10"] for entry in said["learning_curve"])
    assert said["best_epoch"] == 0
    np.testing.assert_array_equal(model._maps.weight, np.eye(64, dtype=np.float32))
    model.fit(shop, aids=Aids(keep_choices=True))
    assert model.report()["learning_curve"] == []
    np.testing.assert_array_equal(model._maps.weight, np.eye(64, dtype=np.float32))
