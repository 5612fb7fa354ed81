"""Models over item identifiers: lists against enumeration, nothing invented, products that come later, resumed fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from tastemaker import registry
from tastemaker.abilities import Traceable, Transferable
from tastemaker.data import Dataset, Queries
from tastemaker.data.entities import Entities
from tastemaker.data.ranking import Ranking
from tastemaker.data.splits import leave_one_out
from tastemaker.errors import ConfigError, DataError
from tastemaker.neural.batches import batch_of
from tastemaker.neural.code_decoder import sees_until
from tastemaker.neural.indexing import beam
from tastemaker.recommender import Aids
from tastemaker.testing import HashEncoder, tiny_shop

NEXT = {"tent": "stove", "stove": "lamp", "lamp": "tent"}
COLOURS = ["red", "green", "blue", "black", "white", "brown"]
SMALL = {
    "tiger": {"dim": 16, "layers": 1, "heads": 2, "levels": 2, "codes": 8, "dropout": 0.1, "batch_size": 16},
    "rpg": {"dim": 16, "layers": 1, "levels": 4, "codes": 8, "dropout": 0.1, "batch_size": 16, "temperature": 0.2},
}
MODELS = ["tiger", "rpg"]


def camping(*, users=80, seed=0, more=()) -> Dataset:
    """A shop in which a tent is followed by a stove, a stove by a lamp, a lamp by a tent; `more` nobody bought."""
    rng = np.random.default_rng(seed)
    titles = [(f"{kind}-{colour}", f"{colour} {kind}") for kind in NEXT for colour in COLOURS] + list(more)
    rows = []
    for user in range(users):
        kind = str(rng.choice(list(NEXT)))
        for _ in range(5):
            rows.append((f"u{user}", f"{kind}-{rng.choice(COLOURS)}"))
            kind = NEXT[kind]
    log = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")
    return Dataset.from_frames(log, pl.DataFrame(titles, schema=["item_id", "title"], orient="row"))


def make(name, **settings):
    return registry.model_class(name)(
        encoder=HashEncoder(), **{"epochs": 20, "learning_rate": 0.01, **SMALL[name], **settings}
    )


def history(data: Dataset, *ids: str) -> Queries:
    return Queries.from_lists([data.items.numbers(list(ids))])


def kinds(data, ranking):
    return [data.items.frame["id"][int(item)].split("-")[0] for item in ranking.items[0] if item >= 0]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("tiger", {}),
        ("tiger", {"reads": "codes"}),
        ("tiger", {"scheme": "collaborative"}),
        ("tiger", {"scheme": "text", "codes": 16, "levels": 2}),
        ("tiger", {"scheme": "random", "epochs": 40}),
        ("rpg", {}),
        ("rpg", {"item_loss": 1.0}),
        ("rpg", {"item_loss": 0.5, "own": True}),
        ("rpg", {"scheme": "residual", "collisions": "suffix", "levels": 2}),
        ("rpg", {"source": "text", "start": "random", "epochs": 40}),
    ],
)
def test_the_order_of_purchases_is_learnt(name, settings):
    data = camping()
    model = make(name, **settings).fit(data)
    ranking = model.rank(history(data, "lamp-red", "tent-green"), 5)
    assert kinds(data, ranking)[:4].count("stove") >= 3


@pytest.mark.parametrize("name", MODELS)
def test_a_product_that_nobody_bought_is_reached_by_its_text(name):
    data = camping(more=[("stove-new", "red stove"), ("kite-new", "kite")])
    more = {"codes": 32, "smoothing": 0.1} if name == "tiger" else {}
    model = make(name, source="text", **more).fit(data)
    items = model.rank(history(data, "lamp-red", "tent-green"), 20).items[0].tolist()
    new, other = data.items.numbers(["stove-new", "kite-new"]).tolist()
    assert items.index(new) < 9
    assert items.index(new) < items.index(other)


@pytest.mark.parametrize("scheme", ["random", "sequential", "collaborative"])
def test_schemes_without_texts_leave_unsold_products_out(scheme):
    data = camping(more=[("stove-new", "red stove")])
    model = make("tiger", scheme=scheme, epochs=2).fit(data)
    assert not model.ranks_cold_items
    assert data.items.numbers(["stove-new"])[0] not in model.rank(history(data, "lamp-red"), 30).items
    with pytest.raises(ConfigError, match=f'tiger: scheme = "{scheme}" says nothing of new products'):
        model.transfer(data.items)


# tiger


def test_a_wide_beam_gives_the_exact_list():
    """Against the likelihood of every product's codes, one product at a time through the whole network."""
    data = tiny_shop()
    model = make("tiger", epochs=2, beams=64, smoothing=0.0).fit(data)
    network, ids = model._network, model.ids
    asked = Queries.from_lists([[3, 9, 4], [7]])
    ranking = model.rank(asked, data.n_items, seen=True)
    for row in range(2):
        batch = batch_of(asked, np.array([row]), 20)
        exact = {}
        with torch.inference_mode():
            memory = network.encode(batch)
            for item in np.flatnonzero(model._rankable):
                codes = torch.from_numpy(ids.codes[[item]].astype(np.int64))
                total = 0.0
                for level in range(ids.levels):
                    states = network.states(codes[:, None, :level], memory, batch.real[:, None])
                    total += network.logits(states[0, 0, -1], level).log_softmax(0)[codes[0, level]].item()
                exact[int(item)] = total
        found = [item for item in ranking.items[row].tolist() if item >= 0]
        assert set(found) == set(exact)
        np.testing.assert_allclose(ranking.scores[row, : len(found)], [exact[item] for item in found], rtol=1e-4)


