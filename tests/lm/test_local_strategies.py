"""Prompting strategies over a real tokenizer with a short context: a tiny random model of the packaged one's kind."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tastemaker.data import Dataset, Queries, Ranking
from tastemaker.data.entities import Entities
from tastemaker.lm.local import LocalLM
from tastemaker.models.llm.listwise import Listwise
from tastemaker.testing import tiny_shop

OFFERED = Ranking(np.array([[30, 31, 32]], np.int32), np.array([[3, 2, 1]], np.float32))


class Counting:
    """A language model that keeps how long its prompts were."""

    def __init__(self, lm):
        self.lm, self.name, self.fingerprint, self.usage = lm, lm.name, lm.fingerprint, lm.usage
        self.context, self.lengths = lm.context, []

    def count_tokens(self, text):
        return self.lm.count_tokens(text)

    def generate(self, prompts, **settings):
        self.lengths += [self.lm.count_tokens(prompt) for prompt in prompts]
        return self.lm.generate(prompts, **settings)

    def next_token(self, prompts, choices):
        self.lengths += [self.lm.count_tokens(prompt) for prompt in prompts]
        return self.lm.next_token(prompts, choices)

    def loglikelihood(self, prompts, continuations):
        self.lengths += [self.lm.count_tokens(prompt) for prompt in prompts]
        return self.lm.loglikelihood(prompts, continuations)


@pytest.mark.parametrize("mode", ["likelihood", "titles"])
def test_examples_and_history_give_way_until_the_prompt_fits(lm, mode):
    counting = Counting(lm)
    settings = {"profile": "none", "template": "plain", "orders": 2, "listed": 3, "demonstrations": 6}
    model = Listwise(lm=counting, weight=1.0, mode=mode, **settings).fit(tiny_shop(users=200))
    ranking = model.rank(Queries.from_lists([list(range(1, 25))]), 3, candidates=OFFERED)
    assert sorted(ranking.items[0].tolist()) == [30, 31, 32]
    counts = model.report()["counts"]
    assert "failed: LanguageModelError" not in counts
    assert counts["shortened to the context"] == 1
    assert max(counting.lengths) < lm.context


@pytest.mark.parametrize("mode", ["generate", "titles"])
def test_a_long_answer_finds_room_too(make_model, mode):
    """Twenty-six letters, or a title of eighty letters of three bytes each, are more than the least room."""
    data, numbers = tiny_shop(), np.arange(10, 36, dtype=np.int32)
    titles = pl.col("title").str.replace("^.* ", "") + "\u8336" * 70
    data = Dataset(data.users, Entities(data.items.frame.with_columns(titles)), data.log)
    settings = {"mode": mode, "candidates": 26, "listed": 26, "profile": "none", "orders": 1, "weight": 1.0}
    offered = Ranking(numbers[None], -numbers.astype(np.float32)[None])

    def asked(context):
        lm = Counting(LocalLM(str(make_model(context=context))))
        model = Listwise(lm=lm, **settings).fit(data)
        model.rank(Queries.from_lists([[1, 2, 3, 4]]), 26, candidates=offered)
        return lm.lengths[0], model.report()["counts"]

    length, _ = asked(32_768)
    _, counts = asked(length + (70 if mode == "generate" else 100))  # less than prompt and answer may take
    assert counts["shortened to the context"] == 1
    assert "failed: LanguageModelError" not in counts


def test_a_question_that_cannot_be_shortened_enough_is_a_counted_failure(lm):
    many = Ranking(np.arange(10, 36, dtype=np.int32)[None], -np.arange(26, dtype=np.float32)[None])
    model = Listwise(lm=lm, weight=1.0, candidates=26).fit(tiny_shop())
    ranking = model.rank(Queries.from_lists([[1, 2]]), 26, candidates=many)
    assert ranking.items.tolist() == many.items.tolist()
    assert model.report()["counts"] == {"shortened to the context": 1, "failed: LanguageModelError": 1}
    windowed = Listwise(lm=lm, weight=1.0, candidates=26, window=3, step=2, profile="none", template="plain")
    ranking = windowed.fit(tiny_shop()).rank(Queries.from_lists([[1]]), 26, candidates=many)
    assert sorted(ranking.items[0].tolist()) == list(range(10, 36))
    assert windowed.report()["counts"] == {"answered": 13, "further windows": 12}


def test_what_a_random_model_thinks_is_survived(lm):
    """Intents and profiles of a model that writes noise."""
    model = Listwise(lm=lm, weight=1.0, chain_of_thought=True, profile="lm", template="plain", orders=1)
    model.fit(tiny_shop())
    ranking = model.rank(Queries.from_lists([[3], []]), 3, candidates=Ranking.stack([OFFERED, OFFERED], 3))
    assert [sorted(row) for row in ranking.items.tolist()] == [[30, 31, 32]] * 2
    said = model.report()
    assert said["counts"]["answered"] == 2
    assert said["intents_failed"] + said["intents_unreadable"] <= 2
