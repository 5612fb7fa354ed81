"""Pipelines: order of stages, nothing lost, short rows filled below."""

from __future__ import annotations

import re
import time

import numpy as np
import polars as pl
import pytest

from tastemaker.abilities import Transferable
from tastemaker.data import Dataset, Queries, Ranking
from tastemaker.data.entities import Entities
from tastemaker.data.splits import leave_one_out
from tastemaker.errors import ConfigError, DataError, NotFitted
from tastemaker.lm.scripted import ScriptedChoiceLM
from tastemaker.models.collaborative.popular import Popular
from tastemaker.models.collaborative.random import Random
from tastemaker.models.collaborative.transitions import Transitions
from tastemaker.models.content.text_knn import TextKNN
from tastemaker.models.ensemble.blend import Blend
from tastemaker.models.llm.listwise import Listwise
from tastemaker.pipeline import Pipeline, Stage, append_below
from tastemaker.recommender import Recommender
from tastemaker.testing import tiny_shop


class Backwards(Recommender):
    """Re-ranks candidates by falling item number, and has no opinion on multiples of three."""

    name = "backwards"
    retrieves = False

    def learn(self, train, *, seed, progress):
        """Learn nothing."""

    def score(self, queries):
        scores = np.arange(len(self.items), dtype=np.float32)
        scores[::3] = -np.inf
        return np.tile(scores, (len(queries), 1))


def test_a_stage_reorders_what_it_is_given_and_loses_nothing():
    data = tiny_shop()
    pipeline = Pipeline([Stage(Popular(), keep=6), Stage(Backwards())]).fit(data)
    queries = Queries.from_lists([[]])
    first, last = (ranking.items[0].tolist() for ranking in pipeline.rank_by_stage(queries, 10))
    head = [item for item in first[:6] if item % 3]
    kept = [item for item in first[:6] if item % 3 == 0]
    assert last == sorted(head, reverse=True) + kept + first[6:]
    assert sorted(last) == sorted(first)


def test_scores_fall_along_the_whole_list():
    data = tiny_shop()
    pipeline = Pipeline([Stage(Popular(), keep=4), Stage(Backwards())], fallback=Popular()).fit(data)
    scores = pipeline.rank(data.queries(), 15).scores
    assert (np.diff(np.where(np.isneginf(scores), -1e30, scores), axis=1) <= 0).all()


def test_the_fallback_fills_below():
    data = tiny_shop()
    bare = Pipeline([Stage(Transitions())]).fit(data)
    filled = Pipeline([Stage(Transitions())], fallback=Popular()).fit(data)
    queries = Queries.from_lists([[], [1]])
    short, full = bare.rank(queries, 12), filled.rank(queries, 12)
    assert (short.items[0] == -1).all()
    assert (full.items[0] == Popular().fit(data).rank(queries.take([0]), 12).items[0]).all()
    known = short.lengths[1]
    assert (full.items[1, :known] == short.items[1, :known]).all()
    assert (full.items >= 0).all()
    assert len(set(full.items[1].tolist())) == 12
    assert 1 not in full.items[1]


def test_append_below_pads_and_never_repeats():
    left = Ranking(np.array([[3, -1, -1]], np.int32), np.array([[0.5, -np.inf, -np.inf]], np.float32))
    right = Ranking(np.array([[3, 7, -1]], np.int32), np.array([[9, 8, -np.inf]], np.float32))
    joined = append_below(left, right, 4)
    assert joined.items.tolist() == [[3, 7, -1, -1]]
    assert joined.scores[0, 0] == 0.5
    assert joined.scores[0, 1] < 0.5


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="at least one stage"):
        Pipeline([])
    with pytest.raises(ConfigError, match="keep is 0"):
        Pipeline([Stage(Popular(), keep=0)])
    with pytest.raises(NotFitted):
        Pipeline([Stage(Popular())]).rank(Queries.from_lists([[]]), 3)
    with pytest.raises(ConfigError, match="put a retriever before it"):
        Pipeline([Stage(Backwards())])
    with pytest.raises(ConfigError, match="fallback backwards: only re-ranks"):
        Pipeline([Stage(Popular())], fallback=Backwards())


def test_a_fixed_weight_is_never_calibrated():
    class Fixed(Backwards):
        calibration_size = 0

        def calibrate(self, validation, *, candidates, seed=0, progress=None):
            raise AssertionError("a fixed choice was made again")

    class Free(Backwards):
        calibration_size = 5
        offered = 0

        def calibrate(self, validation, *, candidates, seed=0, progress=None):
            self.offered = candidates.items.shape[1]

    split = leave_one_out(tiny_shop())
    free = Free()
    pipeline = Pipeline([Stage(Popular(), keep=9), Stage(Fixed(), keep=4), Stage(free)]).fit(split.train)
    pipeline.calibrate(split.validation)
    assert free.offered == 4, "calibration sees other candidates than ranking"


def test_the_seconds_of_each_stage_are_added_up():
    class Slow(Backwards):
        def score(self, queries):
            time.sleep(0.02)
            return super().score(queries)

    data = tiny_shop()
    pipeline = Pipeline([Stage(Popular(), keep=6), Stage(Slow())], fallback=Popular()).fit(data)
    seconds = [0.0, 5.0]
    timed = pipeline.rank_by_stage(data.queries(), 4, seconds=seconds)
    assert 0 < seconds[0] < 0.02 <= seconds[1] - 5.0
    plain = pipeline.rank_by_stage(data.queries(), 4)
    assert [ranking.items.tolist() for ranking in timed] == [ranking.items.tolist() for ranking in plain]


