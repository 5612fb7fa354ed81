"""Prompting strategies of rankers: wordings, demonstrations, chain of thought, windows, contexts."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import polars as pl
import pytest

from tastemaker import guards, probes
from tastemaker.data import Dataset, Queries, Ranking
from tastemaker.data.splits import leave_one_out
from tastemaker.data.synthetic import behind, synthetic_rows
from tastemaker.errors import ConfigError, LanguageModelError, LeakError
from tastemaker.lm.scripted import GARBLED, ScriptedChoiceLM, ScriptedLM
from tastemaker.models.collaborative.popular import Popular
from tastemaker.models.llm.listwise import Listwise
from tastemaker.models.llm.pairwise import Pairwise
from tastemaker.models.llm.pointwise import Pointwise
from tastemaker.models.parts.llm.choosing import Question
from tastemaker.models.parts.llm.demonstrations import Demonstrations
from tastemaker.models.parts.llm.windows import slide
from tastemaker.pipeline import Pipeline, Stage
from tastemaker.testing import checkerboard, tiny_shop
from tastemaker.text.intent import IntentWriter
from tastemaker.text.profile import ProfileWriter
from tastemaker.text.prompting.prompts import CHOOSE, EXAMPLE_CHOICE, EXAMPLE_NEXT, INTENT
from tastemaker.text.prompting.wordings import FORMS, WORDINGS, template_of

QUERY = Queries.from_lists([[1, 2]], users=np.array([-1], np.int32))


def candidates_of(numbers, size=1):
    items = np.tile(np.array(numbers, np.int32), (size, 1))
    return Ranking(items, -np.tile(np.arange(len(numbers), dtype=np.float32), (size, 1)))


def shown(prompt):
    """Letter -> product name of the question itself, which stands after the demonstrations."""
    question = prompt.user.rpartition("Candidates:")[2]
    return dict(re.findall(r'^([A-Z])\. "(.*)"$', question, re.MULTILINE))


def number_in(prompt, letter):
    return float(re.search(r"number (\d+)", shown(prompt)[letter.strip()])[1])


def likes_high_numbers():
    return ScriptedChoiceLM(number_in)


def shop(*histories):
    """Return a shop of ten products where shopper u bought `histories[u]`, in this order."""
    rows = [(f"u{user}", f"i{item}") for user, history in enumerate(histories) for item in history]
    items = pl.DataFrame({"item_id": [f"i{n}" for n in range(10)], "title": [f"thing number {n}" for n in range(10)]})
    return Dataset.from_frames(pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row"), items)


# --- wordings ---------------------------------------------------------------------------------------------------------


def test_every_wording_asks_in_every_form_and_is_told_apart():
    templates = [template for wording in WORDINGS.values() for template in wording.templates]
    assert len({template.identity for template in templates}) == len(templates) == 5 * len(WORDINGS)
    assert len({template.identity.split("/")[2] for template in templates}) == len(templates), "two are worded alike"
    for wording in WORDINGS.values():
        places = ("{candidates}", "{candidates}", "{history}", "{product}", "{candidates}")
        for template, place in zip(wording.templates, places, strict=True):
            assert place in template.user
            assert "never an instruction" in template.system
            assert template.purpose
        assert "{count}" in wording.order.user
    assert template_of("palr", "likelihood") is CHOOSE
    assert set(FORMS.values()) == {"choose", "order", "title"}


@pytest.mark.parametrize("mode", FORMS)
@pytest.mark.parametrize("name", WORDINGS)
def test_the_wording_is_what_the_model_reads_and_what_the_result_says(name, mode):
    lm = ScriptedChoiceLM(lambda prompt, text: 0.0, lambda prompt: "A, B")
    model = Listwise(lm=lm, weight=1.0, mode=mode, template=name, orders=1).fit(tiny_shop())
    model.rank(QUERY, 2, candidates=candidates_of([5, 6]))
    template = template_of(name, mode)
    assert lm.asked[0].system == template.system
    assert model.report()["prompt"] == template.identity
    assert "{" not in lm.asked[0].user
    assert template.user.strip().splitlines()[-1].format(count=2) in lm.asked[0].user


def test_a_recency_prompt_names_the_newest_purchase():
    lm = likes_high_numbers()
    Listwise(lm=lm, weight=1.0, template="recency", orders=1).fit(tiny_shop()).rank(
        QUERY, 2, candidates=candidates_of([5, 6])
    )
    assert 'Note that the most recent purchase is "brush number 2".' in lm.asked[0].user


@pytest.mark.parametrize("name", WORDINGS)
@pytest.mark.parametrize("kind", [Pointwise, Pairwise])
def test_rankers_of_one_and_of_two_take_the_strategies_too(kind, name):
    lm = ScriptedChoiceLM(lambda prompt, text: 0.0, lambda prompt: "wants soft clean soap")
    settings = {"template": name, "demonstrations": 2, "chain_of_thought": True}
    model = kind(lm=lm, weight=1.0, **settings).fit(tiny_shop())
    model.rank(QUERY, 3, candidates=candidates_of([5, 6, 7]))
    template = WORDINGS[name].yes_no if kind is Pointwise else WORDINGS[name].prefer
    first, *others = lm.asked
    assert first.system == INTENT.system
    assert {prompt.system for prompt in others} == {template.system}
    for prompt in others:
        assert prompt.user.count("Bought next:") >= 2
        assert 'Likely intent: "wants soft clean soap"' in prompt.user
        assert "Candidates:" not in prompt.user.partition("The shopper bought")[0], "examples are titles"
    report = model.report()
    assert report["prompt"] == template.identity
    assert {EXAMPLE_NEXT.identity, INTENT.identity} <= set(report["prompts_beside"])


def test_a_template_can_be_searched():
    """The search over hard prompts: a named choice, and all wordings by default."""
    from tastemaker.search import defaults, space

    settings = {"stage": [{"model": "popular"}, {"model": "listwise", "weight": 1.0}]}
    named = space.parse("stage.1.template", "palr,recency,role", place="--try")
    assert space.checked("stage.1.template", named, settings, place="--try").values == ("palr", "recency", "role")
    assert set(defaults.default_values(settings["stage"][1], "template").values) == set(WORDINGS)
    with pytest.raises(ConfigError, match="poem"):
        poem = space.parse("stage.1.template", "palr,poem", place="--try")
        space.checked("stage.1.template", poem, settings, place="--try")


# --- demonstrations ---------------------------------------------------------------------------------------------------


def test_the_most_similar_shoppers_are_found_and_the_nearest_stands_last():
    data = shop([0, 1, 2, 9], [0, 1, 8], [0, 7], [5, 6, 4])
    found = Demonstrations.of(data, history=20, choices=3, seed=0)
    asking = Queries.from_lists([[0, 1, 2]], users=np.array([-1], np.int32))
    names = data.items.frame["title"].to_list()
    answers = [found.example(int(n), names) for n in found.find(asking, 3)[0]]
    assert [one.candidates[one.answer] for one in answers] == [f"thing number {n}" for n in (7, 8, 9)]


def test_similarity_is_the_cosine_of_weighted_histories():
    data = tiny_shop(users=80)
    found = Demonstrations.of(data, history=20, choices=4, seed=0)
    asking = data.queries()
    matrix = np.zeros((len(found), data.n_items))
    for row, history in enumerate(found.histories):
        matrix[row, history] = 1
    weights = np.log((len(found) + 1) / (matrix.sum(axis=0) + 0.5))
    vectors = matrix * weights
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    answers = found.offered[np.arange(len(found)), found.places]
    for row, numbers in enumerate(found.find(asking, 3)):
        history = asking.history(row)
        own = np.zeros(data.n_items)
        own[history] = 1
        own = own * weights / np.linalg.norm(own * weights)
        scores = vectors @ own
        scores[np.isin(answers, history) | (found.histories.users == row)] = -1
        best = sorted(range(len(found)), key=lambda n: (-np.float32(scores[n]), n))[:3]
        np.testing.assert_allclose(scores[numbers[::-1]], scores[[n for n in best if scores[n] > 0]], rtol=1e-4)


def test_a_demonstration_is_the_true_next_purchase_among_others():
    data = shop([0, 1, 2], [3, 4, 5], [6, 7, 8])
    found = Demonstrations.of(data, history=20, choices=4, seed=0)
    for number, history in enumerate(data.queries()):
        example = found.example(number, [str(item) for item in range(10)])
        assert example.history == tuple(str(item) for item in history[:-1])
        assert example.candidates[example.answer] == str(history[-1])
        others = set(example.candidates) - {str(history[-1])}
        assert others.isdisjoint(map(str, history))
        assert len(set(example.candidates)) == len(example.candidates)
        users, items = found.purchases(np.array([number], np.int32))
        log = set(zip(data.log["user"].to_list(), data.log["item"].to_list(), strict=True))
        assert set(zip(users.tolist(), items.tolist(), strict=True)) <= log


def test_purchases_that_nobody_made_are_not_demonstrated():
    data = shop([0, 1, 2], [3, 4, 5])
    proposed = synthetic_rows(data, np.array([0, 1], np.int32), np.array([9, 9], np.int32), ["by statistics"] * 2)
    found, real = (
        Demonstrations.of(train, history=20, choices=4, seed=0).arrays() for train in (behind(data, proposed), data)
    )
    assert all(np.array_equal(found[name], real[name]) for name in real)


def test_nobody_is_shown_to_herself_nor_an_answer_she_has():
    data = shop([0, 1, 2], [0, 1, 2], [0, 1, 3])
    found = Demonstrations.of(data, history=20, choices=2, seed=0)
    asked = Queries.from_lists([[0, 1], [0, 1, 2]], users=np.array([0, -1], np.int32))
    first, second = found.find(asked, 5)
    assert set(first.tolist()) == {1, 2}
    assert second.tolist() == [2]


def few_shot(data, **settings):
    lm = likes_high_numbers()
    return Listwise(lm=lm, weight=1.0, orders=1, demonstrations=2, **settings).fit(data), lm


@pytest.mark.parametrize("mode", ["likelihood", "titles", "generate"])
def test_demonstrations_stand_before_the_question(mode):
    lm = ScriptedChoiceLM(lambda prompt, text: 0.0, lambda prompt: "A, B")
    model = Listwise(lm=lm, weight=1.0, orders=1, demonstrations=2, mode=mode).fit(tiny_shop())
    model.rank(QUERY, 2, candidates=candidates_of([5, 6]))
    text = lm.asked[0].user
    assert text.count("Another shopper bought") == text.count("Bought next:") == 2
    assert text.index("Bought next:") < text.index("The shopper bought")
    assert EXAMPLE_CHOICE.name in str(model.report()["prompts_beside"]) or mode == "titles"


def test_the_held_out_purchases_change_no_prompt():
    """Two shops that differ in what is held out alone: every prompt is the same, with refit off."""
    data = tiny_shop(users=120, seed=3)
    rng = np.random.default_rng(0)
    split = leave_one_out(data)
    held_out = split.train.log.height
    other_log = data.log.with_columns(pl.int_range(pl.len()).over("user").alias("place"))
    lengths = pl.len().over("user")
    late = (lengths >= 3) & (pl.col("place") >= lengths - 2)
    scrambled = pl.Series(rng.permutation(data.n_items)[np.arange(len(data)) % data.n_items].astype(np.int32))
    other = data.with_log(
        other_log.with_columns(pl.when(late).then(scrambled).otherwise("item").alias("item")).drop("place")
    )
    twin = leave_one_out(other)
    assert twin.train.log.height == held_out
    assert not np.array_equal(twin.test.targets.items, split.test.targets.items)
    prompts = []
    for one in (split, twin):
        model, lm = few_shot(one.train)
        asked = split.validation.queries
        model.rank(asked, 5, candidates=candidates_of([30, 31, 32], len(asked)))
        prompts.append([prompt.user for prompt in lm.asked])
    assert prompts[0] == prompts[1]
    assert any("Another shopper" in text for text in prompts[0])


def test_the_leak_tests_take_demonstrations_for_what_they_are():
    split = leave_one_out(checkerboard(30))
    lm = ScriptedChoiceLM(lambda prompt, text: 0.0)
    pipeline = Pipeline([Stage(Popular(), keep=5), Stage(Listwise(lm=lm, weight=0.5, demonstrations=3))]).fit(
        split.train
    )
    facts = guards.check_fitted(pipeline, split)
    assert facts["prompts_read"] > 0


def test_demonstrations_of_held_out_purchases_are_refused():
    split = leave_one_out(checkerboard(30))
    lm = ScriptedChoiceLM(lambda prompt, text: 0.0)
    pipeline = Pipeline([Stage(Popular(), keep=5), Stage(Listwise(lm=lm, weight=0.5, demonstrations=3))]).fit(
        split.train
    )
    leaky = pipeline.stages[1].recommender
    leaky._demonstrations = Demonstrations.of(checkerboard(30), history=20, choices=3, seed=0)
    with pytest.raises(LeakError, match="held-out interactions among the demonstrations of listwise"):
        guards.check_fitted(pipeline, split)


def test_demonstrations_are_saved_and_left_behind_in_another_shop():
    data = tiny_shop()
    model, lm = few_shot(data)
    again = Listwise(lm=likes_high_numbers(), weight=1.0, orders=1, demonstrations=2).attach(data.items, model.arrays())
    for one in (model, again):
        one.rank(QUERY, 2, candidates=candidates_of([5, 6]))
    assert again.lm.asked == lm.asked
    again.transfer(tiny_shop(items=30).items)
    again.rank(QUERY, 2, candidates=candidates_of([5, 7]))
    assert "Another shopper" not in again.lm.asked[-1].user


def test_a_shopper_like_nobody_is_asked_without():
    data = shop([0, 1, 2], [0, 1, 3])
    model, lm = few_shot(data)
    model.rank(Queries.from_lists([[9], []]), 2, candidates=candidates_of([5, 6], 2))
    assert all("Another shopper" not in prompt.user for prompt in lm.asked)


# --- chain of thought -------------------------------------------------------------------------------------------------


def test_the_intent_is_written_first_and_read_second():
    lm = ScriptedChoiceLM(number_in, ['Soft "clean" skin care. Soft "clean" skin care.'])
    model = Listwise(lm=lm, weight=1.0, orders=1, chain_of_thought=True).fit(tiny_shop())
    ranking = model.rank(QUERY, 2, candidates=candidates_of([5, 6]))
    first, second = lm.asked
    assert first.system == INTENT.system
    assert '2. "brush number 2"' in first.user
    assert "Likely intent: \"Soft 'clean' skin care.\"" in second.user
    assert ranking.items[0].tolist() == [6, 5]
    assert INTENT.identity in model.report()["prompts_beside"]


@pytest.mark.parametrize("answer", GARBLED)
def test_a_garbled_intent_is_harmless(answer):
    lm = ScriptedChoiceLM(number_in, lambda prompt: answer)
    model = Listwise(lm=lm, weight=1.0, orders=1, chain_of_thought=True).fit(tiny_shop())
    assert model.rank(QUERY, 2, candidates=candidates_of([5, 6])).items[0].tolist() == [6, 5]
    text = lm.asked[-1].user
    assert len(text) < 1500
    assert not re.search("[\x00-\x08\x1b\u202e\u200b]", text)
    said = text.count("Likely intent")
    assert model.report()["intents_unreadable"] == 1 - said


def test_a_failed_intent_is_counted_and_the_choice_goes_on():
    lm = ScriptedChoiceLM(number_in, [LanguageModelError("down")])
    model = Listwise(lm=lm, weight=1.0, orders=1, chain_of_thought=True).fit(tiny_shop())
    assert model.rank(QUERY, 2, candidates=candidates_of([5, 6])).items[0].tolist() == [6, 5]
    assert model.report()["intents_failed"] == 1
    with pytest.raises(ConfigError, match="chain_of_thought: no"):
        IntentWriter(None)


# --- windows ----------------------------------------------------------------------------------------------------------


def best_names(questions):
    return [np.array([float(name) for name in one.candidates], np.float32) for one in questions]


@pytest.mark.parametrize(("m", "window", "step"), [(12, 4, 2), (11, 4, 3), (30, 10, 5), (7, 6, 6)])
def test_the_best_travel_to_the_front_as_in_a_slow_oracle(m, window, step):
    names = [str(value) for value in np.random.default_rng(m).permutation(m)]
    [scores] = slide([Question((), names)], best_names, window=window, step=step)
    order, end = list(range(m)), m
    while True:
        start = max(0, end - window)
        order[start:end] = sorted(order[start:end], key=lambda place: -float(names[place]))
        if start == 0:
            break
        end = start + window - step
        end = max(end, window)
    assert np.argsort(-scores, kind="stable").tolist() == order
    travelling = window - step
    assert [names[place] for place in order[:travelling]] == [str(m - 1 - place) for place in range(travelling)]


def test_a_short_list_is_asked_as_it_is_and_failures_keep_the_order():
    [scores] = slide([Question((), ["1", "3", "2"])], best_names, window=3, step=1)
    assert scores.tolist() == [1, 3, 2]
    assert slide([Question((), ["1", "3", "2"])], lambda parts: [None] * len(parts), window=2, step=1) == [None]
    calls = Counter()

    def half(parts):
        calls["asked"] += 1
        return best_names(parts) if calls["asked"] == 2 else [None] * len(parts)

    [scores] = slide([Question((), ["1", "2", "3"])], half, window=2, step=1)
    assert np.argsort(-scores, kind="stable").tolist() == [1, 0, 2]


@pytest.mark.parametrize("mode", ["likelihood", "generate"])
def test_a_list_longer_than_the_alphabet_is_put_in_order(mode):
    def writes(prompt):
        return ", ".join(sorted(shown(prompt), key=lambda letter: -number_in(prompt, letter)))

    lm = ScriptedChoiceLM(number_in, writes)
    model = Listwise(lm=lm, weight=1.0, max_rise=37, mode=mode, candidates=38, window=10, step=5, orders=1, listed=10)
    model.fit(tiny_shop())
    ranking = model.rank(QUERY, 38, candidates=candidates_of([n for n in range(3, 40)]))
    assert ranking.items[0, :5].tolist() == [39, 38, 37, 36, 35]
    assert max(len(shown(prompt)) for prompt in lm.asked) == 10
    assert sorted(ranking.items[0][ranking.items[0] >= 0].tolist()) == list(range(3, 40))


def test_a_list_of_many_windows_is_one_answer():
    data = tiny_shop(users=200)
    split = leave_one_out(data)
    lm = ScriptedChoiceLM(lambda prompt, letter: -float(ord(letter.strip())))
    model = Listwise(lm=lm, candidates=30, window=8, step=4, calibration=20, profile="none")
    pipeline = Pipeline([Stage(Popular(), keep=30), Stage(model)]).fit(split.train)
    pipeline.calibrate(split.validation)
    counts = model.report()["counts_on_validation"]
    assert counts["answered"] - counts["further windows"] == 20
    model._weight = 1.0
    asked = split.test.queries.take(slice(0, 5))
    pipeline.rank(asked, 5)
    [told] = probes.language_models(pipeline, len(asked))
    assert (told["answered"], told["fallback rate"]) == (5, 0)


def test_the_letter_prior_is_learnt_before_windows_slide():
    bias = {letter: -5.0 * place for place, letter in enumerate("ABCDE")}
    lm = ScriptedChoiceLM(lambda prompt, letter: bias[letter.strip()] + 0.1 * number_in(prompt, letter))
    data = tiny_shop(users=300)
    split = leave_one_out(data)
    model = Listwise(lm=lm, candidates=12, window=5, step=2, orders=1, calibration=150, max_rise=11).fit(split.train)
    sample = split.validation.sample(150)
    rows = np.array([np.random.default_rng(row).permutation(39)[:12] + 1 for row in range(len(sample))], np.int32)
    offered = Ranking(rows, -np.tile(np.arange(12, dtype=np.float32), (len(rows), 1)))
    model.calibrate(sample, candidates=offered)
    assert model._prior.shape == (5,)
    model._weight = 1.0
    ranking = model.rank(QUERY, 12, candidates=candidates_of([20, 3, 5, 31, 4, 6, 8, 7, 12, 9, 10, 39]))
    assert ranking.items[0, 0] == 39


# --- contexts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["likelihood", "titles", "generate"])
def test_a_prompt_beyond_the_context_loses_examples_then_history(mode):
    data = tiny_shop(users=200)
    history = list(range(1, 30))
    lengths = {}
    for context in (10_000, 300, 210, 130):
        lm = ScriptedChoiceLM(lambda prompt, text: 0.0, lambda prompt: "A", context=context)
        model = Listwise(lm=lm, weight=1.0, orders=1, demonstrations=6, mode=mode).fit(data)
        model.rank(Queries.from_lists([history]), 2, candidates=candidates_of([30, 31]))
        text = lm.asked[0].user
        assert lm.count_tokens(lm.asked[0]) + 64 <= context or "1. " in text
        question = text.rpartition("The shopper bought")[2]
        lengths[context] = text.count("Another shopper"), len(re.findall(r"^\d+\. ", question, re.MULTILINE))
        assert '"shampoo number 29"' in question
        assert model.report()["counts"].get("shortened to the context", 0) == (context < 10_000)
    examples, items = zip(*lengths.values(), strict=True)
    assert examples[0] == 6
    assert sorted(examples, reverse=True) == list(examples)
    assert sorted(items, reverse=True) == list(items)
    assert items[0] == 20 > items[-1]


def test_intents_and_profiles_beyond_the_context_are_written_from_the_newest():
    data = tiny_shop()
    history = np.arange(1, 21, dtype=np.int32)
    for context in (10_000, 160):
        lm = ScriptedChoiceLM(lambda prompt, text: 0.0, lambda prompt: "soap: 1, 2", context=context)
        [profile] = ProfileWriter(data.items, lm=lm).write([history])
        shown = len(re.findall(r"^\d+\. ", lm.asked[0].user, re.MULTILINE))
        assert profile.keywords[0].support == tuple(history[-shown:][:2].tolist())
        IntentWriter(lm).write([f"thing number {n}" for n in range(20)])
        assert '"thing number 19"' in lm.asked[1].user
        assert all(lm.count_tokens(prompt) + 60 <= context for prompt in lm.asked)
        assert (shown < 20) == (context < 10_000)


def test_a_title_of_ten_thousand_characters_and_an_empty_one_are_asked_about():
    data = tiny_shop()
    frame = data.items.frame.with_columns(
        pl.when(pl.col("id") == "i005").then(pl.lit("word " * 2000)).otherwise("title").alias("title")
    )
    from tastemaker.data import Entities

    long = Dataset(data.users, Entities(frame), data.log)
    for settings in ({"demonstrations": 2}, {"chain_of_thought": True}, {"mode": "titles"}, {"template": "recency"}):
        lm = ScriptedChoiceLM(lambda prompt, text: 0.0, lambda prompt: "wants soft clean soap")
        model = Listwise(lm=lm, weight=1.0, **settings).fit(long)
        ranking = model.rank(Queries.from_lists([[5, 0]]), 3, candidates=candidates_of([0, 5, 6, 7]), seen=True)
        assert set(ranking.items[0].tolist()) <= {0, 5, 6, 7}
        assert max(len(prompt.user) for prompt in lm.asked) < 4000


def test_a_model_that_hangs_is_a_counted_failure():
    """As an HTTP model raises it when its time is up."""
    lm = ScriptedLM([LanguageModelError("timed out after 1 s")] * 3)
    model = Listwise(lm=lm, weight=1.0, mode="generate", candidates=12, window=5, step=4).fit(tiny_shop())
    offered = candidates_of([20, 3, 5, 31, 4, 6, 8, 7, 12, 9, 10, 39])
    assert model.rank(QUERY, 12, candidates=offered).items.tolist() == offered.items.tolist()
    assert model.report()["counts"] == {"failed: LanguageModelError": 3}