def test_candidates_have_the_scores_of_the_exact_list():
    data = tiny_shop()
    model = make("tiger", epochs=2, beams=64).fit(data)
    asked = data.queries().take(slice(0, 8))
    whole = model.rank(asked, 30)
    offered = Ranking(whole.items[:, ::-3].copy(), np.tile(-np.arange(10, dtype=np.float32), (8, 1)))
    ranked = model.rank(asked, 10, candidates=offered)
    for row in range(8):
        known = dict(zip(whole.items[row].tolist(), whole.scores[row].tolist(), strict=True))
        for item, score in zip(ranked.items[row].tolist(), ranked.scores[row].tolist(), strict=True):
            if item >= 0:
                assert score == pytest.approx(known[item], rel=1e-4)


def test_a_narrow_beam_lists_k_products_and_none_invented():
    data = tiny_shop()
    model = make("tiger", epochs=2, beams=1).fit(data)
    ranking = model.rank(data.queries(), 6)
    assert ((ranking.items >= 0).sum(axis=1) >= 5).mean() > 0.8
    assert ranking.items.max() < data.n_items


def test_a_history_that_fills_the_beam_leaves_k_products_and_lists_do_not_depend_on_the_batch():
    data = tiny_shop()
    model = make("tiger", epochs=2, beams=2, codes=32).fit(data)
    rng = np.random.default_rng(0)
    bought = np.flatnonzero(data.popularity)
    asked = Queries.from_lists(
        [rng.permutation(bought)[:size] for size in (1, 2, 9, 17, len(bought) - 3)] + [[3, 3, 3]]
    )
    ranking = model.rank(asked, 3)
    assert (ranking.items >= 0).all()
    for row in range(len(asked)):
        assert not set(ranking.items[row].tolist()) & set(asked.history(row).tolist())
        np.testing.assert_array_equal(model.rank(asked.take([row]), 3).items[0], ranking.items[row])


def test_a_beam_is_wider_by_the_different_products_of_a_history():
    asked = Queries.from_lists([[], [4], [4, 4, 4], [1, 2, 3], list(range(17)), [5] * 90])
    assert beam.widths(asked, 6, 4).tolist() == [6, 6, 6, 8, 36, 6]
    assert beam.widths(Queries.from_lists([[]]), 6, 4).tolist() == [6]


def test_decoding_without_the_trie_leaves_the_catalogue_and_the_report_says_so():
    said = make("tiger", epochs=1).fit(tiny_shop()).report()
    assert said["invalid_rate"]["with_trie"] == 0
    assert said["invalid_rate"]["without_trie"] > 0.1
    assert said["invalid_rate"]["tuples"] == 10 * said["invalid_rate"]["histories"]


@pytest.mark.parametrize("reads", ["items", "codes"])
def test_no_forecast_looks_ahead(reads):
    """What is forecast after the first items does not depend on the items after them."""
    model = make("tiger", epochs=1, reads=reads).fit(tiny_shop())
    network = model._network
    found = []
    for last in (5, 6):
        batch = batch_of(Queries.from_lists([[3, 9, 4, last]]), np.array([0]), 20)
        with torch.inference_mode():
            visible = sees_until(4, network.each, device=torch.device("cpu"))[None]
            found.append(network.states(torch.ones(1, 4, 2, dtype=torch.int64), network.encode(batch), visible))
    torch.testing.assert_close(found[0][:, :3], found[1][:, :3])
    assert not torch.allclose(found[0][:, 3], found[1][:, 3])


