"""The questions that end training are judged as the lists of a model would be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tastemaker import metrics, registry
from tastemaker.data.queries import Queries
from tastemaker.data.ranking import top_k
from tastemaker.data.splits import Holdout, leave_one_out
from tastemaker.neural.training.judging import Jury
from tastemaker.recommender import Aids
from tastemaker.testing import HashEncoder, tiny_shop

NEXT = {"sequential": 1.0}


def judged(jury, table):
    """Return the jury's value of a model whose scores of row r are `table[r]`."""
    return jury.ndcg(lambda: lambda queries, rows: torch.from_numpy(table[rows].copy()), max_length=50)()


def jury_of(histories, targets, *, cold=False):
    questions = Holdout(Queries.from_lists(histories), Queries.from_lists(targets))
    return Jury.of(questions, tiny_shop(items=20), ranks_cold_items=cold, seed=0)


@pytest.mark.parametrize(
    ("target", "scores", "value"),
    [
        (3, {3: 2.0, 5: 1.0}, 1.0),
        (3, {5: 2.0, 3: 1.0}, 1 / np.log2(3)),
        (3, {2: 1.0, 3: 1.0, 4: 1.0}, 1 / np.log2(3)),  # of equal scores the lower number stands first
        (3, {7: 9.0, 3: 1.0}, 1.0),  # 7 is in the history
        (7, {7: 9.0, 3: 1.0}, 0.0),  # a target that is hidden is not found
        (3, {5: 1.0}, 0.0),  # no opinion of the target
        (19, {number: 1.0 for number in range(20)}, 0.0),  # all alike: the eleventh and later ones are not listed
    ],
)
def test_one_question_by_hand(target, scores, value):
    table = np.full((1, 20), -np.inf, dtype=np.float32)
    table[0, list(scores)] = list(scores.values())
    assert judged(jury_of([[7]], [[target]], cold=True), table) == pytest.approx(value)


def test_random_questions_are_judged_as_lists_are():
    rng = np.random.default_rng(0)
    histories = [rng.integers(0, 20, rng.integers(0, 6)) for _ in range(300)]
    targets = [rng.integers(0, 20, 1) for _ in range(300)]
    table = rng.integers(0, 4, (300, 20)).astype(np.float32)  # many are equal
    table[rng.random(table.shape) < 0.3] = -np.inf
    jury = jury_of(histories, targets, cold=True)
    lists = top_k(table, 10, exclude=jury.questions.queries)
    values = metrics.per_query(lists, jury.questions.targets, (10,))["ndcg@10"]
    asked = jury.questions.queries.lengths > 0
    assert judged(jury, table) == pytest.approx(values[asked].sum() / 300, abs=1e-6)


@pytest.mark.parametrize("name", ["sasrec", "lightgcn", "two_tower"])
def test_a_shop_with_repeats_is_judged_as_the_lists_of_the_model(name):
    split = leave_one_out(tiny_shop())
    kind = registry.model_class(name)
    size = {"dim": 8} if "dim" in kind.Config.model_fields else {}
    model = kind(encoder=HashEncoder(), epochs=2, **size).fit(split.train, aids=Aids(validation=split.validation))
    said = model.report()
    value = said["learning_curve"][said["best_epoch"] - 1]["ndcg@10"]
    lists = model.rank(split.validation.queries, 10)
    wanted = metrics.per_query(lists, split.validation.targets, (10,))["ndcg@10"].mean()
    assert value == pytest.approx(float(wanted), abs=2e-6)
    assert value > 0


@pytest.mark.parametrize(
    ("name", "more"),
    [("tiger", {}), ("p5", {"indexing": "random", "vocabulary": 300, "layers": 1, "heads": 2, "families": NEXT})],
)
def test_a_narrow_beam_is_judged_as_the_lists_of_the_model(name, more):
    """The beam of a list is wider than `beams`, and wider still by what a long history may fill of it."""
    pytest.importorskip("faiss", reason="needs the extra 'indexing'")
    pytest.importorskip("transformers", reason="needs the extra 'lm'")
    shop, rng = tiny_shop(users=60), np.random.default_rng(0)
    bought = np.flatnonzero(shop.popularity)
    drawn = [rng.permutation(bought) for _ in range(40)]
    sizes = [1 + 5 * (row % 4) for row in range(40)]
    validation = Holdout(
        Queries.from_lists([row[:size] for row, size in zip(drawn, sizes, strict=True)]),
        Queries.from_lists([row[-1:] for row in drawn]),
    )
    settings = {"dim": 8, "levels": 2, "codes": 32, "beams": 1, "epochs": 1, **more}
    model = registry.model_class(name)(**settings).fit(shop, aids=Aids(validation=validation))
    lists = model.rank(validation.queries, 10)
    assert (lists.items >= 0).all()
    wanted = metrics.per_query(lists, validation.targets, (10,))["ndcg@10"].mean()
    assert model.report()["learning_curve"][0]["ndcg@10"] == pytest.approx(float(wanted), abs=2e-6)
    assert wanted > 0


def test_only_what_can_be_answered_counts():
    assert jury_of([[1], [2], []], [[3], [2], [4]]).answerable == 1  # the second is hidden, the third has no history
    assert jury_of([[1], [1]], [[19], [3]]).answerable == 1  # nobody bought the last three
    assert jury_of([[1], [1]], [[19], [3]], cold=True).answerable == 2
    assert jury_of([[1], [1]], [[3], []]).answerable == 1, "a question without target is left out"
    assert "none of 1 validation questions" in jury_of([[2]], [[2]]).silent


def test_a_large_catalogue_is_asked_in_small_parts():
    histories, sizes = [[1]] * 20, []
    asked = jury_of(histories, [[3]] * 20)
    jury = Jury(asked.questions, asked.rows, 2**22, asked.answerable)  # 16 MiB of scores a question

    def scores(queries, rows):
        sizes.append(len(rows))
        return torch.zeros(len(rows), 20)

    assert jury.ndcg(lambda: scores, max_length=5)() == pytest.approx(1 / np.log2(4))  # behind 0 and 2
    assert sizes == [4] * 5
