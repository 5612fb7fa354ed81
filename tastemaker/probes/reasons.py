"""Whether reasons rest on evidence, and whether that evidence matters: take it away and see if the item falls."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tastemaker.data.queries import Queries
from tastemaker.probes.means import mean_with_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tastemaker.data.ranking import Ranking
    from tastemaker.explain import Explainer
    from tastemaker.pipeline import Pipeline
    from tastemaker.types import Int32, Int64

T = TypeVar("T")

BLOCK = 5
"""Reasons whose altered histories are ranked at once; the time limit is looked at between blocks."""


def grounding(
    explainer: Explainer,
    queries: Queries,
    ranking: Ranking,
    *,
    asked: int = 100,
    seconds: float | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Ask for the reasons of listed items drawn at random, and count which of them rest on evidence.

    Args:
        explainer: made for the recommender that gave the lists.
        queries: B histories.
        ranking: their lists, [B, k].
        asked: reasons wanted.
        seconds: stop after this time; None takes all the time it needs.
        seed: of the draw.

    Returns:
        "asked" (reasons given in time), "grounded" (those with evidence), "share_grounded", "by_kind" (kind of
        evidence -> share of reasons that cite it), and "sentences": None where no language model wrote any, else how
        many were "written", how many "kept" because they cite nothing beyond their evidence, "share_kept", and why
        the others were "dropped" for the template's.
    """
    listed = np.flatnonzero(ranking.items >= 0)
    before = Counter(explainer.counts)
    kinds: Counter[str] = Counter()
    given = grounded = 0
    for case in _in_time(_drawn(queries, ranking, listed, asked, seed=seed), seconds):
        reason = explainer.reason(case.history, case.item, wish=case.wish)
        given += 1
        grounded += bool(reason.evidence)
        kinds.update({evidence.kind for evidence in reason.evidence})
    written = Counter(explainer.counts) - before
    return {
        "asked": given,
        "grounded": grounded,
        "share_grounded": grounded / given if given else None,
        "by_kind": {kind: count / given for kind, count in kinds.most_common()},
        "sentences": _sentences(written) if written else None,
    }


def counterfactual(
    pipeline: Pipeline,
    explainer: Explainer,
    queries: Queries,
    ranking: Ranking,
    *,
    seed: int,
    depth: int = 100,
    asked: int = 100,
    seconds: float | None = None,
) -> dict[str, Any]:
    """Take the products that a reason cites out of the history, rank again, and see whether the item falls.

    The control takes out as many products of the same history that the reason does not cite. A true reason makes the
    item fall, and more often than the control does. Products taken out may not fill the new list: they are left out of
    all three lists before places are compared. Listed items that the shopper has are not looked at.

    Args:
        pipeline: the recommender that gave the lists.
        explainer: made for it.
        queries: B histories.
        ranking: their lists, [B, k].
        seed: of the draw, the controls, and the intervals.
        depth: places of the lists that are looked at; an item that is not among them counts as at the first place
            beyond.
        asked: shoppers drawn, among those with two different products at least; of each one listed item, so that the
            cases are independent and the intervals mean what they say.
        seconds: stop after this time; None takes all the time it needs.

    Returns:
        "asked" (items looked at in time), "cites no purchase" and "without a control" (not tested, because the history
        holds too few products that are not cited), "tested", "depth", "sources" (model whose arithmetic was cited ->
        reasons tested); and over those tested, with 95 % intervals: "fell" and "control_fell" (shares), their paired
        "difference", "rank_change" and "control_rank_change" (places lost). A mean over nothing is None.
    """
    ranking = ranking.cut(depth)
    rng = np.random.default_rng(seed)
    places = _one_a_row(_testable(queries, ranking), ranking.items.shape[1], seed=seed)
    cases = _drawn(queries, ranking, places, asked, seed=seed)
    outcomes: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    ranks = [np.empty((0, 3), dtype=np.int64)]
    for start in _in_time(range(0, len(cases), BLOCK), seconds):
        trials = []
        for case in cases[start : start + BLOCK]:
            evidence = explainer.evidence(case.history, case.item, wish=case.wish)
            purchases = {one.item_id: one.source for one in evidence if one.kind == "history" and one.item_id}
            cited = np.unique(pipeline.items.numbers([*purchases]))
            others = np.setdiff1d(case.history, cited)
            if not len(cited):
                outcomes["cites no purchase"] += 1
            elif len(others) < len(cited):
                outcomes["without a control"] += 1
            else:
                outcomes["tested"] += 1
                sources.update(set(purchases.values()))
                trials.append(_Trial(case, cited, rng.choice(others, len(cited), replace=False)))
        ranks.append(_ranks(pipeline, queries, trials, depth))
    whole, without_cited, without_control = np.concatenate(ranks).T
    fell, control_fell = without_cited > whole, without_control > whole
    measured = {
        "fell": fell,
        "control_fell": control_fell,
        "difference": fell.astype(int) - control_fell,
        "rank_change": without_cited - whole,
        "control_rank_change": without_control - whole,
    }
    return {
        "asked": outcomes.total(),
        **{name: outcomes[name] for name in ("cites no purchase", "without a control", "tested")},
        "depth": depth,
        "sources": dict(sources),
        **{name: mean_with_interval(values, seed=seed) for name, values in measured.items()},
    }


