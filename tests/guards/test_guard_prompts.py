"""Prompts that name the target are refused, whatever they call it; nothing is asked or spent."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import polars as pl
import pytest
from guard_shops import (
    titled,
)

from tastemaker import guards
from tastemaker.data import Dataset, Entities
from tastemaker.data.splits import leave_one_out
from tastemaker.data.splits.variants import renumbered, without_repeats
from tastemaker.errors import DataError, LeakError
from tastemaker.lm.base import Prompt
from tastemaker.models.collaborative.popular import Popular
from tastemaker.models.llm.listwise import Listwise
from tastemaker.pipeline import Pipeline, Stage
from tastemaker.testing import ScriptedChoiceLM, tiny_shop


class Leaky(Listwise):
    """A ranker whose prompts name what the shopper buys next."""

    secrets: ClassVar[dict[int, str]] = {}

    def _written(self):
        return Telling(super()._written(), self.secrets)


class Telling:
    """A writer of questions that tells a secret as each shopper's wish."""

    def __init__(self, writer, secrets):
        self.writer, self.secrets = writer, secrets

    def profiles(self, histories):
        return self.writer.profiles(histories)

    def report(self):
        return self.writer.report()

    def write(self, queries, shown, *, choosing=False):
        questions = self.writer.write(queries, shown, choosing=choosing)
        return [
            replace(question, wish=self.secrets.get(int(user), ""))
            for question, user in zip(questions, queries.users, strict=True)
        ]


def asking(model, data, **settings):
    lm = ScriptedChoiceLM(lambda prompt, text: 0.0)
    return Pipeline([Stage(Popular(), keep=10), Stage(model(lm=lm, **settings))]).fit(data), lm


@pytest.mark.parametrize(
    "settings", [{"weight": 0.5}, {"weight": 0.5, "mode": "titles"}, {"weight": 0.5, "mode": "generate"}, {}]
)
def test_honest_prompts_pass_and_nothing_is_spent(settings):
    split = leave_one_out(titled())
    pipeline, lm = asking(Listwise, split.train, **settings)
    before = pipeline.stages[1].recommender.report()
    facts = guards.check_prompts(pipeline, split)
    assert facts["prompts_read"] >= 20
    assert facts["targets_checkable"] == facts["targets_looked_for"] > 10
    assert (lm.asked, lm.usage.calls) == ([], 0)
    assert pipeline.stages[1].recommender.report() == before
    assert pipeline.stages[1].recommender.lm is lm


@pytest.mark.parametrize(("part", "settings"), [("test", {"weight": 0.5}), ("validation", {})])
def test_prompts_that_name_the_target(part, settings):
    split = leave_one_out(titled())
    pipeline, _ = asking(Leaky, split.train, **settings)
    titles, holdout = split.train.items.frame["title"].to_list(), getattr(split, part)
    pipeline.stages[1].recommender.secrets = {
        int(user): titles[targets[0]] for user, targets in zip(holdout.who(), holdout.targets, strict=True)
    }
    with pytest.raises(LeakError, match=f"prompts of listwise name {part} targets"):
        guards.check_prompts(pipeline, split)


def four_words(n):
    """Four made-up words for each of n products."""
    rng = np.random.default_rng(0)
    starts, ends = ("ba", "de", "fi", "go", "hu", "ka", "le", "mi", "no"), ("lon", "mar", "nis", "pet", "qua", "rit")
    words = [start + end for start in starts for end in ends]
    places = ("first", "second", "third", "fourth")
    return [dict(zip(places, rng.choice(words, 4, replace=False), strict=True)) for _ in range(n)]


