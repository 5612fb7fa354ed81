"""Sequence models that read texts: another shop, learning on, a wish in words, and what is known of shoppers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tastemaker.abilities import Transferable, Tunable
from tastemaker.data import Dataset, Entities, Queries
from tastemaker.data.splits import Holdout
from tastemaker.encoders.tfidf import TfidfEncoder
from tastemaker.errors import ConfigError, DataError, NotFitted, TrainingFailed
from tastemaker.models.sequential.bert4rec import BERT4Rec
from tastemaker.models.sequential.bsarec import BSARec
from tastemaker.models.sequential.sasrec import SASRec
from tastemaker.recommender import Aids
from tastemaker.testing import HashEncoder, tiny_shop

COLOURS = ["red", "green", "blue", "black", "white", "brown"]
NEXT = {"tent": "stove", "stove": "lamp", "lamp": "tent"}
SMALL = {"dim": 16, "layers": 1, "dropout": 0.1, "batch_size": 16, "learning_rate": 0.01, "epochs": 25}
SMALL["text_transform"] = "none"  # 18 texts are too few to tell a shop's own words from those of kinds


def camping(shop: str, *, users=120, seed=0, colours=COLOURS) -> Dataset:
    """A shop in which a tent is followed by a stove, a stove by a lamp, a lamp by a tent, of any colour."""
    rng = np.random.default_rng(seed)
    items = pl.DataFrame(
        [(f"{shop}-{kind}-{colour}", f"{colour} {kind} of {shop}") for kind in NEXT for colour in colours],
        schema=["item_id", "title"],
        orient="row",
    )
    rows = []
    for user in range(users):
        kind = str(rng.choice(list(NEXT)))
        for _ in range(5):
            rows.append((f"{shop}-u{user}", f"{shop}-{kind}-{rng.choice(colours)}"))
            kind = NEXT[kind]
    return Dataset.from_frames(pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row"), items)


def kinds(model, ranking):
    titles = model.items.frame["title"]
    return [[titles[int(item)].split()[1] for item in row if item >= 0] for row in ranking.items]


def history(data: Dataset, *ids: str) -> Queries:
    return Queries.from_lists([data.items.numbers(list(ids))])


def fitted(kind=SASRec, **settings):
    return kind(encoder=HashEncoder(), **{**SMALL, "inputs": "text", **settings}).fit(camping("alps"))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"inputs": "both", "own_dropout": 0.5, "epochs": 40},
        {"adapter": "experts"},
        {"kind": BERT4Rec, "epochs": 60},
    ],
)
def test_another_shop_is_ranked_by_what_the_first_one_taught(settings):
    model = fitted(**settings)
    other = camping("fjord", seed=1)
    assert isinstance(model, Transferable)
    model.transfer(other.items)
    ranking = model.rank(history(other, "fjord-lamp-red", "fjord-tent-red"), 6)
    assert kinds(model, ranking)[0][:4] == ["stove"] * 4
    assert model.items is other.items


def test_ids_alone_do_not_move():
    model = SASRec(**SMALL).fit(camping("alps"))
    with pytest.raises(ConfigError, match='inputs = "text" or "both"'):
        model.transfer(camping("fjord").items)
    with pytest.raises(NotFitted):
        SASRec(inputs="text").transfer(camping("fjord").items)


def test_a_move_that_fails_changes_nothing():
    model, other = fitted(), camping("fjord")
    before = model.rank(history(camping("alps"), "alps-tent-red"), 5)
    nameless = Entities(other.items.frame.with_columns(title=pl.lit(None, dtype=pl.String)))
    with pytest.raises(DataError, match="no item has a title"):
        model.transfer(nameless)
    after = model.rank(history(camping("alps"), "alps-tent-red"), 5)
    np.testing.assert_array_equal(before.items, after.items)


def test_a_model_taken_back_moves_and_learns_on():
    model, other = fitted(inputs="both"), camping("fjord", seed=2)
    again = SASRec(encoder=HashEncoder(), **{**model.config.model_dump()}).attach(model.items, model.arrays())
    assert isinstance(again, Tunable)
    for one in (model, again):
        one.transfer(other.items)
        one.tune(other, seed=3)
    asked = other.queries()
    np.testing.assert_array_equal(model.rank(asked, 5).items, again.rank(asked, 5).items)
    assert "own" in "".join(again.arrays())


def test_tuning_goes_on_from_what_was_learnt():
    other = camping("fjord", users=6, seed=4)
    model = fitted(epochs=25)
    model.transfer(other.items)
    model.tune(other, seed=0)
    scratch = SASRec(encoder=HashEncoder(), inputs="text", **SMALL).fit(other)
    queries = camping("fjord", seed=9).queries()
    right = {}
    for name, one in (("tuned", model), ("scratch", scratch)):
        newest = [one.items.frame["title"][int(queries.items[end - 1])].split()[1] for end in queries.offsets[1:]]
        lists = kinds(one, one.rank(queries, 3))
        right[name] = np.mean([kind == NEXT[last] for last, row in zip(newest, lists, strict=True) for kind in row])
    assert right["tuned"] > max(0.9, right["scratch"])


@pytest.mark.parametrize("inputs", ["id", "text", "both"])
def test_tuning_that_hardly_moves_keeps_the_lists_of_a_shop(inputs):
    """What was bought before and not in the tuning data keeps its own vector."""
    data = camping("alps")
    model = SASRec(encoder=HashEncoder(), **{**SMALL, "inputs": inputs, "epochs": 3}).fit(data)
    before, bought = model.rank(data.queries(), 9), model.arrays()["bought"]
    model.config = model.config.model_copy(update={"learning_rate": 1e-12})
    few = data.with_log(data.log.filter(pl.col("user") < 3))
    assert (few.popularity == 0).any()
    model.tune(few)
    after = model.rank(data.queries(), 9)
    np.testing.assert_array_equal(after.items, before.items)
    np.testing.assert_array_equal(model.arrays()["bought"], bought)


@pytest.mark.parametrize("failure", ["listener", "loss"])
def test_a_tuning_that_fails_leaves_the_model_as_it_was(failure):
    model, other = fitted(inputs="both", epochs=2), camping("fjord", users=20)
    model.transfer(other.items)
    before = model.arrays()

    def ended(part, entry):
        raise ZeroDivisionError

    aids = Aids(on_epoch=ended if failure == "listener" else None)
    if failure == "loss":
        model.config = model.config.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(ZeroDivisionError if failure == "listener" else TrainingFailed):
        model.tune(other, aids=aids)
    assert model.arrays().keys() == before.keys()
    for name, array in model.arrays().items():
        assert array.tobytes() == before[name].tobytes(), name


def test_a_checkpoint_of_a_fit_is_none_of_a_tuning(tmp_path):
    aids, data = Aids(folder=tmp_path), camping("alps", users=20)
    model = SASRec(encoder=HashEncoder(), **{**SMALL, "inputs": "text", "epochs": 2}).fit(data, aids=aids)
    with pytest.raises(TrainingFailed, match="a checkpoint after 2 epochs of another training"):
        model.tune(data, aids=aids)
    with pytest.raises(TrainingFailed, match="another training"):
        asked = Holdout(Queries.from_lists([[0]]), Queries.from_lists([[1]]))
        model.fit(data, aids=Aids(folder=tmp_path, validation=asked))
    with pytest.raises(TrainingFailed, match="another training"):
        SASRec(encoder=TfidfEncoder(), **model.config.model_dump()).fit(data, aids=aids)


@pytest.mark.parametrize("inputs", ["id", "text", "both"])
def test_of_what_nothing_is_known_no_opinion_is_had(inputs):
    data = tiny_shop()
    unnamed = data.items.frame.with_columns(
        pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.col(column)).alias(column)
        for column in data.items.frame.columns
        if column != "id"
    )
    shop = replace(data, items=Entities(unnamed))
    model = SASRec(encoder=HashEncoder(), **{**SMALL, "inputs": inputs, "epochs": 1}).fit(shop)
    bought, told = shop.popularity > 0, np.arange(shop.n_items) % 2 == 0
    expected = {"id": bought, "text": told, "both": bought | told}[inputs]
    assert not expected.all()
    np.testing.assert_array_equal(np.isfinite(model.score(Queries.from_lists([[0, 2]])))[0], expected)
    listed = model.rank(Queries.from_lists([[0, 2]]), shop.n_items, seen=True).items[0]
    assert set(listed[listed >= 0].tolist()) == set(np.flatnonzero(expected).tolist())


def test_a_wish_of_unknown_words_says_nothing():
    model = SASRec(encoder=TfidfEncoder(), **{**SMALL, "inputs": "text", "epochs": 2}).fit(camping("alps"))
    nothing = Queries(np.array([0, 0, 0]), np.zeros(0, dtype=np.int32), ("qwxyz", "red lamp"), None)
    assert model.rank(nothing, 3).lengths.tolist() == [0, 3]
    plain = history(camping("alps"), "alps-lamp-red")
    wished = Queries(plain.offsets, plain.items, ("qwxyz",), plain.users)
    np.testing.assert_array_equal(model.rank(wished, 5).scores, model.rank(plain, 5).scores)


def test_tuning_on_another_catalogue_says_what_comes_first():
    model = fitted(epochs=1)
    with pytest.raises(DataError, match="call transfer"):
        model.tune(camping("fjord"))
    with pytest.raises(DataError, match="no interactions"):
        model.tune(camping("alps").with_log(camping("alps").log.clear()))


def test_a_wish_turns_the_list_to_products_that_read_like_it():
    model, data = fitted(), camping("alps")
    assert model.heeds_wish()
    plain = history(data, "alps-lamp-red")
    wished = Queries(plain.offsets, plain.items, ("lamp lamp lamp",), plain.users)
    assert kinds(model, model.rank(plain, 3))[0] == ["tent"] * 3
    model.config = model.config.model_copy(update={"wish_weight": 1.0})
    assert kinds(model, model.rank(wished, 3))[0] == ["lamp"] * 3
    nothing = Queries(np.array([0, 0, 0]), plain.items[:0], ("lamp lamp lamp", " "), None)
    ranking = model.rank(nothing, 3)
    assert kinds(model, ranking)[0] == ["lamp"] * 3
    assert ranking.lengths.tolist() == [3, 0]
    together = Queries(np.array([0, 0, 1]), plain.items, ("lamp lamp lamp", ""), None)
    np.testing.assert_array_equal(model.rank(together, 3).items[0], ranking.items[0])
    np.testing.assert_array_equal(model.rank(together, 3).items[1], model.rank(plain, 3).items[0])
    model.config = model.config.model_copy(update={"wish_weight": 0.0})
    np.testing.assert_array_equal(model.rank(wished, 3).items, model.rank(plain, 3).items)


def test_by_id_a_wish_changes_nothing():
    model = SASRec(**{**SMALL, "epochs": 1}).fit(camping("alps"))
    assert not model.heeds_wish()
    plain = history(camping("alps"), "alps-lamp-red")
    wished = Queries(plain.offsets, plain.items, ("a tent",), plain.users)
    np.testing.assert_array_equal(model.rank(plain, 3).items, model.rank(wished, 3).items)


def clubs(users=160, seed=0, *, turned=False) -> Dataset:
    """A shop where the first purchase tells nothing, and the shopper's club decides the second one; or turned."""
    rng = np.random.default_rng(seed)
    rows, people = [], []
    for user in range(users):
        sport = ["tennis", "chess"][int(rng.integers(2))]
        people.append((f"u{user}", f"member of the {sport} club" if user % 10 else None))
        bought = [(f"u{user}", f"p{rng.integers(4)}"), (f"u{user}", f"{sport}{rng.integers(3)}")]
        rows += bought[::-1] if turned else bought
    frame = pl.DataFrame(people, schema=["user_id", "about"], orient="row")
    return Dataset.from_frames(pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row"), users=frame)


def test_what_is_known_of_a_shopper_decides_where_the_history_does_not():
    data = clubs()
    model = SASRec(encoder=HashEncoder(), shopper_texts=True, **SMALL).fit(data)
    about = data.users.frame["about"].to_list()
    rows = [row for row in range(data.n_users) if about[row]][:40]
    first = data.queries().items[data.queries().offsets[:-1]][rows]
    queries = Queries(np.arange(len(rows) + 1), first, users=np.array(rows, dtype=np.int32))
    ids = [data.items.ids(row[:1])[0] for row in model.rank(queries, 1).items]
    assert np.mean([("tennis" in about[row]) == ("tennis" in id_) for row, id_ in zip(rows, ids, strict=True)]) > 0.9
    unknown = Queries(queries.offsets, queries.items)
    assert (model.rank(unknown, 1).lengths == 1).all()
    again = SASRec(encoder=HashEncoder(), **model.config.model_dump()).attach(model.items, model.arrays())
    np.testing.assert_array_equal(model.rank(queries, 5).scores, again.rank(queries, 5).scores)


@pytest.mark.parametrize("kind", [SASRec, BERT4Rec, BSARec])
def test_a_shopper_without_history_is_answered_by_what_is_known_of_them(kind):
    """The club decides the first purchase here; of whom nothing is known gets no answer."""
    data = clubs(turned=True)
    frame = pl.concat([data.users.frame, pl.DataFrame({"id": ["new"], "about": ["member of the chess club"]})])
    data = replace(data, users=Entities(frame))
    model = kind(encoder=HashEncoder(), shopper_texts=True, **SMALL).fit(data)
    about = frame["about"].to_list()
    asked = [row for row in range(data.n_users) if row % 10 == 0 or row % 7 == 0 or row == data.n_users - 1]
    empty = np.zeros(len(asked) + 1, dtype=np.int64)
    queries = Queries(empty, np.zeros(0, dtype=np.int32), users=np.array(asked, dtype=np.int32))
    listed = model.rank(queries, 2)
    for row, items in zip(asked, listed.items, strict=True):
        if about[row] is None:
            assert (items == -1).all()
        else:
            club = "tennis" if "tennis" in about[row] else "chess"
            assert [club in id_ for id_ in model.items.ids(items)] == [True, True], about[row]
    strangers = Queries(empty, queries.items, users=np.full(len(asked), -1, dtype=np.int32))
    assert not model.rank(strangers, 2).lengths.any()
    assert not model.rank(Queries(empty, queries.items), 2).lengths.any()
    again = kind(encoder=HashEncoder(), **model.config.model_dump()).attach(model.items, model.arrays())
    np.testing.assert_array_equal(listed.scores, again.rank(queries, 2).scores)


def test_shoppers_of_another_shop_are_unknown_until_tuned_and_read_by_the_same_encoder():
    data = clubs()
    items = data.items.frame.with_columns(title=pl.col("id"))
    shop = replace(data, items=Entities(items))
    settings = {**SMALL, "inputs": "text", "shopper_texts": True, "epochs": 3}
    model = SASRec(encoder=TfidfEncoder(), **settings).fit(shop)
    unknown = shop.queries().take([0])
    unknown, asked = (replace(unknown, users=users) for users in (None, np.array([5], dtype=np.int32)))
    assert model.rank(asked, 5).scores.tobytes() != model.rank(unknown, 5).scores.tobytes()
    encoder = model._shopper_reader.identity()
    vectors = model.arrays()["shoppers"]
    model.tune(shop)
    np.testing.assert_array_equal(model.arrays()["shoppers"], vectors)
    few = replace(shop, users=Entities(shop.users.frame[:9]), log=shop.log.filter(pl.col("user") < 9))
    model.tune(few)
    assert model._shopper_reader.identity() == encoder
    np.testing.assert_allclose(model.arrays()["shoppers"], vectors[:9], atol=1e-6)
    again = SASRec(encoder=TfidfEncoder(), **model.config.model_dump()).attach(model.items, model.arrays())
    assert again._shopper_reader.identity() == encoder
    model.transfer(shop.items)
    np.testing.assert_array_equal(model.rank(asked, 5).scores, model.rank(unknown, 5).scores)


def test_a_table_of_users_that_says_nothing_is_refused():
    with pytest.raises(DataError, match="says nothing of any shopper"):
        SASRec(shopper_texts=True, **SMALL).fit(camping("alps"))
