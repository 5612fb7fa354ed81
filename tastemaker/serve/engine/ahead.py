"""Rankings that were made before anybody asked: whether one still holds, and what it says now."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tastemaker.data.ranking import Ranking

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tastemaker.explain import Explainer, Reason
    from tastemaker.serve.engine.asked import Asked
    from tastemaker.serve.engine.live import Live
    from tastemaker.types import Int32

State = Literal["hit", "stale", "missing"]
"""A ranking made ahead holds; or something happened since, or another model made it; or there is none."""
STRATEGY = "precomputed"


def worth_it(live: Live, history: int, *, most: int) -> bool:
    """Say whether a ranking can be made ahead, and whether that gives other lists than those of a request.

    Args:
        live: the model.
        history: products of the shopper's history.
        most: longest history for which a language model is asked.
    """
    if len(live.pipeline.stages) == 1 or live.retriever_asks or not history:
        return False
    return not live.asking or history <= most


def state_of(asked: Asked, *, most: int) -> State | None:
    """Say how a request stands to what was made ahead; None where that cannot answer it.

    It cannot where the request says more than who asks: a wish, products looked at, candidates of the caller's.
    Filters, products to leave out, business rules and variety are applied to what was made.
    """
    shopper, ask, live = asked.shopper, asked.ask, asked.view.live
    if shopper is None or ask.offered is not None or ask.seen:
        return None
    if not worth_it(live, len(asked.history) + len(asked.later), most=most):
        return None
    made = shopper.made
    if made is None:
        return "missing"
    return "hit" if made.model_version == live.version and made.digest == shopper.digest else "stale"


def ranking_of(asked: Asked) -> tuple[Ranking, str]:
    """Return what was made ahead without what must not be listed now, [1, m], and who had the last word."""
    made = None if asked.shopper is None else asked.shopper.made
    if made is None:
        return ranking_from([], []), ""
    numbers = [asked.view.shelf.number(item_id) for item_id in made.item_ids]
    own = frozenset(asked.history.tolist())
    kept = [
        (number, score)
        for number, score in zip(numbers, made.scores, strict=True)
        if number >= 0 and number not in own and not asked.barred(number)
    ]
    return ranking_from([number for number, _ in kept], [score for _, score in kept]), made.source


def ranking_from(items: list[int], scores: list[float]) -> Ranking:
    """Return a ranking of one row."""
    found: Int32 = np.array([items], dtype=np.int32).reshape(1, len(items))
    return Ranking(found, np.array([scores], dtype=np.float32).reshape(1, len(items)))


def phrased(reason: Reason, kept: Mapping[str, Any] | None, explainer: Explainer, item: int) -> Reason:
    """Return a reason in the words that were written ahead, where they rest on the same evidence as it does now.

    Args:
        reason: as it is now, by template.
        kept: as it was made ahead, `Reason.to_dict()`; None for none.
        explainer: that gave `reason`.
        item: the product.
    """
    if kept is None or kept.get("evidence") != [dataclasses.asdict(one) for one in reason.evidence]:
        return reason
    text = str(kept.get("text", ""))
    if explainer.fault(text, item, reason.evidence) is not None:
        return reason
    return dataclasses.replace(reason, text=text, phrased_by=str(kept.get("phrased_by", "")))
