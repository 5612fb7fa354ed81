"""What an evaluation cost: seconds, memory, language-model calls, tokens and money, also for 1,000 requests."""

from __future__ import annotations

import re
import resource
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tastemaker.evaluate.lists import Lists
    from tastemaker.pipeline import Pipeline

Usages = list[dict[str, Any]]
"""One account a language model: "stages" that ask it, "model", and the counts of `Usage`."""

Price = tuple[float, float]
"""Money for a million prompt tokens, and for a million answer tokens."""

NOT_COUNTED = ("stages", "model")
STATUS = Path("/proc/self/status")


def usages(pipeline: Pipeline) -> Usages:
    """Return what each language model of the pipeline was asked since it was loaded; one that stages share is one."""
    found: dict[int, dict[str, Any]] = {}
    for number, stage in enumerate(pipeline.stages):
        lm = stage.recommender.lm
        if lm is not None:
            account = found.setdefault(id(lm.usage), {"stages": [], "model": lm.name, **asdict(lm.usage)})
            account["stages"].append(number)
    return list(found.values())


def since(before: Usages, after: Usages) -> Usages:
    """Return what was asked between two accounts of the same pipeline; models that were not asked are left out."""
    spent = [
        {name: value if name in NOT_COUNTED else value - early[name] for name, value in late.items()}
        for early, late in zip(before, after, strict=True)
    ]
    return [one for one in spent if one["calls"] or one["cached"]]


def labelled(during: str, spent: Usages) -> Usages:
    """Return the accounts with a word for what the questions were asked for."""
    return [{"during": during, **one} for one in spent]


def peak_mib() -> int:
    """Return the most memory that this process has held so far, in MiB.

    On Linux it is read from /proc, because `getrusage` there begins with the peak of the process that started this one.
    """
    try:
        peak = re.search(r"^VmHWM:\s*(\d+) kB", STATUS.read_text(encoding="ascii", errors="replace"), re.MULTILINE)
    except OSError:
        peak = None
    if peak is not None:
        return int(peak[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform != "darwin" else 2**20)


def per_1000_requests(lists: Lists, spent: Usages, requests: int) -> dict[str, float | None]:
    """Return seconds, model calls, cached answers and tokens that 1,000 requests take.

    Tokens are those of all answers, also of those that came from a cache: whoever asks first pays for them.

    Args:
        lists: what was ranked; the seconds are those of this very run, caches included.
        spent: what language models were asked for it.
        requests: number of questions.
    """
    scale = 1000 / requests
    total = {name: sum(one[name] for one in spent) for name in ("calls", "cached")}
    tokens = {
        name: sum(one[name] + one[f"cached_{name}"] for one in spent) for name in ("prompt_tokens", "answer_tokens")
    }
    counted = {name: round(count * scale, 1) for name, count in (total | tokens).items()}
    return {"seconds": round(lists.seconds * scale, 4), **counted}


def money(tokens: Mapping[str, float | None], price: Price | None) -> float | None:
    """Return what "prompt_tokens" and "answer_tokens" cost; None where no price or no count is known."""
    read, written = tokens.get("prompt_tokens"), tokens.get("answer_tokens")
    if price is None or read is None or written is None:
        return None
    return round((read * price[0] + written * price[1]) / 1e6, 6)
