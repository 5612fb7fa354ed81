"""What can be relied on in the lists: nothing invented, steady language models, true reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tastemaker import probes
from tastemaker.explain import Explainer
from tastemaker.recommender import Judging

if TYPE_CHECKING:
    from tastemaker.data.split import Holdout
    from tastemaker.evaluate.lists import Lists
    from tastemaker.evaluate.protocol import Options, Variant
    from tastemaker.pipeline import Pipeline

REASONS, SHOPPERS = 200, 100
"""Reasons that are tested, and shoppers from whose lists they are drawn."""
STEADY_ASKED = 10
"""Questions that a language model is asked twice, with candidates in another order."""
SECONDS = 30.0
"""Seconds after which the test of reasons stops."""


def audit(pipeline: Pipeline, lists: Lists, test: Holdout, *, variant: Variant) -> dict[str, int]:
    """Count what is wrong with the final lists, and those that the fallback filled."""
    found = probes.audit(lists.final, test.queries, len(pipeline.items), masking=variant.masking)
    return {**found, "filled by fallback": lists.short if pipeline.fallback else 0}


def language_models(
    pipeline: Pipeline, test: Holdout, counts: dict[int, dict[str, int]], *, options: Options
) -> list[dict[str, Any]]:
    """Say what became of the questions to language models and, where probed, how steady their answers are.

    Args:
        pipeline: after ranking.
        test: the questions.
        counts: `probes.counts_of(pipeline)` before ranking.
        options: whether to probe, and the seed.
    """
    found = probes.language_models(pipeline, len(test), since=counts)
    if not options.probe:
        return found
    asked = test.sample(STEADY_ASKED, seed=options.seed)
    for one in found:
        number = one["stage"]
        stage = pipeline.stages[number]
        if number and isinstance(stage.recommender, Judging):
            keep = pipeline.stages[number - 1].keep
            candidates = pipeline.rank_by_stage(asked.queries, keep)[number - 1].cut(keep)
            judged = probes.order_sensitivity(stage.recommender, asked.queries, candidates, seed=options.seed)
            one["order sensitivity"] = judged
    return found


def reasons(pipeline: Pipeline, test: Holdout, *, options: Options) -> dict[str, Any] | None:
    """Say how many reasons rest on evidence, and whether an item falls when what its reason cites is taken away."""
    if not options.probe:
        return None
    rows = test.sample(SHOPPERS, seed=options.seed)
    ranking = pipeline.rank(rows.queries, options.longest)
    explainer = Explainer(pipeline)
    limits: dict[str, Any] = {"asked": REASONS, "seconds": SECONDS, "seed": options.seed}
    return {
        **probes.grounding(explainer, rows.queries, ranking, **limits),
        "counterfactual": probes.counterfactual(pipeline, explainer, rows.queries, ranking, **limits),
    }
