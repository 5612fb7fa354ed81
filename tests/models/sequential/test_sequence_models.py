"""Sequence models on a shop with a known order, and what all of them share."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from tastemaker import evaluate, registry
from tastemaker.data import Dataset, Queries
from tastemaker.data.splits import Holdout, leave_one_out
from tastemaker.errors import ConfigError, DataError, NotFitted, TrainingFailed
from tastemaker.models.parts.sequential import sequence_ranker
from tastemaker.models.sequential.bert4rec import cloze
from tastemaker.neural import losses
from tastemaker.neural.batches import batch_of
from tastemaker.neural.training.row_adam import RowAdamW, RowTable
from tastemaker.pipeline import Pipeline, Stage
from tastemaker.recommender import Aids, Recommender

SMALL = {"dim": 16, "layers": 1, "dropout": 0.1, "batch_size": 16, "learning_rate": 0.01}
MODELS = ["sasrec", "bert4rec", "bsarec", "gru4rec", "hstu"]


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
    by_one, by_two = Queries.from_lists([[3, 4, 5]]), Queries.from_lists([[1, 3, 5]])
    if name == "bert4rec":  # it has to learn to fill in every place, from lengths that it has seen
        model = registry.model_class(name)(epochs=100, **{**SMALL, "layers": 2}).fit(rounds(users=240))
        by_one, by_two = Queries.from_lists([[1, 2, 3, 4, 5]]), Queries.from_lists([[9, 11, 1, 3, 5]])
    else:
        model = registry.model_class(name)(epochs=30, **SMALL).fit(rounds())
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
        if inputs == "id":  # nothing is known of it: neither purchases nor, to this model, a text
            assert (ranking.items != 12).all()
            assert (ranking.lengths > 0).all()
        else:
            places[inputs] = (ranking.items == 12).argmax(axis=1).mean()
    assert places["text"] < 4, places
    assert places["both"] < 6, places


def test_heads_must_divide_dim():
    with pytest.raises(ConfigError, match="heads = 3 does not divide dim = 16"):
        registry.model_class("sasrec")(dim=16, heads=3)


@pytest.mark.parametrize("name", MODELS)
def test_one_item_histories_are_no_training_data(name):
    log = pl.DataFrame({"user_id": list("abc"), "item_id": list("xyz")})
    with pytest.raises(DataError, match=f"{name}: no shopper has 2 purchases in the training part"):
        registry.model_class(name)(epochs=2, **SMALL).fit(Dataset.from_frames(log))


class Killed(Exception):
    """Stands for a kill between two epochs."""


def killed_after(epochs):
    def listen(part, entry):
        if entry["epoch"] == epochs:
            raise Killed

    return listen


@pytest.mark.parametrize("name", MODELS)
def test_a_killed_fit_goes_on_to_the_same_bits(name, tmp_path):
    split = leave_one_out(rounds())
    settings = {"epochs": 5, "loss": "sampled", "negatives": 4, "schedule": "cosine", **SMALL}
    whole = registry.model_class(name)(**settings).fit(split.train, aids=Aids(validation=split.validation), seed=2)
    broken = registry.model_class(name)(**settings)
    aids = Aids(validation=split.validation, folder=tmp_path, on_epoch=killed_after(3))
    with pytest.raises(Killed):
        broken.fit(split.train, aids=aids, seed=2)
    with pytest.raises(NotFitted):
        broken.rank(split.test.queries, 3)
    again = registry.model_class(name)(**settings)
    again.fit(split.train, aids=Aids(validation=split.validation, folder=tmp_path), seed=2)
    for key, array in whole.arrays().items():
        assert array.tobytes() == again.arrays()[key].tobytes(), key


def test_a_killed_fit_of_two_steps_goes_on_in_the_second(tmp_path):
    """The refit's checkpoint stands apart, and the first training is not done again."""
    split = leave_one_out(rounds())
    pipelines = [Pipeline([Stage(registry.model_class("sasrec")(epochs=6, patience=2, **SMALL))]) for _ in range(3)]
    evaluate.fit(pipelines[0], split, refit=True)
    seen = []

    def listen(part, entry):
        seen.append("ndcg@10" in entry)
        if seen[-2:] == [False, False]:  # the second epoch of the refit
            raise Killed

    with pytest.raises(Killed):
        evaluate.fit(pipelines[1], split, refit=True, aids=Aids(folder=tmp_path, on_epoch=listen))
    del seen[:]
    aids = Aids(folder=tmp_path, on_epoch=lambda part, entry: seen.append((part, entry["epoch"])))
    evaluate.fit(pipelines[2], split, refit=True, aids=aids)
    best = pipelines[0].stages[0].recommender.report()["best_epoch"]
    assert seen == [("0/sasrec", epoch) for epoch in range(3, best + 1)]
    first, last = (one.rank(split.test.queries, 5) for one in (pipelines[0], pipelines[2]))
    assert first.scores.tobytes() == last.scores.tobytes()
    assert list(tmp_path.rglob("*.checkpoint"))
    evaluate.forget_checkpoints(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path):
    data = rounds()
    with pytest.raises(Killed):
        registry.model_class("sasrec")(epochs=3, **SMALL).fit(
            data, aids=Aids(folder=tmp_path, on_epoch=killed_after(1))
        )
    with pytest.raises(TrainingFailed, match=r"sasrec\.checkpoint: a checkpoint after 1 epochs of another training"):
        registry.model_class("sasrec")(epochs=4, **SMALL).fit(data, aids=Aids(folder=tmp_path))


