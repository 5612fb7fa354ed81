"""What can be relied on in the lists: nothing invented, steady language models, true reasons; and how long one takes.

The audit and the counts of answers belong to every variant. The rest is tried out once a model, under its first
variant, and with few shoppers where each list asks a language model, so that trying out costs less than measuring.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker import probes
from tastemaker.abilities import Judging
from tastemaker.evaluate import cost
from tastemaker.evaluate.lists import latency
from tastemaker.explain import Explainer

if TYPE_CHECKING:
    from tastemaker.data.splits import Holdout
    from tastemaker.evaluate.lists import Lists
    from tastemaker.evaluate.protocol import Options, Variant
    from tastemaker.pipeline import Pipeline

REASONS, SHOPPERS, SHOPPERS_LM = 200, 200, 10
"""Reasons that are looked at, and shoppers of whom each has one tested; fewer where that asks a language model."""
STEADY_ASKED = 10
"""Questions that a language model is asked twice, with candidates in another order."""
AUDITED, AUDITED_LM = 100, 4
"""Shoppers whose wishes are put by different people; fewer, and about `ABOUT_LM` only, where each list asks a model."""
ABOUT_LM = ("gender", "age")
SECONDS = 30.0
"""Seconds after which a test of reasons stops."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What was tried out.

    Attributes:
        variant: under which one.
        latency_ms: of single requests.
        steadiness: order sensitivity by stage number.
        sensitivity: whether lists change with who asks and how; None where no wish is read.
        reasons: whether they rest on evidence, and whether an item falls when what its reason cites is taken away.
        spent: what language models were asked for all this.
    """

    variant: str
    latency_ms: dict[str, Any]
    steadiness: dict[int, dict[str, Any]]
    sensitivity: dict[str, Any] | None
    reasons: dict[str, Any]
    spent: cost.Usages


def audit(pipeline: Pipeline, lists: Lists, test: Holdout, *, variant: Variant) -> dict[str, int]:
    """Count what is wrong with the final lists, and those that the fallback filled."""
    found = probes.audit(lists.final, test.queries, len(pipeline.items), masking=variant.masking)
    return {**found, "filled by fallback": lists.short if pipeline.fallback else 0}


def try_out(
    pipeline: Pipeline, lists: Lists, test: Holdout, *, variant: Variant, options: Options, asks_model: bool
) -> Tried:
    """Measure latency, steadiness of language models, and the truth of reasons.

    Args:
        pipeline: after ranking.
        lists: its lists.
        test: the questions.
        variant: of the lists.
        options: seed and list lengths.
        asks_model: whether a list asks a language model.
    """
    before = cost.usages(pipeline)
    k = lists.final.items.shape[1]
    asked: dict[str, Any] = {"masking": variant.masking, "asks_model": asks_model, "seed": options.seed}
    return Tried(
        variant=variant.name,
        latency_ms=latency(pipeline, test.queries, k, **asked),
        steadiness=_steadiness(pipeline, test, seed=options.seed),
        sensitivity=_sensitivity(pipeline, test, k, masking=variant.masking, asks_model=asks_model, seed=options.seed),
        reasons=_reasons(pipeline, lists, test, asked=SHOPPERS_LM if asks_model else SHOPPERS, seed=options.seed),
        spent=cost.since(before, cost.usages(pipeline)),
    )


def _steadiness(pipeline: Pipeline, test: Holdout, *, seed: int) -> dict[int, dict[str, Any]]:
    """Ask each re-ranker that has an opinion of its own twice; the stages before it run, it and later ones do not."""
    queries = test.sample(STEADY_ASKED, seed=seed).queries
    found = {}
    for number, stage in enumerate(pipeline.stages):
        if number and stage.recommender.lm is not None and isinstance(stage.recommender, Judging):
            keep = pipeline.stages[number - 1].keep
            candidates = pipeline.rank_by_stage(queries, keep, upto=number)[-1].cut(keep)
            found[number] = probes.order_sensitivity(stage.recommender, queries, candidates, seed=seed)
    return found


def _sensitivity(
    pipeline: Pipeline, test: Holdout, k: int, *, masking: bool, asks_model: bool, seed: int
) -> dict[str, Any] | None:
    """Let the same wishes be put by different people, and in other words."""
    queries = test.sample(AUDITED_LM if asks_model else AUDITED, seed=seed).queries
    about = {name: probes.ATTRIBUTES[name] for name in ABOUT_LM} if asks_model else None
    names = probes.NAMES[:4] if asks_model else probes.NAMES
    return probes.sensitivity(pipeline, queries, k=k, masking=masking, attributes=about, names=names, seed=seed)


def _reasons(pipeline: Pipeline, lists: Lists, test: Holdout, *, asked: int, seed: int) -> dict[str, Any]:
    """Look at the reasons for the lists of some shoppers, and test one of each shopper."""
    count = min(SHOPPERS, len(test))
    rows = np.sort(np.random.default_rng(seed).choice(len(test), count, replace=False))
    queries, ranking = test.queries.take(rows), lists.final.take(rows)
    explainer = Explainer(pipeline)
    limits: dict[str, Any] = {"seconds": SECONDS, "seed": seed}
    return {
        **probes.grounding(explainer, queries, ranking, asked=REASONS, **limits),
        "counterfactual": probes.counterfactual(pipeline, explainer, queries, ranking, asked=asked, **limits),
    }
