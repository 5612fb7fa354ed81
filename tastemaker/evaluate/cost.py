"""What an evaluation cost: seconds, language-model calls, tokens and money, also for 1,000 requests."""

from __future__ import annotations

import resource
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tastemaker.evaluate.lists import Lists
    from tastemaker.pipeline import Pipeline

Usages = list[dict[str, Any]]
COUNTED = ("calls", "cached", "prompt_tokens", "answer_tokens", "seconds")


def usages(pipeline: Pipeline) -> Usages:
    """Return what each stage's language model was asked since it was loaded."""
    return [
        {"stage": number, "model": stage.recommender.lm.name, **asdict(stage.recommender.lm.usage)}
        for number, stage in enumerate(pipeline.stages)
        if stage.recommender.lm is not None
    ]


def since(before: Usages, after: Usages) -> Usages:
    """Return what was asked between two accounts of the same pipeline."""
    return [
        {**late, **{name: late[name] - early[name] for name in COUNTED}}
        for early, late in zip(before, after, strict=True)
    ]


def peak_mib() -> int:
    """Return the most memory that this process has held so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 if sys.platform != "darwin" else 2**20)


def per_1000_requests(
    lists: Lists, spent: Usages, requests: int, *, price: tuple[float, float] | None
) -> dict[str, float | None]:
    """Return seconds, model calls, tokens and, at a stated price, money that 1,000 requests take.

    Args:
        lists: what was ranked.
        spent: what language models were asked for it.
        requests: number of questions.
        price: money for a million prompt tokens and for a million answer tokens.
    """
    scale = 1000 / requests
    read, written = (sum(one[name] for one in spent) * scale for name in ("prompt_tokens", "answer_tokens"))
    return {
        "seconds": round(lists.seconds * scale, 4),
        "calls": round(sum(one["calls"] for one in spent) * scale, 1),
        "prompt_tokens": round(read, 1),
        "answer_tokens": round(written, 1),
        "money": None if price is None else round((read * price[0] + written * price[1]) / 1e6, 6),
    }