@pytest.mark.parametrize("kind", ["cold targets", "no history", "no question"])
def test_validation_that_cannot_judge_is_said_and_stops_nothing(kind):
    data = rounds()
    with_new = Dataset.from_frames(
        pl.DataFrame({"user_id": ["a", "a", "b"], "item_id": ["p00", "p01", "p00"]}),
        pl.DataFrame({"item_id": [*data.items.frame["id"], "new"], "title": ["x"] * 13}),
    )
    number = with_new.items.numbers(["new"])[0]
    histories, targets = {
        "cold targets": ([[0, 1], [2]], [[number], [number]]),
        "no history": ([[], []], [[0], [1]]),
        "no question": ([], []),
    }[kind]
    validation = Holdout(Queries.from_lists(histories), Queries.from_lists(targets))
    model = registry.model_class("sasrec")(epochs=4, patience=1, **SMALL)
    said = model.fit(with_new, aids=Aids(validation=validation)).report()
    assert (said["best_epoch"], len(said["learning_curve"])) == (4, 4)
    assert said["not_judged"].startswith(f"none of {len(histories)} validation questions has a history and a target")


def test_some_questions_without_history_do_no_harm():
    split = leave_one_out(rounds())
    queries = Queries.from_lists([[], *(split.validation.queries.history(row).tolist() for row in range(20))])
    targets = Queries.from_lists([[0], *(split.validation.targets.history(row).tolist() for row in range(20))])
    model = registry.model_class("sasrec")(epochs=3, **SMALL)
    said = model.fit(split.train, aids=Aids(validation=Holdout(queries, targets))).report()
    assert "not_judged" not in said
    assert said["learning_curve"][-1]["ndcg@10"] > 0


def test_the_report_names_the_loss_that_was_used(monkeypatch):
    model = registry.model_class("sasrec")(epochs=1, **SMALL)
    assert model.fit(rounds()).report()["loss"] == "softmax"
    monkeypatch.setattr(losses, "SAMPLED_FROM", 12)
    assert model.fit(rounds()).report()["loss"] == "sampled"


@pytest.mark.parametrize("loss", ["sampled", "gbce", "bpr", "bpr_max", "infonce"])
def test_the_order_is_learnt_by_every_loss(loss):
    model = registry.model_class("sasrec")(epochs=60, loss=loss, negatives=8, **SMALL).fit(rounds())
    by_one, by_two = Queries.from_lists([[3, 4, 5]]), Queries.from_lists([[1, 3, 5]])
    assert model.rank(by_one, 1).items[0, 0] == 6
    assert model.rank(by_two, 1).items[0, 0] == 7


def test_a_loss_that_is_no_number_names_the_place(monkeypatch):
    monkeypatch.setattr(losses, "loss_of", lambda config, n: lambda hidden, table, targets: hidden.sum() * torch.nan)
    with pytest.raises(TrainingFailed, match="the loss is nan in epoch 1, batch 1; lower learning_rate"):
        registry.model_class("sasrec")(epochs=2, **SMALL).fit(rounds())


def test_an_absent_device_is_refused():
    with pytest.raises(ConfigError, match="device 'cuda:7': not on this machine"):
        registry.model_class("sasrec")(epochs=1, **SMALL).fit(rounds(), aids=Aids(device="cuda:7"))


def test_weights_do_not_depend_on_what_was_drawn_before():
    """GRU weights are drawn by torch itself, from its global generator."""
    found = []
    for state in (1, 2):
        torch.manual_seed(state)
        model = registry.model_class("gru4rec")(epochs=1, **SMALL).fit(rounds())
        found.append(model.arrays()["network.layers.units.weight_ih_l0"].tobytes())
    assert found[0] == found[1]


