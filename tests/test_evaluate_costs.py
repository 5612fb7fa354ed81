"""What an evaluation says of its cost, of language models and of its own protocol."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tastemaker import evaluate, registry
from tastemaker.data import Dataset
from tastemaker.data.splits import leave_one_out
from tastemaker.errors import LanguageModelError
from tastemaker.evaluate import Options, Variant, cost, trust
from tastemaker.evaluate.lists import with_newest
from tastemaker.explain import Explainer
from tastemaker.lm.cache import cached
from tastemaker.lm.scripted import ScriptedLM
from tastemaker.models.collaborative.popular import Popular
from tastemaker.models.collaborative.transitions import Transitions
from tastemaker.models.collaborative.user_knn import UserKNN
from tastemaker.models.llm.listwise import Listwise
from tastemaker.pipeline import Pipeline, Stage
from tastemaker.probes.sensitivity import ATTRIBUTES, NAMES, REWORDED
from tastemaker.testing import tiny_shop

ASKED = 40
PLAIN = Variant()
BOTH = [PLAIN, Variant(refit=True)]


@pytest.fixture(scope="module")
def split():
    return leave_one_out(tiny_shop(users=120))


def asking(lm, **settings):
    settings = {"mode": "generate", "weight": 1.0, **settings}
    return Pipeline([Stage(Transitions(), keep=6), Stage(Listwise(lm=lm, **settings))], fallback=Popular())


def measured(pipeline, split, variants=(PLAIN,), **options):
    options = Options(**{"sample": ASKED, "probe": True, "price": (1.0, 2.0), **options})
    return list(evaluate.evaluate_variants(pipeline, split, list(variants), options=options))


def accounts(outcome):
    return {one["during"]: one for one in outcome.cost["language_models"]}


def test_the_peak_is_that_of_this_process_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "STATUS", tmp_path / "status")
    (tmp_path / "status").write_text("Name:\tpython\nVmPeak:\t 9999999 kB\nVmHWM:\t    4096 kB\n")
    assert cost.peak_mib() == 4
    monkeypatch.setattr(cost, "STATUS", tmp_path / "no such file")
    assert cost.peak_mib() > 4


def test_a_warm_cache_does_not_make_requests_free(split, tmp_path):
    """The second run asks the model for latency alone, and says the same tokens and money for 1,000 requests."""
    found, latencies = [], []
    for _ in range(2):
        lm = ScriptedLM(lambda prompt: "B, A, C", delay=0.01)
        [outcome] = measured(asking(cached(lm, tmp_path / "answers.sqlite")), split)
        found.append(outcome.cost["per_1000_requests"])
        latencies.append(outcome.cost["latency_ms"])
    assert lm.usage.calls == latencies[1]["asked"] == 5, "the model itself was timed, a few times"
    assert latencies[1]["p50"] >= 10
    cold, warm = found
    assert (cold["calls"], cold["cached"]) == (warm["cached"], warm["calls"]) == (1000, 0)
    for name in ("prompt_tokens", "answer_tokens", "money"):
        assert cold[name] == warm[name] > 0
    assert cold["money"] == cost.money(cold, (1.0, 2.0)) > 0
    assert cost.money(cold, None) is None


def test_ranking_fitting_and_probes_have_accounts_of_their_own(split):
    lm = ScriptedLM(lambda prompt: "B, A, C")
    masked, unmasked = measured(asking(lm, weight="auto"), split, [Variant(), Variant(masking=False)])
    assert accounts(masked)["fitting and choosing"]["calls"] == min(100, len(split.validation))
    assert accounts(masked).get("ranking", {"calls": 0})["calls"] in (0, ASKED), "0 where the weight is"
    assert accounts(masked)["probes"]["calls"] > 0
    assert "probes" not in accounts(unmasked), "they were made once"
    assert masked.trust["probed_under"] == unmasked.trust["probed_under"] == masked.variant.name
    assert masked.trust["reasons"] == unmasked.trust["reasons"]
    assert masked.cost["latency_ms"] == unmasked.cost["latency_ms"]


def test_counts_are_those_of_the_lists_and_probes_cost_less(split):
    lm = ScriptedLM(lambda prompt: "B, A, C")
    for outcome in measured(asking(lm), split, [Variant(), Variant(masking=False)]):
        assert outcome.stages[1]["report"]["counts"] == {"answered": ASKED}
        assert outcome.trust["language_model"][0]["answered"] == ASKED
        assert accounts(outcome)["ranking"]["calls"] == ASKED
    told = sum(len(ATTRIBUTES[name]) for name in trust.ABOUT_LM)
    askers = 1 + told + len(NAMES) + len(REWORDED)
    audited = trust.AUDITED_LM * askers
    assert lm.usage.calls <= 2 * ASKED + 6 + 2 * 10 + 3 * 10 + audited, "latency, steadiness, counterfactual, who asks"


def test_latency_of_a_failing_model_is_no_latency(split):
    [outcome] = measured(asking(ScriptedLM([LanguageModelError("down")] * 500)), split, sample=20)
    assert outcome.cost["latency_ms"]["p50"] is None


def test_a_model_of_weight_zero_is_probed_like_any_pipeline(split):
    [outcome] = measured(asking(ScriptedLM(lambda prompt: "B, A"), weight=0.0), split)
    assert outcome.cost["latency_ms"]["asked"] > 5
    assert outcome.cold_start


def test_stages_share_one_account():
    lm = ScriptedLM()
    pipeline = Pipeline([Stage(Popular()), Stage(Listwise(lm=lm)), Stage(Listwise(lm=lm))])
    [account] = cost.usages(pipeline)
    assert account["stages"] == [1, 2]


def test_seconds_of_a_refit_do_not_depend_on_what_else_is_asked(split):
    def steps(make, variants):
        return [list(one.cost["fit_steps"]) for one in measured(make(), split, variants, probe=False)]

    def plain():
        return registry.build({"stage": [{"model": "transitions"}]})

    def choosing():
        return asking(ScriptedLM(lambda prompt: "A, B"), weight="auto")

    all_three = ["fit on train", "choices on validation", "fit on train + validation"]
    assert steps(plain, BOTH) == [["fit on train"], ["fit on train + validation"]]
    assert steps(plain, BOTH[1:]) == [["fit on train + validation"]]
    assert steps(choosing, BOTH) == [all_three[:2], all_three]
    assert steps(choosing, BOTH[1:]) == [all_three]
    [outcome] = measured(choosing(), split, BOTH[1:], probe=False)
    assert outcome.cost["fit_seconds"] == pytest.approx(sum(outcome.cost["fit_steps"].values()), abs=0.002)


def test_what_a_refit_learnt_is_not_cold():
    """Product n is bought by u0 as validation and by u1 as test: new to train, known to train + validation."""
    log = pl.DataFrame(
        [(user, item) for user, items in {"u0": "abnc", "u1": "acbn", "u2": "abca"}.items() for item in items],
        schema=["user_id", "item_id"],
        orient="row",
    )
    split = leave_one_out(Dataset.from_frames(log))
    pipeline = registry.build({"stage": [{"model": "popular"}]})
    cold = [
        sum(row["queries"] for row in one.slices if row["by"] == "target popularity" and row["group"] == "cold")
        for one in measured(pipeline, split, BOTH, sample=None, probe=False)
    ]
    assert cold == [1, 0]


def test_the_protocol_names_the_seeds_and_whose_train_was_learnt(split):
    pipeline = registry.build({"stage": [{"model": "text_knn"}], "fallback": "popular"})
    options = Options(sample=30, seed=3)
    source = leave_one_out(
        Dataset.from_frames(
            pl.DataFrame({"user_id": list("aaaabbbb"), "item_id": [f"s{number}" for number in range(8)]}),
            pl.DataFrame({"item_id": [f"s{n}" for n in range(8)], "title": [f"Lamp {n} oak" for n in range(8)]}),
        )
    )
    source = source.with_facts(data_fingerprint="source")
    found = [
        one.protocol
        for one in evaluate.evaluate_variants(pipeline, split, BOTH, options=options, seed=7, source=source)
    ]
    assert [one["fitted_on"] for one in found] == ["train of another shop", "train + validation of another shop"]
    assert [one["fitted_on_other_data"] for one in found] == ["source"] * 2
    assert found[0]["transfer"] == found[1]["transfer"] != []
    assert {name: found[0][name] for name in ("seed", "sample_seed", "bootstrap_seed")} == {
        "seed": 7,
        "sample_seed": 3,
        "bootstrap_seed": 3,
    }
    assert "bootstrap_seed" not in evaluate.evaluate(pipeline, split, seed=3).protocol


def test_no_shopper_of_the_cold_start_curve_is_a_stranger_to_himself():
    """Only u0 has the products 6..9: shown product 6 alone, nobody but his own row could vote for the others."""
    rows = [("u0", item) for item in (6, 7, 8, 9, 0, 1)] + [
        (f"u{user}", item) for user in range(1, 5) for item in "012"
    ]
    log = pl.DataFrame([(user, f"i{item}") for user, item in rows], schema=["user_id", "item_id"], orient="row")
    split = leave_one_out(Dataset.from_frames(log))
    model = UserKNN().fit(split.train)
    asked = with_newest(split.test, 1)
    assert asked.users is not None
    hidden = split.train.items.numbers(["i7", "i8", "i9"])
    shown = split.train.items.numbers(["i6"])
    queries = type(asked).from_lists([shown], users=np.array([0], dtype=np.int32))
    assert not np.isin(model.rank(queries, 5).items, hidden).any()
    assert np.isin(model.rank(type(asked).from_lists([shown]), 5).items, hidden).any(), "a stranger would get them"


def test_reasons_by_arithmetic_need_no_profiles(split, monkeypatch):
    def refuse(self, items):
        raise AssertionError("counted all words of the catalogue for nothing")

    monkeypatch.setattr("tastemaker.text.profile.KeywordStatistics.__init__", refuse)
    pipeline = Pipeline([Stage(Transitions())]).fit(split.train)
    queries = split.test.queries.take([0, 1])
    listed = pipeline.rank(queries, 1)
    assert all(row[0].evidence for row in Explainer(pipeline).explain(queries, listed))
