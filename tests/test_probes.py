"""Probes of trust: each finds what is planted, and nothing where all is well."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from tastemaker import probes
from tastemaker.data import Dataset, Queries, Ranking
from tastemaker.errors import DataError, LanguageModelError
from tastemaker.explain import Explainer
from tastemaker.lm.scripted import ScriptedLM
from tastemaker.models.collaborative.popular import Popular
from tastemaker.models.collaborative.transitions import Transitions
from tastemaker.models.llm.listwise import Listwise
from tastemaker.pipeline import Pipeline, Stage
from tastemaker.probes.language_models import _tau
from tastemaker.recommender import Recommender
from tastemaker.testing import tiny_shop


def lists(rows):
    items = np.array(rows, dtype=np.int32)
    scores = np.where(items < 0, -np.inf, -np.arange(items.shape[1])).astype(np.float32)
    return Ranking(items, scores)


class TestAudit:
    def test_each_fault_is_counted_and_nothing_else(self):
        queries = Queries.from_lists([[0], [1, 1, 2], [], [3]])
        ranking = lists([[1, 2, 3], [1, 2, 1], [7, 8, -2], [0, -1, -1]])
        assert probes.audit(ranking, queries, 8, masking=True) == {
            "invalid ids": 2,
            "repeated items": 1,
            "items of the history": 3,
            "short lists": 2,
        }
        assert probes.audit(ranking, queries, 8, masking=False)["items of the history"] == 0

    def test_a_list_that_holds_all_there_is_is_not_short(self):
        queries = Queries.from_lists([[0, 0, 1], [0]])
        ranking = lists([[2, 3, -1, -1], [2, 3, -1, -1]])
        assert probes.audit(ranking, queries, 4, masking=True)["short lists"] == 1
        assert probes.audit(ranking, queries, 4, masking=False)["short lists"] == 2

    def test_what_was_not_offered_is_named(self):
        queries = Queries.from_lists([[0], [0]])
        offered = lists([[0, 1, 2], [3, 4, -1]])
        found = probes.audit(lists([[1, 3], [3, -1]]), queries, 5, masking=True, candidates=offered)
        assert found["out of candidates"] == 1
        assert found["short lists"] == 1

    @given(st.data())
    @settings(max_examples=60, deadline=None)
    def test_it_counts_as_a_slow_loop_does(self, data):
        n, size, k = data.draw(st.integers(1, 6)), data.draw(st.integers(0, 5)), data.draw(st.integers(1, 5))
        numbers = st.lists(st.integers(-2, n + 1), min_size=k, max_size=k)
        items = np.array([data.draw(numbers) for _ in range(size)], np.int32).reshape(size, k)
        ranking = Ranking(items, np.zeros(items.shape, np.float32))
        queries = Queries.from_lists(data.draw(st.lists(st.integers(0, n - 1), max_size=5)) for _ in range(size))
        offered = np.array([data.draw(st.permutations(range(n)))[:3] for _ in range(size)], np.int32)
        offered = Ranking(offered.reshape(size, min(n, 3)), np.zeros((size, min(n, 3)), np.float32))
        found = probes.audit(ranking, queries, n, masking=True, candidates=offered)
        sound = [[item for item in row if 0 <= item < n] for row in items.tolist()]
        histories, given_ = [set(history.tolist()) for history in queries], [set(row) for row in offered.items.tolist()]
        pairs = list(zip(sound, histories, given_, strict=True))
        assert found == {
            "invalid ids": sum(item >= n or item < -1 for row in items.tolist() for item in row),
            "repeated items": sum(len(row) - len(set(row)) for row in sound),
            "items of the history": sum(item in history for row, history, _ in pairs for item in row),
            "short lists": sum(
                sum(item >= 0 for item in row) < min(k, len(possible - history))
                for row, (_, history, possible) in zip(items.tolist(), pairs, strict=True)
            ),
            "out of candidates": sum(item not in possible for row, _, possible in pairs for item in row),
        }

    def test_lists_of_other_queries_are_refused(self):
        with pytest.raises(DataError, match="2 lists for 1 histories"):
            probes.audit(lists([[1], [2]]), Queries.from_lists([[0]]), 5, masking=True)


class Judge:
    """Gives each offered item the score that a function of item and place says; None abstains on the whole row."""

    def __init__(self, opinion):
        self.opinion = opinion
        self.asked = 0

    def own_order(self, queries, candidates):
        self.asked += len(queries)
        answers = []
        for row, items in enumerate(candidates.items):
            scores = [self.opinion(row, int(item), place) for place, item in enumerate(items)]
            best = np.argsort([0 if score is None else -score for score in scores], kind="stable")
            answers.append((items[best], [scores[place] for place in best]))
        silent = np.array([[score is None for score in scores] for _, scores in answers])
        values = np.array([[-np.inf if score is None else score for score in scores] for _, scores in answers])
        return Ranking(
            np.where(silent, -1, np.stack([items for items, _ in answers])).astype(np.int32), values.astype(np.float32)
        )


class TestOrderSensitivity:
    queries = Queries.from_lists([[0]] * 60)
    offered = lists([np.random.default_rng(row).permutation(np.arange(1, 21)) for row in range(60)])

    def test_a_judge_with_a_taste_is_steady(self):
        found = probes.order_sensitivity(Judge(lambda row, item, place: item), self.queries, self.offered, seed=0)
        assert (found["asked"], found["answered"], found["share_answered"]) == (60, 60, 1.0)
        for measure in ("kendall_tau", "overlap@1", "overlap@5"):
            assert found[measure] == {"value": 1.0, "low": 1.0, "high": 1.0}

    def test_a_judge_of_places_is_not(self):
        judge = Judge(lambda row, item, place: -place)
        found = probes.order_sensitivity(judge, self.queries, self.offered, seed=0)
        assert judge.asked == 120
        assert found["kendall_tau"]["low"] < 0.05
        assert found["kendall_tau"]["high"] < 0.2
        assert found["overlap@1"]["value"] < 0.2
        assert found["overlap@5"]["value"] < 0.45, "five of twenty at random share a quarter"

    def test_silence_and_indifference_are_no_answers(self):
        def opinion(row, item, place):
            return None if row % 3 == 0 else 1.0 if row % 3 == 1 else item

        found = probes.order_sensitivity(Judge(opinion), self.queries, self.offered, seed=0)
        assert (found["asked"], found["answered"]) == (60, 20)
        assert found["kendall_tau"]["value"] == 1.0
        none = probes.order_sensitivity(Judge(lambda *_: None), self.queries, self.offered, seed=0)
        assert none["kendall_tau"] is none["overlap@1"] is none["overlap@5"] is None

    def test_short_lists_have_no_overlap_at_five(self):
        offered = lists([[1, 2, 3, 4, 5]])
        found = probes.order_sensitivity(
            Judge(lambda row, item, place: item), Queries.from_lists([[]]), offered, seed=0
        )
        assert found["overlap@5"] is None
        assert found["overlap@1"]["value"] == 1.0

    @given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=12))
    def test_tau_is_kendalls(self, pairs):
        first, second = np.array(pairs, dtype=np.float32).T
        wanted = kendalltau(first, second).statistic
        found = _tau(first, second)
        assert (found is None) == bool(np.isnan(wanted))
        if found is not None:
            assert found == pytest.approx(wanted, abs=1e-6)


class TestLanguageModels:
    def test_each_fate_of_a_question_is_counted(self):
        """Five queries: a good list, one with faults, one unreadable, an error, and one with nothing to choose."""
        lm = ScriptedLM(["B, A", "C, Z, C", "no idea", LanguageModelError("down")])
        data = tiny_shop()
        pipeline = Pipeline([Stage(Popular(), keep=4), Stage(Listwise(lm=lm, weight=1.0, mode="generate"))]).fit(data)
        everything = list(range(data.n_items))
        pipeline.rank(Queries.from_lists([[1], [2], [3], [4], everything]), 4)
        [found] = probes.language_models(pipeline, 5)
        assert found == {
            "stage": 1,
            "model": "listwise",
            "asked": 5,
            "answered": 2,
            "parse failures": 1,
            "other failures": 1,
            "out of candidates": 1,
            "repeated": 1,
            "fallback rate": pytest.approx(0.6),
        }

    def test_what_came_before_does_not_count(self):
        lm = ScriptedLM(["no idea", "A, B", "B, A"])
        pipeline = Pipeline([Stage(Popular(), keep=4), Stage(Listwise(lm=lm, weight=1.0, mode="generate"))])
        pipeline.fit(tiny_shop())
        pipeline.rank(Queries.from_lists([[1], [2]]), 4)
        before = probes.counts_of(pipeline)
        pipeline.rank(Queries.from_lists([[3]]), 4)
        [found] = probes.language_models(pipeline, 1, since=before)
        assert (found["asked"], found["answered"], found["parse failures"], found["fallback rate"]) == (1, 1, 0, 0.0)

    def test_a_model_that_is_never_asked_falls_back_always(self):
        pipeline = Pipeline([Stage(Popular()), Stage(Listwise(lm=ScriptedLM(), weight=0.0))]).fit(tiny_shop())
        pipeline.rank(Queries.from_lists([[1]]), 4)
        [found] = probes.language_models(pipeline, 1)
        assert (found["answered"], found["fallback rate"]) == (0, 1.0)
        assert probes.language_models(Pipeline([Stage(Popular())]).fit(tiny_shop()), 1) == []


class Successors(Recommender):
    """Wants the product after each one in the history, the newest most, and cites what `blames` says."""

    name = "successors"
    because = "comes after"

    def __init__(self, *, truthful=True):
        super().__init__()
        self.truthful = truthful

    def learn(self, train, *, seed, progress):
        """Learn nothing."""

    def score(self, queries):
        scores = np.tile(-np.arange(len(self.items), dtype=np.float32), (len(queries), 1))
        for row, history in enumerate(queries):
            scores[row, (history + 1) % len(self.items)] = 1000.0 + np.arange(len(history))
        return scores

    def contributions(self, history, item):
        right = (history + 1) % len(self.items) == item
        return np.where(right if self.truthful else ~right, 1.0, 0.0).astype(np.float32)


class Blaming(Popular):
    """Ranks by popularity and says that the first two purchases brought everything about."""

    name = "blaming"
    because = "like"

    def contributions(self, history, item):
        return np.array([1.0, 0.5] + [0.0] * (len(history) - 2), dtype=np.float32)


@pytest.fixture
def shop():
    log = pl.DataFrame(
        [(f"u{user}", f"i{item:02}") for user in range(20) for item in range(20 - user)],
        schema=["user_id", "item_id"],
        orient="row",
    )
    return Dataset.from_frames(log, pl.DataFrame({"item_id": [f"i{item:02}" for item in range(40)]}))


class TestCounterfactual:
    histories = Queries.from_lists([[10 + 3 * row, 12 + row, 5, 30] for row in range(5)])

    def found(self, shop, model, queries=histories, k=1, **more):
        pipeline = Pipeline([Stage(model)]).fit(shop)
        ranking = pipeline.rank(queries, k)
        return probes.counterfactual(pipeline, Explainer(pipeline), queries, ranking, **{"seed": 0, **more})

    def test_a_true_reason_makes_the_item_fall_and_the_control_does_not(self, shop):
        found = self.found(shop, Successors())
        assert (found["asked"], found["tested"], found["sources"]) == (5, 5, {"successors": 5})
        assert found["fell"]["value"] == found["difference"]["value"] == 1.0
        assert found["control_fell"]["value"] == found["control_rank_change"]["value"] == 0.0
        assert found["rank_change"]["value"] > 20, "product 31 is one of the last without its reason"

    def test_the_places_lost_are_counted_to_the_depth(self, shop):
        found = self.found(shop, Successors(), depth=7)
        assert found["rank_change"] == {"value": 7.0, "low": 7.0, "high": 7.0}

    def test_a_false_reason_is_found_out(self, shop):
        found = self.found(shop, Successors(truthful=False))
        assert found["tested"] == 5
        assert found["fell"]["value"] == 0.0

    def test_a_removed_product_does_not_push_the_item_down(self, shop):
        """The cited products 0 and 1 are the most popular: they would lead the new list."""
        found = self.found(shop, Blaming(), Queries.from_lists([[0, 1, 2, 3, 4, 5]] * 3), k=3)
        assert found["tested"] == 3
        for measure in ("fell", "control_fell", "rank_change", "control_rank_change"):
            assert found[measure]["value"] == 0.0, measure

    def test_what_cannot_be_tested_is_counted(self, shop):
        found = self.found(shop, Blaming(), Queries.from_lists([[0, 1, 2], [0], []]), k=2)
        assert (found["asked"], found["without a control"], found["tested"]) == (1, 1, 0)
        assert found["fell"] is found["difference"] is None
        popular = self.found(shop, Popular(), k=2)
        assert (popular["asked"], popular["cites no purchase"], popular["tested"]) == (5, 5, 0), "one a shopper"

    def test_asked_and_seconds_are_limits_and_the_same_seed_is_the_same_answer(self, shop):
        assert self.found(shop, Successors(), k=2, asked=3)["asked"] == 3
        assert self.found(shop, Successors(), seconds=0.0)["asked"] == 0
        model = Transitions()
        assert self.found(shop, model, k=4) == self.found(shop, model, k=4)

    def test_places_beyond_the_depth_are_not_looked_at(self, shop):
        found = self.found(shop, Blaming(), Queries.from_lists([[0, 1, 2, 3, 4, 5]]), k=9, depth=4)
        assert (found["asked"], found["depth"]) == (1, 4)
        assert found["rank_change"]["value"] == 0.0


class TestGrounding:
    def test_reasons_with_and_without_evidence(self, shop):
        pipeline = Pipeline([Stage(Successors())]).fit(shop)
        queries = Queries.from_lists([[5, 9]])
        ranking = lists([[6, 10, 20, 21]])
        found = probes.grounding(Explainer(pipeline), queries, ranking)
        assert found == {
            "asked": 4,
            "grounded": 2,
            "share_grounded": 0.5,
            "by_kind": {"history": 0.5},
            "sentences": None,
        }

    def test_sentences_that_failed_the_check(self, shop):
        pipeline = Pipeline([Stage(Successors())]).fit(shop)
        lm = ScriptedLM(['Comes after "item i05".', "The best ever made.", 'You had "item i99".'])
        explainer = Explainer(pipeline, lm=lm)
        explainer.counts["kept"] = 7  # from earlier, not of this probe
        found = probes.grounding(explainer, Queries.from_lists([[5]] * 3), lists([[6]] * 3))
        assert found["grounded"] == 3
        assert found["sentences"] == {
            "written": 3,
            "kept": 1,
            "share_kept": pytest.approx(1 / 3),
            "dropped": {"cites no evidence": 1, "unknown product": 1},
        }

    def test_limits(self, shop):
        pipeline = Pipeline([Stage(Popular())]).fit(shop)
        queries, explainer = Queries.from_lists([[0]] * 9), Explainer(pipeline)
        ranking = pipeline.rank(queries, 5)
        assert probes.grounding(explainer, queries, ranking, asked=7)["asked"] == 7
        assert probes.grounding(explainer, queries, ranking)["asked"] == 45
        nothing = probes.grounding(explainer, queries, ranking, seconds=0.0)
        assert (nothing["asked"], nothing["share_grounded"]) == (0, None)