def test_shoppers_have_a_vector_only_if_asked_for():
    data = camping()
    plain, told = make("tiger", epochs=2).fit(data), make("tiger", epochs=4, user_tokens=7).fit(data)
    asked = data.queries().take([3])
    stranger = replace(asked, users=np.array([-1], dtype=np.int32))
    for model, same in ((plain, True), (told, False)):
        lists = [model.rank(one, 5).scores for one in (asked, stranger)]
        assert np.allclose(*lists) == same


# rpg


def test_scores_are_the_sum_of_the_log_probabilities_of_all_codes():
    data = tiny_shop()
    model = make("rpg", epochs=2).fit(data)
    network = model._network
    asked = Queries.from_lists([[3, 9, 4]])
    batch = batch_of(asked, np.array([0]), 50)
    with torch.inference_mode():
        state = network(network.items(), batch)[batch.last]
        turned = torch.nn.functional.silu(network.heads(state)).view(4, 16)
        for item in (5, 11):
            total = 0.0
            for level in range(4):
                book = network.tokens.weight[8 * level : 8 * (level + 1)]
                cosines = torch.nn.functional.cosine_similarity(state + turned[level], book)
                total += (cosines / 0.2).log_softmax(0)[model.ids.codes[item, level]].item()
            assert model.score(asked)[0, item] == pytest.approx(total, rel=1e-4)


def test_an_unsold_product_has_no_vector_of_its_own():
    data = camping(more=[("stove-new", "red stove")])
    model = make("rpg", epochs=2, own=True).fit(data)
    number = int(data.items.numbers(["stove-new"])[0])
    network = model._network
    with torch.inference_mode():
        read = network.tokens(network.numbers[number]).mean(dim=0)
        torch.testing.assert_close(network.items()[number], read)


def test_own_vectors_follow_their_products_to_another_catalogue():
    data = camping()
    model = make("rpg", source="text", own=True).fit(data)
    old, before = data.items, model.score(history(data, "lamp-red", "tent-green"))[0]
    grown = Entities(old.extend(pl.DataFrame({"id": ["kite-new"], "title": ["kite"]})).frame.reverse())
    model.transfer(grown)
    after = model.score(Queries.from_lists([grown.numbers(["lamp-red", "tent-green"])]))[0]
    np.testing.assert_allclose(after[grown.numbers(old.frame["id"].to_list())], before, rtol=1e-5)
    assert not model._network.own.weight[int(grown.numbers(["kite-new"])[0])].any()
    again = make("rpg", source="text", own=True).attach(grown, model.arrays())
    assert again.score(Queries.from_lists([[3]])).tobytes() == model.score(Queries.from_lists([[3]])).tobytes()


# Both


@pytest.mark.parametrize("name", MODELS)
def test_a_transfer_that_fails_leaves_the_model_as_it_was(name, monkeypatch):
    data = camping()
    settings = {"own": True} if name == "rpg" else {}
    model = make(name, source="text", epochs=2, **settings).fit(data)
    asked, before = history(data, "lamp-red"), model.arrays()
    ranked = model.rank(asked, 5)
    original = type(model)._read_codes

    def broken(self):
        original(self)
        raise RuntimeError("no memory")

    monkeypatch.setattr(type(model), "_read_codes", broken)
    with pytest.raises(RuntimeError, match="no memory"):
        model.transfer(Entities(data.items.extend(pl.DataFrame({"id": ["x"], "title": ["kite"]})).frame.reverse()))
    assert model.items is data.items
    for key, array in model.arrays().items():
        assert array.tobytes() == before[key].tobytes(), key
    assert model.rank(asked, 5).scores.tobytes() == ranked.scores.tobytes()


@pytest.mark.parametrize("name", MODELS)
def test_new_products_join_a_fitted_model(name):
    data = camping()
    more = {"smoothing": 0.1} if name == "tiger" else {}
    model = make(name, source="text", text_transform="none", **more).fit(data)
    assert isinstance(model, Transferable)
    before = model.ids.codes.copy()
    known = model.rank(history(data, "lamp-red", "tent-green"), 6)
    more = pl.DataFrame({"id": ["stove-new", "lamp-new"], "title": ["pink stove", "pink lamp"]})
    grown = data.items.extend(more)
    model.transfer(grown)
    assert (model.ids.codes[: len(before)] == before).all()
    assert model.report()["staleness"]["new_items"] == 2
    asked = Queries.from_lists([grown.numbers(["lamp-red", "tent-green"])])
    listed = model.rank(asked, 20)
    places = [listed.items[0].tolist().index(number) for number in grown.numbers(["stove-new", "lamp-new"])]
    assert places[0] < places[1]
    stays = [item for item in listed.items[0].tolist() if 0 <= item < len(before)]
    assert stays[:4] == known.items[0, :4].tolist()


