"""The main job on packaged retail data: history -> profile -> candidates -> language-model ranking -> reasons."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker import evaluate, registry
from tastemaker.data import readers
from tastemaker.data.filters import k_core, without_repeats
from tastemaker.data.splits import temporal
from tastemaker.explain import Explainer
from tastemaker.progress import Progress, silent
from tastemaker.text.profile import ProfileWriter
from tastemaker.text.render import item_names

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.data.splits import Split
    from tastemaker.evaluate import Evaluation
    from tastemaker.explain import Reason
    from tastemaker.pipeline import Pipeline
    from tastemaker.text.profile import Profile

USER_CORE, ITEM_CORE = 20, 40
"""Households with at least so many first purchases, of products that at least so many households bought."""
SHOWN_HISTORY = 8
LIST_LENGTH = 10

RETRIEVER = {"model": "ease", "recency": 1.0, "keep": 10}
TEXT = {"model": "text_knn"}
LISTWISE = {"model": "listwise", "candidates": 10, "history": 10, "orders": 2, "calibration": 40}


@dataclass(frozen=True, slots=True)
class Shopper:
    """One shopper's road through the pipeline.

    Attributes:
        user_id: the shopper.
        history: names of the newest purchases, oldest first.
        profile: the shopper in words.
        products: names of the recommended products, best first.
        reasons: why, one a product.
        bought: places in the list that the shopper really bought later.
    """

    user_id: str
    history: tuple[str, ...]
    profile: Profile
    products: tuple[str, ...]
    reasons: tuple[Reason, ...]
    bought: tuple[int, ...]


@dataclass(slots=True)
class Demo:
    """What the demo found; `tastemaker.report.demo_page` draws it."""

    facts: dict[str, Any]
    comparison: list[dict[str, Any]] = field(default_factory=list)
    pipeline_report: dict[str, Any] = field(default_factory=dict)
    shoppers: list[Shopper] = field(default_factory=list)
    sentences: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {
            "facts": self.facts,
            "comparison": self.comparison,
            "pipeline": self.pipeline_report,
            "shoppers": [
                {
                    "user_id": one.user_id,
                    "history": one.history,
                    "profile": {
                        "source": one.profile.source,
                        "keywords": [{"word": k.word, "weight": k.weight} for k in one.profile.keywords],
                    },
                    "recommendations": [
                        {"product": product, "bought_later": place in one.bought, "reason": reason.to_dict()}
                        for place, (product, reason) in enumerate(zip(one.products, one.reasons, strict=True))
                    ],
                }
                for one in self.shoppers
            ],
            "reason_sentences": self.sentences,
            "seconds": self.seconds,
        }


def run(
    *,
    encoder: dict[str, Any],
    lm: dict[str, Any] | None,
    shoppers: int = 3,
    sample: int = 100,
    seed: int = 0,
    progress: Progress = silent,
) -> Demo:
    """Run the demo.

    Args:
        encoder: settings of the text encoder.
        lm: settings of the language model, or None to leave it out.
        shoppers: how many shoppers are shown in full.
        sample: test shoppers on which the comparison with the language model is made.
        seed: of everything random.
        progress: shown over the long steps.
    """
    clock = _Clock()
    data, facts = prepare(progress=progress)
    split = temporal(data)
    clock.lap("read")
    demo = Demo({**facts, **split.protocol, "seed": seed})

    base = {"encoder": encoder, "fallback": "popular"}
    tables: dict[str, dict[str, Any]] = {
        "popular": {"stage": [{"model": "popular"}]},
        "retriever": {"stage": [RETRIEVER]},
        "text": {"stage": [TEXT]},
    }
    for name, stages in tables.items():
        pipeline = registry.build({**base, **stages})
        demo.comparison.append(_measure(name, pipeline, split, seed=seed, progress=progress))
        clock.lap(name)
    stages_of_pipeline = [RETRIEVER] if lm is None else [RETRIEVER, LISTWISE]
    pipeline = registry.build({**base, "stage": stages_of_pipeline, **({} if lm is None else {"lm": lm})})
    if lm is None:
        evaluate.fit(pipeline, split, seed=seed, progress=progress)
    else:
        result = evaluate.evaluate(pipeline, split, ks=(LIST_LENGTH,), sample=sample, seed=seed, progress=progress)
        before, after = (stage["metrics"] for stage in result.stages)
        demo.comparison.append(_row("retriever, same shoppers", result, before, seconds=None))
        demo.comparison.append(_row("with the language model", result, after, seconds=_seconds(result)))
        demo.pipeline_report = pipeline.stages[-1].recommender.report()
    clock.lap("pipeline")
    demo.shoppers, demo.sentences = _shoppers(pipeline, split, shoppers, seed=seed, progress=progress)
    clock.lap("shoppers")
    demo.seconds = clock.laps
    return demo


def prepare(*, progress: Progress = silent) -> tuple[Dataset, dict[str, Any]]:
    """Read the packaged orders; keep first purchases of households and products with enough of them.

    Returns:
        The data, and what was read, noticed and left out.
    """
    data, report = readers.read("complete-journey", progress=progress)
    first = without_repeats(data)
    core = k_core(first, USER_CORE, items=ITEM_CORE)
    facts = {
        "data": "The Complete Journey (84.51), simulated retail orders",
        "notes": report.notes,
        "interactions_read": len(data),
        "first_purchases": len(first),
        "core": f"households with {USER_CORE} and products with {ITEM_CORE} first purchases, over the whole year",
    }
    return core, facts


def _measure(name: str, pipeline: Pipeline, split: Split, *, seed: int, progress: Progress) -> dict[str, Any]:
    """Evaluate one method on all test households."""
    result = evaluate.evaluate(pipeline, split, ks=(LIST_LENGTH,), seed=seed, progress=progress)
    return _row(name, result, result.metrics, seconds=_seconds(result))


def _row(name: str, result: Evaluation, measures: dict[str, Any], *, seconds: float | None) -> dict[str, Any]:
    """Return one row of the comparison."""
    wanted = (f"ndcg@{LIST_LENGTH}", f"recall@{LIST_LENGTH}", f"hit_rate@{LIST_LENGTH}")
    found = {measure: measures[measure] for measure in wanted}
    return {"model": name, "shoppers": result.protocol["test_queries"], **found, "seconds": seconds}


def _seconds(result: Evaluation) -> float:
    return float(result.cost["fit_seconds"] + result.cost["rank_seconds"])


def _shoppers(
    pipeline: Pipeline, split: Split, count: int, *, seed: int, progress: Progress
) -> tuple[list[Shopper], dict[str, int]]:
    """Show random test shoppers in full: profile by the language model if there is one, reasons phrased by it."""
    test = split.test.sample(count, seed=seed)
    ranking = pipeline.rank(test.queries, LIST_LENGTH)
    lm = pipeline.stages[-1].recommender.lm
    items = pipeline.items
    names = item_names(items)
    profiles = ProfileWriter(items, lm=lm).write([history[-SHOWN_HISTORY:] for history in test.queries])
    templates, phrased = Explainer(pipeline), Explainer(pipeline, lm=lm)
    ids = split.train.users.ids(() if test.queries.users is None else test.queries.users)
    found = []
    for row in progress(range(len(test)), label="writing reasons"):
        history, listed = test.queries.history(row), [int(item) for item in ranking.items[row] if item >= 0]
        reasons = [(phrased if place == 0 else templates).reason(history, item) for place, item in enumerate(listed)]
        found.append(
            Shopper(
                user_id=ids[row],
                history=tuple(names[item] for item in history[-SHOWN_HISTORY:]),
                profile=profiles[row],
                products=tuple(names[item] for item in listed),
                reasons=tuple(reasons),
                bought=tuple(int(p) for p in np.flatnonzero(np.isin(listed, test.targets.history(row)))),
            )
        )
    return found, dict(phrased.counts)


class _Clock:
    """Seconds between laps, by name."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Note the seconds since the last lap."""
        now = time.perf_counter()
        self.laps[name] = round(now - self._last, 2)
        self._last = now