@pytest.mark.parametrize(
    ("title", "secret"),
    [
        ("soap{}", "{title}"),  # short
        ("Hand-made {word} No. {}, large", "{id}"),
        ("", "{id}"),
        ("{first} {second} {third} {fourth}", "{fourth}, {second}, {first}, {third}"),  # in other words
        ("Hand-made {half} soap, large", "{title}"),  # two products share each title
    ],
)
def test_prompts_that_name_the_target_in_other_ways(title, secret):
    data = without_repeats(tiny_shop(users=200))[0]
    four = four_words(data.n_items)
    parts = [
        {"word": "brush", "half": f"{four[n // 2]['first']} {four[n // 2]['second']}", **four[n]}
        for n in range(data.n_items)
    ]
    titles = [title.format(n, **part) or None for n, part in enumerate(parts)]
    ids = [f"item-{n:04}" for n in range(data.n_items)]
    frame = pl.DataFrame({"id": ids, "title": titles}, schema={"id": pl.String, "title": pl.String})
    split = leave_one_out(Dataset(data.users, Entities(frame), data.log))
    pipeline, _ = asking(Leaky, split.train, weight=0.5)
    guards.check_prompts(pipeline, split)
    pipeline.stages[1].recommender.secrets = {
        int(user): secret.format(title=titles[goal[0]], id=ids[goal[0]], **four[goal[0]])
        for user, goal in zip(split.test.who(), split.test.targets, strict=True)
    }
    with pytest.raises(LeakError, match="prompts of listwise name test targets"):
        guards.check_prompts(pipeline, split)


class Asker(Popular):
    """A fallback that retrieves, and asks a language model on the way."""

    secrets: ClassVar[dict[int, str]] = {}

    def rank(self, queries, k, *, candidates=None, seen=False):
        self.lm.generate([Prompt(user=self.secrets.get(int(user), "")) for user in queries.users], max_tokens=1)
        return super().rank(queries, k, candidates=candidates, seen=seen)


def test_the_fallback_is_read_too():
    split = leave_one_out(titled())
    titles = split.train.items.frame["title"].to_list()
    fallback = Asker()
    fallback.lm = ScriptedChoiceLM(lambda prompt, text: 0.0)
    fallback.secrets = {}
    pipeline = Pipeline([Stage(Popular())], fallback=fallback).fit(split.train)
    assert guards.check_prompts(pipeline, split)["prompts_read"] == 24
    fallback.secrets = {
        int(user): titles[goal[0]] for user, goal in zip(split.test.who(), split.test.targets, strict=True)
    }
    with pytest.raises(LeakError, match="prompts of popular name test targets"):
        guards.check_prompts(pipeline, split)


def test_names_that_the_history_brings_into_the_prompt_are_no_leak():
    """Each kind has a product that is called like the kind, and profiles name kinds."""
    rng = np.random.default_rng(0)
    kinds = ["Screwdrivers", "Refrigerators", "Moisturizers", "Multivitamins", "Toothbrushes", "Electrolytes"]
    items = pl.DataFrame(
        {
            "item_id": [f"{kind}{n}" for kind in kinds for n in range(10)],
            "title": [kind if n == 0 else f"Zib {kind[:3]} Wex {n}" for kind in kinds for n in range(10)],
            "categories": [[kind] for kind in kinds for _ in range(10)],
        }
    )
    rows = []
    for user in range(300):
        kind = str(rng.choice(kinds))
        rows += [(f"u{user}", f"{kind}{n}") for n in [*rng.choice(9, 5, replace=False) + 1, 0]]
    split = leave_one_out(Dataset.from_frames(pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row"), items))
    pipeline, _ = asking(Listwise, split.train, weight=0.5, mode="generate")
    guards.check_prompts(pipeline, split)


def test_a_pipeline_without_language_model_has_no_prompts():
    split = leave_one_out(tiny_shop())
    assert guards.check_prompts(Pipeline([Stage(Popular())]).fit(split.train), split) == {}


def test_prompts_of_another_catalogue_cannot_be_checked():
    data = titled()
    pipeline, _ = asking(Listwise, data, weight=0.5)
    with pytest.raises(DataError, match="ranks another catalogue than that of the split"):
        guards.check_fitted(pipeline, leave_one_out(renumbered(data)))