@dataclass(frozen=True, slots=True)
class _Case:
    """One listed item of one shopper."""

    row: int
    item: int
    history: Int32
    wish: str


@dataclass(frozen=True, slots=True)
class _Trial:
    """One reason to test: what it cites, and as many other products of the history."""

    case: _Case
    cited: Int32
    control: Int32


def _ranks(pipeline: Pipeline, queries: Queries, trials: Sequence[_Trial], depth: int) -> Int64:
    """Return the item's 0-based rank with the whole history, without the cited, and without the control, [T, 3].

    An item beyond `depth` has rank `depth`.
    """
    if not trials:
        return np.empty((0, 3), dtype=np.int64)
    repeated = queries.take(np.repeat([trial.case.row for trial in trials], 3))
    removed = [gone for trial in trials for gone in (np.empty(0, np.int32), trial.cited, trial.control)]
    histories = [history[~np.isin(history, gone)] for history, gone in zip(repeated, removed, strict=True)]
    width = depth + max(len(gone) for gone in removed)
    lists = pipeline.rank(Queries.from_lists(histories, texts=repeated.texts, users=repeated.users), width).items
    ranks = np.full((len(trials), 3), depth, dtype=np.int64)
    for line, (items, gone) in enumerate(zip(lists, removed, strict=True)):
        at = np.flatnonzero(items[~np.isin(items, gone)][:depth] == trials[line // 3].case.item)
        if len(at):
            ranks[line // 3, line % 3] = at[0]
    return ranks


def _testable(queries: Queries, ranking: Ranking) -> Int64:
    """Return the flat places of items that the shopper does not have, where the history has two different products."""
    n = int(max(ranking.items.max(initial=0), queries.items.max(initial=0))) + 1
    known = np.unique(queries.rows * n + queries.items)
    listed = np.arange(len(ranking))[:, None] * n + ranking.items
    several = np.bincount(known // n, minlength=len(queries)) >= 2
    return np.flatnonzero((ranking.items >= 0) & several[:, None] & ~np.isin(listed, known))


def _one_a_row(places: Int64, width: int, *, seed: int) -> Int64:
    """Return one of the flat places of each row that has any, at random."""
    shuffled = np.random.default_rng(seed).permutation(places)
    _, first = np.unique(shuffled // width, return_index=True)
    return shuffled[first]


def _drawn(queries: Queries, ranking: Ranking, places: Int64, count: int, *, seed: int) -> list[_Case]:
    """Return the cases at `count` of the flat places in random order, or at all of them."""
    drawn = np.random.default_rng(seed).choice(places, min(count, len(places)), replace=False)
    wishes = queries.texts or ("",) * len(queries)
    return [
        _Case(row, int(ranking.items[row, column]), queries.history(row), wishes[row])
        for row, column in (divmod(int(place), ranking.items.shape[1]) for place in drawn)
    ]


def _in_time(steps: Iterable[T], seconds: float | None) -> Iterator[T]:
    """Yield steps until the time is up."""
    started = time.perf_counter()
    for step in steps:
        if seconds is not None and time.perf_counter() - started >= seconds:
            return
        yield step


def _sentences(written: Counter[str]) -> dict[str, Any]:
    """Sum up what became of the language model's sentences."""
    total = written.total()
    dropped = {name.removeprefix("dropped: "): count for name, count in written.items() if name != "kept"}
    return {"written": total, "kept": written["kept"], "share_kept": written["kept"] / total, "dropped": dropped}