def test_a_cloze_hides_at_least_one_item_and_never_filling():
    batch = batch_of(Queries.from_lists([[1], [2, 3], list(range(20))] * 50), np.arange(150), 20)
    hidden = cloze(batch, share=0.3, newest=0.0)
    assert (hidden.sum(1) >= 1).all()
    assert not (hidden & ~batch.real).any()
    assert 0.2 < hidden[2::3].float().mean() < 0.4
    newest = cloze(batch, share=0.3, newest=1.0)
    assert (newest.sum(1) == 1).all()
    assert newest[batch.last].all()


def test_bert4rec_looks_at_both_sides_and_at_no_filling():
    model = registry.model_class("bert4rec")(epochs=1, **SMALL).fit(rounds())
    network, table = model._network, model._table
    long, short = (
        batch_of(Queries.from_lists([[1, 2, 3], [4, 5, 6, 7, 8]]), np.array(rows), 9) for rows in ([0, 1], [0])
    )
    with torch.inference_mode():
        torch.testing.assert_close(network(table, long)[0, :3], network(table, short)[0])
        later = short.items.clone()
        later[0, 2] = 9
        changed = network(table, type(short)(later, short.lengths))
        assert not torch.allclose(changed[0, 0], network(table, short)[0, 0])


@pytest.mark.parametrize("name", MODELS)
def test_a_wholesalers_long_history_teaches_all_of_its_purchases(name):
    """What was bought long ago, and by nobody since, is learnt too, though a state reads few purchases at once."""
    rng = np.random.default_rng(0)
    early = [pair for _ in range(12) for pair in rng.permutation([[0, 1], [2, 3], [4, 5]]).tolist()]
    late = [[item] for item in rng.integers(6, 12, 8).tolist()]
    rows = [(f"u{user}", f"p{item:02}") for user in range(6) for pair in [*early, *late] for item in pair]
    shop = Dataset.from_frames(pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row"))
    settings = {**SMALL, "epochs": 60, "max_length": 6, "start": "random"}
    model = registry.model_class(name)(**settings).fit(shop)
    lists = model.rank(Queries.from_lists([[3, 0], [5, 2], [1, 4]]), 1, seen=True)
    assert lists.items[:, 0].tolist() == [1, 3, 5]


def test_bert4rec_needs_room_for_its_mask():
    with pytest.raises(ConfigError, match="max_length"):
        registry.model_class("bert4rec")(max_length=1)
    model = registry.model_class("bert4rec")(max_length=2, epochs=1, **SMALL).fit(rounds())
    assert np.isfinite(model.score(Queries.from_lists([[0, 1, 2, 3]]))).all()


@pytest.mark.parametrize("settings", [{}, {"weight_decay": 0.01}])
@pytest.mark.parametrize("name", ["sasrec", "bert4rec"])
def test_a_sampled_loss_reads_few_rows_and_learns_what_the_whole_table_would(monkeypatch, name, settings):
    """Against plain AdamW on the whole table, and no step may make a gradient of its size."""
    shop = rounds(users=60, items=150)
    model = registry.model_class(name)(epochs=3, loss="sampled", negatives=5, clip=0, **{**SMALL, **settings})
    sizes, step = [], RowAdamW.step

    def noted(optimiser):
        sizes.extend(len(table.weight.grad.coalesce().values()) for table in optimiser._followers)
        assert all(table.weight.grad.is_sparse for table in optimiser._followers)
        step(optimiser)

    with monkeypatch.context() as patched:
        patched.setattr(RowAdamW, "step", noted)
        table = model.fit(shop)._table
    assert 0 < max(sizes) < 150
    monkeypatch.setattr(RowTable, "take", lambda table, rows: table.weight[rows])
    torch.testing.assert_close(table, model.fit(shop)._table, rtol=0.02, atol=0.002)


@pytest.mark.parametrize("seen", [False, True])
def test_lists_are_those_of_all_scores_whatever_the_threads(monkeypatch, seen):
    """Ranking block by block on two threads against the plain way: all scores of all histories, sorted."""
    shop = rounds(users=90)
    model = registry.model_class("sasrec")(epochs=1, **SMALL).fit(shop)
    queries = Queries.from_lists([[*history][: 1 + number % 6] for number, history in enumerate(lists_of(shop))] + [[]])
    monkeypatch.setattr(sequence_ranker, "RANKED_BYTES", 4 * 12 * 7)  # 7 histories a block
    monkeypatch.setattr(sequence_ranker, "ASKED", 8)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        found = model.rank(queries, 5, seen=seen)
    finally:
        torch.set_num_threads(before)
    wanted = Recommender.rank(model, queries, 5, seen=seen)
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-5)
    np.testing.assert_array_equal(found.items, wanted.items)
    assert (found.items[-1] == -1).all()


def lists_of(shop):
    queries = shop.queries()
    return [queries.items[start:stop] for start, stop in zip(queries.offsets, queries.offsets[1:], strict=False)]
