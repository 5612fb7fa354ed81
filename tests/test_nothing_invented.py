"""Zero invented products in every path: whatever a language model says, lists hold what was offered, once."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import test_contract
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tastemaker import probes, registry
from tastemaker.abilities import Transferable
from tastemaker.data import Queries, Ranking
from tastemaker.errors import LanguageModelError
from tastemaker.lm.base import Completion, LikelihoodModel, Usage
from tastemaker.models.collaborative.popular import Popular
from tastemaker.models.llm.listwise import Listwise
from tastemaker.pipeline import Pipeline, Stage
from tastemaker.testing import GARBLED, checkerboard, tiny_shop

SHOP, OTHER = tiny_shop(), checkerboard()
WORDS = [
    "A",
    "B",
    "C,",
    "Z",
    "1",
    "27",
    "yes",
    "no",
    "i001",
    "soap number 4",
    "number 99",
    ":",
    "\n",
    '"',
    "{",
    "]",
    "-1",
]


class Garbage:
    """A language model that says anything at all, and fails now and then: a `LikelihoodModel`."""

    name = fingerprint = "garbage"
    context = 4096

    def __init__(self) -> None:
        self.usage = Usage()
        self.rng = np.random.default_rng(0)

    def _may_fail(self):
        if self.rng.random() < 0.15:
            raise LanguageModelError("down")

    def generate(self, prompts, *, max_tokens, stop=(), seed=0):
        self._may_fail()
        return [Completion(self._text(), 1, 1) for _ in prompts]

    def _text(self):
        if self.rng.random() < 0.5:
            return str(self.rng.choice(GARBLED))
        return " ".join(self.rng.choice(WORDS, self.rng.integers(0, 30)))

    def _values(self, size):
        values = self.rng.normal(-5, 4, size).astype(np.float32)
        kind = self.rng.integers(0, 5)
        if kind == 0:
            values[:] = -np.inf
        elif kind == 1:
            values[self.rng.random(size) < 0.5] = -np.inf
        elif kind == 2:
            values[self.rng.random(size) < 0.5] = np.nan
        return values

    def next_token(self, prompts, choices):
        self._may_fail()
        return self._values((len(prompts), len(choices)))

    def loglikelihood(self, prompts, continuations):
        self._may_fail()
        return [self._values(len(texts)) for texts in continuations]

    def count_tokens(self, text):
        return len((text if isinstance(text, str) else text.user).split())


READS_WEIGHTS = {"hybrid"}
"""Models that run the layers of a language model, which says nothing."""


def with_garbage(recommender):
    """Give every language model inside the voice of `Garbage`."""
    for part in getattr(recommender, "parts", {}).values():
        with_garbage(part)
    if "lm" in recommender.takes and recommender.name not in READS_WEIGHTS:
        recommender.lm = Garbage()
    return recommender


ASKING = {
    "listwise titles": {"mode": "titles"},
    "listwise lists": {"mode": "generate"},
    "listwise profiles": {"profile": "lm", "chain_of_thought": True},
    "listwise windows": {"candidates": 30, "window": 6, "step": 3, "orders": 1},
}
"""Further ways in which the listwise ranker asks."""


def made(name: str):
    if name in ASKING:
        return Listwise(lm=Garbage(), weight=1.0, **ASKING[name])
    return with_garbage(test_contract.contract_of(name)().make())


@cache
def fitted(name: str):
    return made(name).fit(SHOP)


@cache
def moved(name: str):
    """The model after it went over to another shop; None where it cannot."""
    if not isinstance(made(name), Transferable):
        return None
    model = made(name).fit(SHOP)
    try:
        model.transfer(OTHER.items)
    except Exception as error:
        assert "cannot rank another catalogue" in str(error)
        return None
    return model


def reseeded(model, seed):
    for part in [model, *getattr(model, "parts", {}).values()]:
        if isinstance(part.lm, Garbage):
            part.lm.rng = np.random.default_rng(seed)


def questions(data, n):
    histories = data.draw(st.lists(st.lists(st.integers(0, n - 1), max_size=6), min_size=1, max_size=3))
    wishes = data.draw(st.none() | st.lists(st.text(max_size=12), min_size=len(histories), max_size=len(histories)))
    return Queries.from_lists(histories, texts=wishes)


def offers(data, queries, n):
    width = data.draw(st.integers(1, 24))
    rows = [np.array(data.draw(st.permutations(range(n)))[:width], dtype=np.int32) for _ in range(len(queries))]
    items = np.full((len(rows), width), -1, dtype=np.int32)
    for row, own in enumerate(rows):
        items[row, : len(own)] = own
    scores = np.where(items < 0, -np.inf, -np.arange(width)).astype(np.float32)
    return Ranking(items, scores)


def sound(ranking, queries, n, *, seen, candidates=None):
    found = probes.audit(ranking, queries, n, masking=not seen, candidates=candidates)
    wrong = {key: count for key, count in found.items() if count and key != "short lists"}
    assert not wrong, wrong


NAMES = [*registry.names(), *ASKING]
QUICK = settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", NAMES)
@QUICK
@given(data=st.data())
def test_lists_hold_what_was_offered(name, data):
    """With candidates only they are listed, without them products of the catalogue, each once, none of the history."""
    model = fitted(name)
    reseeded(model, data.draw(st.integers(0, 1 << 30)))
    queries, seen, k = questions(data, SHOP.n_items), data.draw(st.booleans()), data.draw(st.integers(1, 50))
    candidates = offers(data, queries, SHOP.n_items)
    sound(
        model.rank(queries, k, candidates=candidates, seen=seen),
        queries,
        SHOP.n_items,
        seen=seen,
        candidates=candidates,
    )
    if model.retrieves:
        sound(model.rank(queries, k, seen=seen), queries, SHOP.n_items, seen=seen)


@pytest.mark.parametrize("name", NAMES)
@QUICK
@given(data=st.data())
def test_nor_after_a_move_to_another_shop(name, data):
    model = moved(name)
    if model is None:
        return
    reseeded(model, data.draw(st.integers(0, 1 << 30)))
    queries, k = questions(data, OTHER.n_items), data.draw(st.integers(1, 30))
    candidates = offers(data, queries, OTHER.n_items)
    sound(model.rank(queries, k, candidates=candidates), queries, OTHER.n_items, seen=False, candidates=candidates)
    if model.retrieves:
        sound(model.rank(queries, k), queries, OTHER.n_items, seen=False)


@pytest.mark.parametrize("name", [name for name in NAMES if "lm" in made(name).takes])
@QUICK
@given(data=st.data())
def test_a_pipeline_loses_and_invents_nothing(name, data):
    """Behind a retriever every list is as long as without the model, and holds the same offers."""
    pipeline = Pipeline([Stage(Popular(), keep=15), Stage(fitted(name))])
    pipeline.stages[0].recommender.fit(SHOP)
    pipeline._items = SHOP.items
    reseeded(fitted(name), data.draw(st.integers(0, 1 << 30)))
    queries = questions(data, SHOP.n_items)
    ranking = pipeline.rank(queries, 15)
    alone = pipeline.stages[0].recommender.rank(queries, 15)
    sound(ranking, queries, SHOP.n_items, seen=False, candidates=alone)
    assert ranking.lengths.tolist() == alone.lengths.tolist()


def test_garbage_is_every_kind_of_model():
    assert isinstance(Garbage(), LikelihoodModel)
