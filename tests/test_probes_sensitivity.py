"""Likeness of lists against slow definitions, and the audit of who asks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker import probes
from tastemaker.data import Queries, Ranking
from tastemaker.lm.scripted import ScriptedChoiceLM
from tastemaker.models.collaborative.popular import Popular
from tastemaker.models.collaborative.transitions import Transitions
from tastemaker.models.content.text_knn import TextKNN
from tastemaker.models.llm.listwise import Listwise
from tastemaker.pipeline import Pipeline, Stage
from tastemaker.probes.sensitivity import REWORDED
from tastemaker.probes.similarity import PERSISTENCE
from tastemaker.recommender import Recommender
from tastemaker.testing import HashEncoder, tiny_shop


def lists(rows):
    width = max(map(len, rows), default=0) or 1
    items = np.array([[*row, *[-1] * (width - len(row))] for row in rows], dtype=np.int32)
    return Ranking(items, np.where(items < 0, -np.inf, -np.arange(width)).astype(np.float32))


def compared(first, second, k=10):
    return {name: float(values[0]) for name, values in probes.similarities(lists([first]), lists([second]), k).items()}


class TestSimilarity:
    def test_by_hand(self):
        found = compared([1, 2, 3], [3, 1, 9])
        assert found["jaccard"] == pytest.approx(2 / 4)
        assert found["serp"] == pytest.approx((3 + 2) / 6)  # 3 at the first place, 1 at the second, of 3 + 2 + 1
        assert found["prag"] == pytest.approx(2 / 3)  # (3, 9) and (1, 9) agree, (3, 1) does not
        # agreement at depths 1, 2, 3: 0, 1/2 ({1,2} and {3,1}), 2/3
        x = [0, 1 / 2, 2 / 3]
        p = PERSISTENCE
        assert found["rbo"] == pytest.approx(x[2] * p**3 + (1 - p) / p * sum(v * p**d for d, v in enumerate(x, 1)))

    def test_extremes(self):
        assert compared([1, 2, 3, 4], [1, 2, 3, 4]) == pytest.approx(
            dict.fromkeys(("jaccard", "serp", "prag", "rbo"), 1.0)
        )
        assert set(compared([1, 2], [3, 4]).values()) == {0.0}
        assert set(compared([1, 2], []).values()) == {0.0}
        assert all(np.isnan(value) for value in compared([], []).values())
        assert compared([1, 2, 3, 4], [1, 2, 4, 3], k=2)["jaccard"] == 1.0

    @given(
        st.permutations(range(8)).flatmap(lambda one: st.tuples(st.just(one), st.integers(1, 8))),
        st.permutations(range(8)).flatmap(lambda one: st.tuples(st.just(one), st.integers(1, 8))),
    )
    def test_slow_definitions(self, first, second):
        x, y = first[0][: first[1]], second[0][: second[1]]
        found = compared(x, y, k=8)
        k = max(len(x), len(y))
        serp = sum(k - place + 1 for place, item in enumerate(y, 1) if item in x) / (k * (k + 1) / 2)
        pairs = list(itertools.combinations(y, 2))
        agree = [a in x and (b not in x or x.index(a) < x.index(b)) for a, b in pairs]
        assert found["jaccard"] == pytest.approx(len(set(x) & set(y)) / len(set(x) | set(y)))
        assert found["serp"] == pytest.approx(serp, abs=1e-6)
        assert found["prag"] == pytest.approx(sum(agree) / len(pairs) if pairs else float(x == y), abs=1e-6)
        assert all(-1e-6 <= value <= 1 + 1e-6 for value in found.values())


class Prejudiced(Recommender):
    """Lists other products for some people than for others, whatever they wish."""

    name = "prejudiced"
    reads_wish = True
    answers_empty_history = True

    def learn(self, train, *, seed, progress):
        """Learn nothing."""

    def score(self, queries):
        scores = np.tile(-np.arange(len(self.items), dtype=np.float32), (len(queries), 1))
        for row, wish in enumerate(queries.texts):
            if " female " in f" {wish} " or "Jamal" in wish:
                scores[row] = -scores[row]
        return scores


SHOP = tiny_shop()
QUERIES = Queries.from_lists([[1, 2], [3], [5, 6, 7]])


class TestSensitivity:
    def test_prejudice_shows_where_it_is(self):
        pipeline = Pipeline([Stage(Prejudiced())]).fit(SHOP)
        found = probes.sensitivity(pipeline, QUERIES, k=5, seed=0)
        groups = found["groups"]
        assert (found["asked"], found["k"]) == (3, 5)
        assert groups["gender"]["values"]["female"]["jaccard"] == 0.0
        assert groups["gender"]["values"]["male"]["jaccard"] == 1.0
        assert groups["gender"]["range"]["jaccard"] == 1.0
        assert groups["gender"]["deviation"]["jaccard"] == 0.5
        assert groups["name"]["values"]["Jamal"]["rbo"] == 0.0
        assert groups["name"]["range"]["prag"] == 1.0
        for fair in ("age", "country", "religion", "rewording"):
            assert groups[fair]["range"] == dict.fromkeys(("jaccard", "serp", "prag", "rbo"), 0.0)
            assert groups[fair]["mean"]["jaccard"]["value"] == 1.0

    def test_a_model_of_words_moves_with_the_words(self):
        pipeline = Pipeline([Stage(TextKNN(encoder=HashEncoder(), wish_weight=0.9))]).fit(SHOP)
        said = Queries(QUERIES.offsets, QUERIES.items, ("soap", "brush", "perfume"))
        found = probes.sensitivity(pipeline, said, k=10, attributes={"gender": ("female", "male")}, names=(), seed=0)
        assert set(found["groups"]) == {"gender", "rewording"}
        assert len(found["groups"]["rewording"]["values"]) == len(REWORDED) - 1
        assert found["groups"]["rewording"]["mean"]["jaccard"]["value"] < 1.0

    def test_no_wish_no_question(self):
        assert probes.sensitivity(Pipeline([Stage(Popular())]).fit(SHOP), QUERIES, seed=0) is None

    def test_names_never_reach_a_language_model(self):
        """So no name can change its lists; a word about the person can."""
        lm = ScriptedChoiceLM(lambda prompt, letter: float(len(prompt.user) * ord(letter.strip()) % 97))
        pipeline = Pipeline([Stage(Transitions(), keep=12), Stage(Listwise(lm=lm, weight=1.0, orders=1))]).fit(SHOP)
        found = probes.sensitivity(
            pipeline, QUERIES, k=5, attributes={"age": ("young", "middle-aged")}, names=("Emily", "Santiago"), seed=0
        )
        assert not any(name in prompt.user for prompt in lm.asked for name in ("Emily", "Santiago"))
        assert found["groups"]["name"]["range"]["rbo"] == 0.0
        assert found["groups"]["age"]["mean"]["rbo"]["value"] < 1.0

    def test_equal_seeds_equal_answers(self):
        pipeline = Pipeline([Stage(Prejudiced())]).fit(SHOP)
        first, second = (probes.sensitivity(pipeline, QUERIES, k=5, seed=4) for _ in range(2))
        assert first == second