def shop_of(titles, log):
    items = pl.DataFrame({"item_id": [f"{title}-id" for title in titles], "title": titles})
    return Dataset.from_frames(
        pl.DataFrame([(user, f"{title}-id") for user, title in log], schema=["user_id", "item_id"], orient="row"), items
    )


GARDEN = ["garden hose green", "garden rake steel", "tea green", "tea black", "hammer steel"]
KITCHEN = ["tea white", "kettle steel", "tea cup", "hose clamp", "garden gnome", "tea jasmine"]


def kitchen():
    return shop_of(KITCHEN, [("x", KITCHEN[0]), ("y", KITCHEN[4])])


@pytest.mark.parametrize("favourite", GARDEN)
def test_a_shopper_of_another_shop_is_served_by_texts_and_the_old_shops_sales_play_no_part(favourite):
    garden = shop_of(GARDEN, [(f"u{user}", favourite) for user in range(9)])
    pipeline = Pipeline([Stage(TextKNN())], fallback=Popular()).fit(garden)
    notes = pipeline.transfer(kitchen().items)
    assert notes == [
        "fallback popular rests until the next fit: it cannot rank another catalogue; lists may be shorter",
    ]
    assert pipeline.transfer(kitchen().items) == notes and pipeline.fallback is None
    white, kettle, cup, _, gnome, jasmine = kitchen().items.numbers([f"{title}-id" for title in KITCHEN])
    lists = pipeline.rank(Queries.from_lists([[white], [gnome]], texts=["", "steel"]), 6).items
    assert set(lists[0, :2].tolist()) == {cup, jasmine}
    assert lists[1, 0] == kettle
    plain = Pipeline([Stage(TextKNN())]).fit(shop_of(GARDEN, [("u", GARDEN[0])]))
    assert plain.transfer(kitchen().items) == []
    assert plain.rank(Queries.from_lists([[white]]), 6).items.tolist() == lists[:1].tolist()


def test_all_stages_move_and_a_fallback_that_can_stays():
    def likes_cups(prompt, letter):
        return float("cup" in re.search(rf'^{letter.strip()}\. "(.*)"$', prompt.user, re.MULTILINE)[1])

    listwise = Listwise(lm=ScriptedChoiceLM(likes_cups), weight=1.0)
    garden = shop_of(GARDEN, [("u", GARDEN[0])])
    pipeline = Pipeline([Stage(TextKNN()), Stage(listwise)], fallback=Random()).fit(garden)
    assert pipeline.transfer(kitchen().items) == []
    assert pipeline.fallback is not None
    white, *_, jasmine = kitchen().items.numbers([f"{title}-id" for title in KITCHEN])
    lists = pipeline.rank(Queries.from_lists([[white], [jasmine], []]), 5)
    assert (lists.items[:2, 0] == kitchen().items.numbers(["tea cup-id"])).all()
    assert (lists.items >= 0).all(), "the fallback fills the shopper without history"


def test_the_fallback_is_back_after_the_next_fit():
    garden, fallback = shop_of(GARDEN, [("u", GARDEN[0])]), Popular()
    pipeline = Pipeline([Stage(TextKNN())], fallback=fallback).fit(garden)
    first = pipeline.rank(Queries.from_lists([[]]), 3).items.tolist()
    pipeline.transfer(kitchen().items)
    assert pipeline.rank(Queries.from_lists([[]]), 3).lengths.tolist() == [0]
    assert pipeline.fit(garden).fallback is fallback
    assert pipeline.rank(Queries.from_lists([[]]), 3).items.tolist() == first


def test_a_move_that_fails_half_way_leaves_every_stage_at_home():
    garden = shop_of(GARDEN, [("u", GARDEN[0])])
    pipeline = Pipeline([Stage(Random()), Stage(TextKNN())], fallback=Random()).fit(garden)
    question = Queries.from_lists([[1], []])
    before = pipeline.rank(question, 5).items.tolist()
    with pytest.raises(DataError, match="no item has a title"):
        pipeline.transfer(Entities.from_ids([f"x{item}" for item in range(50)]))
    assert all(part.items is garden.items for part in pipeline.parts.values())
    assert pipeline.rank(question, 5).items.tolist() == before


def test_a_stage_that_cannot_move_is_named_and_nothing_changes():
    garden = shop_of(GARDEN, [("u", GARDEN[0]), ("u", GARDEN[1])])
    pipeline = Pipeline([Stage(TextKNN()), Stage(Backwards())], fallback=Popular()).fit(garden)
    with pytest.raises(ConfigError, match=r"stage 1 \(backwards\): cannot rank .* text_knn, listwise"):
        pipeline.transfer(kitchen().items)
    assert pipeline.stages[0].recommender.items == pipeline.items == garden.items
    assert pipeline.fallback is not None
    assert issubclass(TextKNN, Transferable) and issubclass(Listwise, Transferable)
    with pytest.raises(NotFitted):
        Pipeline([Stage(TextKNN())]).transfer(kitchen().items)


def test_tuning_keeps_the_weights_of_what_is_fitted_anew():
    """It makes no choices on validation, so without them a blend would count all members alike."""
    split = leave_one_out(tiny_shop(users=80))
    blend = Blend(members=[Transitions(), Random()])
    pipeline = Pipeline([Stage(blend)], fallback=Popular()).fit(split.train)
    pipeline.calibrate(split.validation)
    weights = [member["weight"] for member in blend.report()["members"]]
    assert len(set(weights)) > 1
    before = pipeline.rank(split.test.queries, 5).items.tolist()
    assert pipeline.tune(split.refit) == ["blend", "popular"]
    assert [member["weight"] for member in blend.report()["members"]] == weights
    assert pipeline.rank(split.test.queries, 5).items.tolist() != before, "the counts are those of the new log"
