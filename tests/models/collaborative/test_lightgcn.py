"""LightGCN: propagation, folding a history in, training questions, cold products."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tastemaker.data.dataset import Dataset
from tastemaker.data.queries import Queries
from tastemaker.data.splits import Holdout, leave_one_out
from tastemaker.errors import DataError, TrainingFailed
from tastemaker.recommender import Aids
from tastemaker.testing import HashEncoder, checkerboard, tiny_shop

pytest.importorskip("torch")

import torch

from tastemaker.models.collaborative.lightgcn import Graph, LightGCN, _item_inputs, questions
from tastemaker.neural import losses

SMALL = {"dim": 8, "epochs": 4, "batch_size": 16}


def layers_of_the_paper(purchases, shoppers, items, depth):
    """Return the mean over layers 0 .. depth, by the whole adjacency matrix (He et al., eq. 6-8)."""
    users, n = purchases.shape
    adjacency = np.block([[np.zeros((users, users)), purchases], [purchases.T, np.zeros((n, n))]])
    degrees = np.maximum(adjacency.sum(axis=1), 1)
    smoothing = adjacency / np.sqrt(np.outer(degrees, degrees))
    layers = [np.vstack([shoppers, items])]
    for _ in range(depth):
        layers.append(smoothing @ layers[-1])
    mean = np.mean(layers, axis=0)
    return mean[:users], mean[users:]


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_propagation_is_the_papers_with_shoppers_that_start_at_zero(layers):
    data = tiny_shop()
    vectors = np.random.default_rng(0).standard_normal((data.n_items, 5)).astype(np.float32)
    found = Graph(data.matrix()).propagate(torch.from_numpy(vectors), layers=layers).numpy()
    start = np.zeros((data.n_users, 5))
    _, items = layers_of_the_paper(data.matrix().toarray(), start, vectors, 2 * layers + 1)
    np.testing.assert_allclose(found / 2, items, atol=1e-5)  # half of the paper's layers are zero


def test_absent_shoppers_pass_nothing_on():
    data = tiny_shop()
    vectors = np.random.default_rng(0).standard_normal((data.n_items, 5)).astype(np.float32)
    absent = np.array([3, 4, 17])
    found = Graph(data.matrix()).propagate(torch.from_numpy(vectors), layers=2, without=absent).numpy()
    purchases = data.matrix().toarray()
    edges = purchases / np.sqrt(np.outer(purchases.sum(axis=1), np.maximum(purchases.sum(axis=0), 1)))
    edges[absent] = 0
    step = edges.T @ edges
    np.testing.assert_allclose(found, (vectors + step @ vectors + step @ step @ vectors) / 3, atol=1e-5)


@pytest.mark.parametrize("score", ["cosine", "inner"])
def test_the_score_is_that_of_a_node_with_these_links(score):
    data = tiny_shop()
    model = LightGCN(recency=1.0, score=score, **SMALL).fit(data)
    table = model.arrays()["table"].astype(np.float64)
    buyers = np.maximum(data.matrix().sum(axis=0), 1)  # repeats count once
    history = [4, 2, 7]
    state = sum(table[item] / np.sqrt(3 * buyers[item]) for item in history)
    wanted = table @ state
    if score == "cosine":
        wanted = wanted / np.maximum(np.linalg.norm(table, axis=1), 1e-12) / np.linalg.norm(state)
    warm = data.popularity > 0
    found = model.score(Queries.from_lists([history]))[0]
    np.testing.assert_allclose(found[warm], wanted[warm], atol=1e-5)
    assert np.isneginf(found[~warm]).all(), "nothing is known of what nobody bought"


def test_a_shopper_of_the_log_is_a_node_of_the_graph():
    """What the formula of a new shopper gives is, at recency 1, the vector that propagation gave the known one."""
    data = tiny_shop()
    vectors = np.random.default_rng(0).standard_normal((data.n_items, 8))
    shoppers, _ = layers_of_the_paper(data.matrix().toarray(), np.zeros((data.n_users, 8)), vectors, 3)
    graph = Graph(data.matrix())
    table = graph.propagate(torch.from_numpy(vectors.astype(np.float32)), layers=1).numpy()
    for user in range(data.n_users):
        bought = np.unique(data.queries().history(user))
        folded = (table[bought] * graph.links[bought, None]).sum(axis=0) / np.sqrt(len(bought))
        np.testing.assert_allclose(folded / 2, shoppers[user], atol=1e-5)


def test_newer_purchases_weigh_more():
    data = checkerboard()
    model = LightGCN(recency=0.3, **SMALL).fit(data)
    scores = model.score(Queries.from_lists([[0, 1], [1, 0]]))
    even = scores[:, 2::2].mean(axis=1)
    assert even[1] > even[0]


def test_an_unknown_shopper_is_answered_as_a_known_one():
    data = tiny_shop()
    model = LightGCN(**SMALL).fit(data)
    known = data.queries()
    unknown = Queries(known.offsets, known.items, users=np.full(len(known), -1, dtype=np.int32))
    named = Queries(known.offsets, known.items, users=np.arange(len(known), dtype=np.int32))
    assert model.score(known).tobytes() == model.score(unknown).tobytes() == model.score(named).tobytes()


def test_an_answer_does_not_depend_on_the_batch():
    data = tiny_shop(users=120, items=97)
    model = LightGCN(**SMALL).fit(data)
    queries = data.queries()
    scores = model.score(queries)
    for step in (1, 7, 64):
        parts = [model.score(queries.take(slice(start, start + step))) for start in range(0, len(queries), step)]
        np.testing.assert_array_equal(np.concatenate(parts), scores)


def test_questions_are_the_purchases_before_their_answers():
    histories = Queries.from_lists([[5], [1, 2, 3, 4], [], [7, 8]])
    asked, answers = questions(histories, 9, 2, np.random.default_rng(0))
    pairs = sorted((tuple(history.tolist()), int(answer)) for history, answer in zip(asked, answers, strict=True))
    assert pairs == [((1,), 2), ((1, 2), 3), ((2, 3), 4), ((7,), 8)]


def test_questions_are_drawn_evenly_and_at_most_so_many_of_each_history():
    histories = Queries.from_lists([range(5), range(10, 12)])
    counts = np.zeros(12, dtype=int)
    rng = np.random.default_rng(0)
    for _ in range(400):
        _, answers = questions(histories, 2, 50, rng)
        assert sorted(answers >= 10) == [False, False, True]
        np.add.at(counts, answers, 1)
    assert counts[[0, 10]].tolist() == [0, 0]
    assert counts[11] == 400
    assert (np.abs(counts[1:5] - 200) < 50).all(), counts


def described_shop():
    """Return the checkerboard with two more products of its tastes that nobody has bought, and one without words."""
    data = checkerboard()
    items = data.items.frame.select(item_id="id", title="title")
    words = ["lavender hand cream soothing skin new", "cordless drill steel screw new", None]
    new = pl.DataFrame({"item_id": ["cream", "drill", "blank"], "title": words})
    log = pl.DataFrame(
        {
            "user_id": data.users.frame["id"].gather(data.log["user"]),
            "item_id": data.items.frame["id"].gather(data.log["item"]),
        }
    )
    return Dataset.from_frames(log, pl.concat([items, new]))


@pytest.mark.parametrize("inputs", ["text", "both"])
def test_text_ranks_a_product_that_nobody_bought(inputs):
    data = described_shop()
    model = LightGCN(encoder=HashEncoder(), inputs=inputs, own_dropout=0.5, dim=8, epochs=30).fit(data)
    assert model.ranks_cold_items
    cream, drill, blank = data.items.numbers(["cream", "drill", "blank"])
    creams, drills = model.score(Queries.from_lists([[0, 2, 4], [1, 3, 5]]))
    assert creams[cream] > creams[drill]
    assert drills[drill] > drills[cream]
    assert np.isneginf([creams[blank], drills[blank]]).all()
    asked = model.score(Queries.from_lists([[int(cream)]]))[0]
    assert asked[0:20:2].mean() > asked[1:20:2].mean(), "a history of a cold product alone is read too"


def test_ids_know_nothing_of_a_product_that_nobody_bought():
    data = described_shop()
    model = LightGCN(**SMALL).fit(data)
    assert not model.ranks_cold_items
    cold = int(data.items.numbers(["cream"])[0])
    assert np.isneginf(model.score(Queries.from_lists([[0, 2]]))[0, cold])
    assert np.isneginf(model.score(Queries.from_lists([[cold], []]))).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "bpr", "negatives": 8},
        {"loss": "sampled", "negatives": 8},
        {"score": "inner"},
        {"start": "random"},
        {"layers": 0},
    ],
)
def test_every_form_learns_the_two_tastes(settings):
    data = checkerboard()
    model = LightGCN(dim=16, epochs=40, recency=1.0, patience=0, **settings).fit(data)
    found = model.rank(data.queries(), 1).items[:, 0]
    assert (found % 2 == np.arange(data.n_users) % 2).all()
    curve = model.report()["learning_curve"]
    assert curve[-1]["loss"] < curve[0]["loss"]


@pytest.mark.parametrize(("shoppers", "steps"), [(30, 10), (100, 10), (1_000, 16), (20_000, 16)])
def test_an_epoch_goes_over_the_graph_a_bounded_number_of_times(shoppers, steps):
    """At least ten times, as no more than a tenth of the shoppers may leave the graph at once."""
    histories = Queries.from_lists([[0, 1]] * shoppers + [[2]])
    asked = [rows for rows, *_ in LightGCN(batch_size=32)._batches(histories, np.random.default_rng(0))]
    assert len(asked) == steps
    assert sorted(np.concatenate(asked)) == list(range(shoppers))


@pytest.mark.parametrize(("length", "targets", "asked"), [(7, None, 2), (40, None, 10), (40, 3, 3), (3, 9, 2)])
def test_long_histories_are_asked_for_more(length, targets, asked):
    histories = Queries.from_lists([range(length)] * 20)
    batches = LightGCN(targets=targets)._batches(histories, np.random.default_rng(0))
    assert {len(answers) for _, _, answers in batches} == {2 * asked}  # a tenth of the shoppers at a time


@pytest.mark.parametrize("rivals", [None, torch.arange(0, 20, 2)])
def test_a_step_in_parts_has_the_loss_and_the_gradient_of_the_whole(rivals):
    data = checkerboard()
    found = []
    for size in (1, 1000):
        model = LightGCN(dim=8, dropout=0.0, batch_size=size, recency=0.9)
        inputs, graph = _item_inputs(data, model.config, None, seed=0), Graph(data.matrix())
        asked, answers = questions(data.queries(), 2, 50, np.random.default_rng(0))
        if rivals is not None:
            answers = answers // 2 * 2
        loss = model._loss(inputs, graph, losses.full_softmax, rivals, (np.arange(3), asked, answers))
        loss.backward()
        found.append((loss.detach(), inputs.own.weight.grad))
    torch.testing.assert_close(*found)


def test_validation_ends_training():
    split = leave_one_out(tiny_shop())
    model = LightGCN(dim=8, patience=2, epochs=80).fit(split.train, aids=Aids(validation=split.validation))
    report = model.report()
    assert len(report["learning_curve"]) == report["best_epoch"] + 2 < 80
    best = max(report["learning_curve"], key=lambda entry: entry["ndcg@10"])
    assert best["epoch"] == report["best_epoch"]
    judged = model.rank(split.validation.queries, 10)
    first = split.validation.targets.items[split.validation.targets.offsets[:-1]]
    places = (judged.items == first[:, None]).argmax(axis=1)[(judged.items == first[:, None]).any(axis=1)]
    assert (1 / np.log2(places + 2)).sum() / len(first) == pytest.approx(best["ndcg@10"], abs=1e-5)


def test_a_new_fit_keeps_the_length_that_was_chosen():
    split = leave_one_out(tiny_shop())
    model = LightGCN(dim=8, patience=2, epochs=80).fit(split.train, aids=Aids(validation=split.validation))
    best = model.report()["best_epoch"]
    model.fit(tiny_shop(), aids=Aids(keep_choices=True))
    assert len(model.report()["learning_curve"]) == best


class Killed(Exception):
    """What ends a training from outside."""


def test_a_killed_training_goes_on_to_the_same_bits(tmp_path):
    split = leave_one_out(tiny_shop())
    settings = {
        "inputs": "both",
        "own_dropout": 0.3,
        "encoder": HashEncoder(),
        "patience": 0,
        "loss": "sampled",
        "negatives": 5,
        **SMALL,
    }
    whole = LightGCN(**settings).fit(split.train, seed=5)

    def kill(name, entry):
        if entry["epoch"] == 2:
            raise Killed(name)

    with pytest.raises(Killed, match="lightgcn"):
        LightGCN(**settings).fit(split.train, aids=Aids(folder=tmp_path, on_epoch=kill), seed=5)
    assert (tmp_path / "lightgcn.checkpoint").exists()
    told = []
    aids = Aids(folder=tmp_path, on_epoch=lambda _, entry: told.append(entry["epoch"]))
    resumed = LightGCN(**settings).fit(split.train, aids=aids, seed=5)
    assert told == [3, 4], "it went on, and did not begin anew"
    assert resumed.arrays()["table"].tobytes() == whole.arrays()["table"].tobytes()


def test_one_item_histories_are_no_training_data():
    data = Dataset.from_frames(pl.DataFrame({"user_id": list("abc"), "item_id": list("xyz")}))
    with pytest.raises(DataError, match="lightgcn: no shopper has 2 purchases in the training part; use popular"):
        LightGCN(**SMALL).fit(data)


def test_a_shop_with_one_product_can_be_learnt():
    data = Dataset.from_frames(pl.DataFrame({"user_id": ["a", "a", "b"], "item_id": ["x"] * 3}))
    ranking = LightGCN(**SMALL).fit(data).rank(data.queries(), 1, seen=True)
    assert ranking.items.tolist() == [[0], [0]]


@pytest.mark.parametrize(("inputs", "rivals"), [("id", 23), ("text", 20), ("both", 20)])
def test_of_products_known_by_text_only_bought_ones_compete(monkeypatch, inputs, rivals):
    competing = set()

    def noted(states, table, wanted):
        competing.add(len(table))
        return full_softmax(states, table, wanted)

    full_softmax = losses.full_softmax
    monkeypatch.setattr(losses, "full_softmax", noted)
    LightGCN(encoder=HashEncoder(), inputs=inputs, **SMALL).fit(described_shop())
    assert competing == {rivals}


def interrupted(folder, validation, train):
    def kill(name, entry):
        raise Killed(name)

    aids = Aids(folder=folder, on_epoch=kill, validation=validation)
    with pytest.raises(Killed):
        LightGCN(encoder=HashEncoder(), inputs="text", **SMALL).fit(train, aids=aids)


def test_a_checkpoint_of_other_texts_or_other_questions_is_refused(tmp_path):
    split = leave_one_out(tiny_shop())
    interrupted(tmp_path, split.validation, split.train)
    fewer = Aids(folder=tmp_path, validation=split.validation.take(slice(0, 20)))
    with pytest.raises(TrainingFailed, match="another training"):
        LightGCN(encoder=HashEncoder(), inputs="text", **SMALL).fit(split.train, aids=fewer)
    same = Aids(folder=tmp_path, validation=split.validation)
    with pytest.raises(TrainingFailed, match="another training"):
        LightGCN(inputs="text", **SMALL).fit(split.train, aids=same)
    LightGCN(encoder=HashEncoder(), inputs="text", **SMALL).fit(split.train, aids=same)


def test_questions_that_cannot_judge_are_told():
    data = tiny_shop()
    questions = Holdout(Queries.from_lists([[1], []]), Queries.from_lists([[1], [2]]))  # a hidden target, no history
    said = LightGCN(patience=1, **SMALL).fit(data, aids=Aids(validation=questions)).report()
    assert said["not_judged"].startswith("none of 2 validation questions")
    assert said["best_epoch"] == len(said["learning_curve"]) == 4


def test_the_number_of_threads_is_heeded():
    before = torch.get_num_threads()
    assert LightGCN(**SMALL).fit(tiny_shop(), aids=Aids(threads=before + 1)).report()["threads"] == before + 1
    assert torch.get_num_threads() == before


def test_equal_fits_are_saved_as_equal_bytes():
    one, other = (LightGCN(**SMALL).fit(tiny_shop(), seed=2).arrays() for _ in range(2))
    assert {name: array.tobytes() for name, array in one.items()} == {
        name: array.tobytes() for name, array in other.items()
    }


def test_weights_that_grow_beyond_all_bounds_end_training_though_cosines_stay_finite():
    with pytest.raises(TrainingFailed, match=r"the largest weight is \d.*e\+30 in epoch 1; lower learning_rate"):
        LightGCN(learning_rate=1e30, **SMALL).fit(tiny_shop())