@pytest.mark.parametrize("name", MODELS)
def test_identifiers_come_from_training_data_alone(name):
    split = leave_one_out(camping())
    model = make(name, epochs=1).fit(split.train)
    assert isinstance(model, Traceable)
    users, items = model.learnt_from()["identifiers"]
    assert len(users) == len(items) == len(split.train)
    assert make(name, epochs=1, source="text").fit(split.train).learnt_from() == {}


@pytest.mark.parametrize("name", MODELS)
def test_validation_ends_training(name):
    split = leave_one_out(camping())
    model = make(name, epochs=12, patience=2)
    model.fit(split.train, aids=Aids(validation=split.validation))
    best = model.report()["best_epoch"]
    assert "ndcg@10" in model.report()["learning_curve"][0]
    model.fit(split.train, aids=Aids(keep_choices=True))
    assert len(model.report()["learning_curve"]) == best


class Killed(Exception):
    """Stands for a kill between two epochs."""


@pytest.mark.parametrize("name", MODELS)
def test_a_killed_fit_goes_on_to_the_same_bits(name, tmp_path):
    split = leave_one_out(camping(users=60))

    def listen(part, entry):
        if entry["epoch"] == 2:
            raise Killed

    aids = Aids(validation=split.validation)
    whole = make(name, epochs=4).fit(split.train, aids=aids, seed=2)
    with pytest.raises(Killed):
        make(name, epochs=4).fit(split.train, aids=replace(aids, folder=tmp_path, on_epoch=listen), seed=2)
    again = make(name, epochs=4).fit(split.train, aids=replace(aids, folder=tmp_path), seed=2)
    for key, array in whole.arrays().items():
        assert array.tobytes() == again.arrays()[key].tobytes(), key


@pytest.mark.parametrize("name", MODELS)
def test_one_purchase_each_is_nothing_to_learn_from(name):
    log = pl.DataFrame({"user_id": list("abc"), "item_id": list("xyz")})
    with pytest.raises(DataError, match=f"{name}: no shopper has 2 purchases in the training part"):
        make(name).fit(Dataset.from_frames(log))


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(
        ConfigError, match='"product" with source = "both" gives codes to each: levels must be at least 2'
    ):
        make("rpg", levels=1, scheme="product")
    with pytest.raises(ConfigError, match='collisions = "nearest" finds no free codes'):
        make("tiger", scheme="collaborative", collisions="nearest")
    with pytest.raises(ConfigError, match="a trie"):
        make("tiger", collisions="allow")


@pytest.mark.parametrize("name", MODELS)
def test_a_shop_without_texts_is_told_how_it_gets_identifiers(name):
    shop = Dataset.from_frames(camping().log.select(user_id="user", item_id="item"))
    with pytest.raises(DataError, match=rf'{name}: no item has a title .* with source = "cooccurrence"'):
        make(name).fit(shop)
    ranking = make(name, source="cooccurrence", epochs=2).fit(shop).rank(shop.queries().take([0]), 3)
    assert (ranking.items >= 0).all()


@pytest.mark.parametrize("name", MODELS)
def test_all_of_a_long_history_is_learnt_from(name):
    """The pairs stand in the old part of the histories, which no state reads that forecasts the newest purchase."""
    rng, rows = np.random.default_rng(0), []
    for user in range(12):
        early = [pair for _ in range(12) for pair in rng.permutation([[0, 1], [2, 3], [4, 5]]).tolist()]
        late = [[item] for item in rng.integers(6, 12, 8).tolist()]
        rows += [(f"u{user}", f"p{item:02}") for pair in [*early, *late] for item in pair]
    shop = Dataset.from_frames(pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row"))
    settings = {"source": "cooccurrence", "start": "random", "max_length": 6}
    lists = make(name, **settings).fit(shop).rank(Queries.from_lists([[3, 0], [5, 2], [1, 4]]), 1, seen=True)
    assert lists.items[:, 0].tolist() == [1, 3, 5]
