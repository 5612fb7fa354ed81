"""From what was ranked to the list that is shown: new products, variety, business rules, and what fills it up."""

from __future__ import annotations

import dataclasses
import math
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from tastemaker.serve.engine import business
from tastemaker.serve.engine.asks import Listed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tastemaker.data.ranking import Ranking
    from tastemaker.serve.engine.asked import Asked
    from tastemaker.types import Float32, Int32

POOL = 5
"""So many times the list's length are looked at for variety and by rules."""
MORE = 2
"""So many times the list's length are varied where rules may take away from it."""


def width_for(asked: Asked) -> int:
    """Return how many products have to be ranked for the list that is wanted."""
    ask = asked.ask
    arranges = asked.plan is not None or ask.diversity > 0
    return asked.ahead + (POOL * ask.n if arranges else ask.n)


def put_together(asked: Asked, ranking: Ranking, source: str, *, by_texts: bool, new_items: int) -> None:
    """Fill the answer's list.

    Args:
        asked: the request.
        ranking: [1, k]; what the stages say.
        source: who said it.
        by_texts: whether its scores are cosines of texts, so that new products compare with it.
        new_items: most places of a list of ten for new products, where they do not compare.
    """
    ask = asked.ask
    real = ranking.items[0] >= 0
    pool = [
        Listed(item, score, source)
        for item, score in zip(ranking.items[0][real].tolist(), ranking.scores[0][real].tolist(), strict=True)
    ]
    if asked.answer.strategy == "popular":  # what is popular is this list, which new products stand at the end of
        pool = _filling(asked, pool, ask.n)
    if asked.view.shelf.new and ask.offered is None:
        pool = _with_new(asked, pool, by_texts=by_texts, most=math.ceil(ask.n * new_items / 10))
    if ask.diversity > 0 and len(pool) > 1:
        pool = _varied(asked, pool)
    if ask.as_given or asked.plan is None:
        asked.answer.items = [*pool[: ask.n], *_filling(asked, pool, ask.n - len(pool))]
    else:  # rules arrange what fills the list, too: caps hold for it, and it goes before their own fallback
        asked.answer.items = _ruled(asked, [*pool, *_filling(asked, pool, width_for(asked) - len(pool))])


def _with_new(asked: Asked, pool: list[Listed], *, by_texts: bool, most: int) -> list[Listed]:
    """Put in products that the model does not know, as far as they read like what the shopper likes."""
    new, profile = asked.view.new, asked.profile
    if new is None or profile is None or not profile.known:
        return pool
    scores = new.vectors @ profile.values
    may = (scores > 0) & asked.listable()[new.numbers]
    if not asked.ask.seen:
        may &= ~np.isin(new.numbers, [*asked.later, *asked.had])
    rows = np.flatnonzero(may)
    order = rows[np.argsort(-scores[rows], kind="stable")][: POOL * asked.ask.n]
    fresh = [Listed(int(new.numbers[row]), float(scores[row]), "text") for row in order]
    if by_texts:
        return sorted([*pool, *fresh], key=lambda one: -one.score)  # sorted is stable: of equal ones the known first
    texts = asked.view.texts
    shown = [one.number for one in pool[: asked.ask.n]]
    if texts is not None and shown:
        floor = float(np.median(texts.model.vectors[shown] @ profile.values))
        fresh = [one for one in fresh if one.score >= floor]
    fresh = fresh[:most]
    head = max(0, asked.ask.n - len(fresh))
    return [*pool[:head], *fresh, *pool[head:]]


def _vectors(asked: Asked) -> Callable[[Int32], Float32] | None:
    """Return what gives the vectors of products, for variety; None where there are none."""
    view = asked.view
    size = view.live.size
    if view.texts is not None and view.new is not None:
        known, new = view.texts.model.vectors, view.new

        def of(numbers: Int32) -> Float32:
            found = np.zeros((len(numbers), known.shape[1]), dtype=np.float32)
            old = numbers < size
            found[old] = known[numbers[old]]
            if not old.all():
                found[~old] = new.vectors_of(numbers[~old].tolist())
            return found

        return of
    if view.live.retriever.embeds and not view.shelf.new:
        table = view.live.retriever.table
        return lambda numbers: table[numbers]
    return None


def _varied(asked: Asked, pool: list[Listed]) -> list[Listed]:
    vectors = _vectors(asked)
    if vectors is None:
        asked.answer.notes.append("diversity: this model has no vectors of products to tell likeness by")
        return pool
    items, scores = _arrays(pool)
    top = asked.ask.n if asked.plan is None or asked.ask.as_given else MORE * asked.ask.n
    order = business.varied(items, scores, asked.ask.diversity, vectors, len(asked.view.shelf), top=top)
    by_number = {one.number: one for one in pool}
    return [by_number[number] for number in order.tolist()]


def _ruled(asked: Asked, pool: list[Listed]) -> list[Listed]:
    assert asked.plan is not None  # see `put_together`
    items, scores = _arrays(pool)
    plan = dataclasses.replace(asked.plan, allowed=asked.listable())
    arranged = business.arranged_by(plan, items, scores, asked.ask.n, _vectors(asked))
    asked.answer.arranged = business.audit_lines(arranged.notes, asked.view.shelf)
    by_number = {one.number: one for one in pool}
    lowest = pool[-1].score if pool else 0.0
    found = []
    for number, placed in zip(arranged.items.tolist(), arranged.sources, strict=True):
        known = by_number.get(number)
        if placed == "ranked" and known is not None:
            found.append(known)
        else:
            found.append(Listed(number, known.score if known is not None else lowest, f"rule:{placed}"))
    return found


def _filling(asked: Asked, pool: Sequence[Listed], most: int) -> list[Listed]:
    """Return what fills a list that is short: the caller's candidates in their order, or what is popular."""
    if most <= 0:
        return []
    ask, view = asked.ask, asked.view
    if ask.offered is not None:
        numbers, _ = view.shelf.numbers(list(dict.fromkeys(ask.offered)))
        filler, source, seen = numbers.tolist(), "caller", frozenset[int]()
    else:
        filler, source = view.live.popular.tolist(), "popular"
        seen = frozenset() if ask.seen else frozenset(asked.history.tolist())
    listed = {one.number for one in pool}
    score = min((one.score for one in pool), default=0.0)
    step = max(1.0, abs(score)) * 1e-3
    fit = (one for one in filler if one not in listed and one not in seen and not asked.barred(one))
    return [Listed(number, score - place * step, source) for place, number in enumerate(islice(fit, most), start=1)]


def _arrays(pool: Sequence[Listed]) -> tuple[Int32, Float32]:
    items = np.array([one.number for one in pool], dtype=np.int32)
    scores = np.array([one.score for one in pool], dtype=np.float32)
    return items, scores
