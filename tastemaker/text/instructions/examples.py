"""Training examples for language models: a history, what was bought next, and candidates to choose from.

All of it comes from the training interactions and the catalogue; nothing held out can enter, as it is never given. The
recipe is PALR's (arXiv 2305.07622, sections 2.4 and 2.5): candidates are the targets and similar products (same
category, or bought by the same shoppers), whatever the retriever; short histories are filled up over three hops; a
product of the history and a target change places now and then; a share of the shoppers is enough.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from tastemaker import configurable
from tastemaker.data.queries import Queries
from tastemaker.errors import DataError
from tastemaker.text.instructions.affinity import Affinity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.ranking import Ranking
    from tastemaker.types import Float32, Int32, Int64

    Retriever = Callable[[Queries, int], Ranking]
    """From histories and k to k candidates of each."""

POOL = 10
"""A target's similar products are drawn from so many times as many that were bought with it, the most often ones."""


class ExampleConfig(configurable.Config):
    """How training examples are drawn.

    Attributes:
        share: of the shoppers who bought enough, drawn at random (PALR: 0.2).
        cuts: places at which each of these shoppers' histories is cut into history and targets: the newest one before
            something that the shopper had not bought yet, and random earlier ones.
        targets: products after the cut that are to be recommended; 1 is what letter likelihoods are read for.
        swap: chance that a product of the history and a target change places (PALR).
        fill: histories shorter than this are filled up, before the oldest product, over three hops (PALR); 0 fills
            none.
        negatives: where the other candidates come from. "similar": half of the target's category, half bought by the
            same shoppers (PALR); "mined": the best of a co-occurrence table of the training data, which is what a
            retriever offers; "retrieved": the same table without this shopper, and only the examples whose targets it
            offers, so that targets are as like the others as they are when the ranker is asked (use many `cuts`, as
            most examples drop out, and `swap = 0`); "random": any product that was bought.
    """

    share: float = Field(default=0.2, gt=0, le=1)
    cuts: int = Field(default=1, ge=1)
    targets: int = Field(default=1, ge=1)
    swap: float = Field(default=0.1, ge=0, le=1)
    fill: int = Field(default=3, ge=0)
    negatives: Literal["similar", "mined", "retrieved", "random"] = "similar"


@dataclass(frozen=True, slots=True)
class Example:
    """One shopper at one moment.

    Attributes:
        user: number of the shopper.
        history: item numbers, oldest first.
        targets: what was bought next, in order.
        candidates: the targets and others that the shopper did not buy, in random order.
    """

    user: int
    history: Int32
    targets: Int32
    candidates: Int32


def draw_examples(
    train: Dataset,
    config: ExampleConfig,
    *,
    history: int = 20,
    candidates: int = 20,
    retriever: Retriever | None = None,
    seed: int = 0,
) -> list[Example]:
    """Draw training examples.

    Args:
        train: where they come from.
        config: how they are drawn.
        history: newest products of a history that are kept (PALR: 20).
        candidates: targets and negatives of an example together, as far as there are so many products.
        retriever: takes the place of `config.negatives`. One that was fitted on `train` has counted the very purchases
            that are the targets, so its candidates are easier to tell from targets than those of new shoppers; fit it
            on other shoppers, or on what came before the cuts.
        seed: decides all that is random.

    Raises:
        DataError: no shopper has bought two different products, or no target is among what is retrieved.
    """
    rng = np.random.default_rng(seed)
    bought = train.queries()
    enough = np.flatnonzero(bought.lengths >= 2)
    chosen: Int64 = np.sort(rng.permutation(enough)[: max(1, round(config.share * len(enough)))])
    drawn = [example for user in chosen for example in _cuts(int(user), bought.history(int(user)), config, rng)]
    if not drawn:
        raise DataError("instruction pairs: no shopper has bought two different products, so there is nothing to ask")
    drawn = [_swapped(replace(one, history=one.history[-history:]), config.swap, rng) for one in drawn]
    affinity = Affinity(train)
    shorter = [place for place, one in enumerate(drawn) if len(one.history) < config.fill]
    reached = affinity.three_hop([drawn[place].history for place in shorter])
    for place, (items, _) in zip(shorter, reached, strict=True):
        drawn[place] = _filled(drawn[place], items, bought.history(drawn[place].user), min(config.fill, history))
    if retriever is None and config.negatives == "retrieved":
        found = affinity.mined([one.history for one in drawn])
        every = [
            _retrieved(one, *mined, affinity, bought.history(one.user), candidates)
            for one, mined in zip(drawn, found, strict=True)
        ]
        kept = [(one, offered) for one, offered in zip(drawn, every, strict=True) if offered is not None]
        if not kept:
            raise DataError('instruction pairs: no target is among what is retrieved; set negatives = "similar"')
    else:
        kept = list(zip(drawn, _offers(drawn, affinity, config, candidates, retriever, rng), strict=True))
    return [
        _with_candidates(one, offered, affinity, bought.history(one.user), candidates, rng) for one, offered in kept
    ]


def _cuts(user: int, items: Int32, config: ExampleConfig, rng: np.random.Generator) -> Iterator[Example]:
    """Cut one shopper's purchases at the newest place that leaves all targets, and at random earlier ones.

    Only before something new: what is bought again is no candidate.
    """
    first = np.zeros(len(items), dtype=bool)
    first[np.unique(items, return_index=True)[1]] = True
    last = max(1, len(items) - config.targets)
    places = np.array([at for at in range(1, last + 1) if first[at : at + config.targets].any()], dtype=np.int64)
    earlier = rng.permutation(places[:-1])[: config.cuts - 1]
    for place in (*places[-1:].tolist(), *sorted(earlier.tolist(), reverse=True)):
        after = list(dict.fromkeys(items[place : place + config.targets].tolist()))
        targets = [item for item in after if item not in items[:place]]
        yield Example(user, items[:place], np.array(targets, dtype=np.int32), np.empty(0, dtype=np.int32))


def _filled(example: Example, reached: Int32, bought: Int32, length: int) -> Example:
    """Put products that are three hops away, and that the shopper never bought, before the oldest one."""
    more = reached[~np.isin(reached, bought)][: length - len(example.history)]
    return replace(example, history=np.concatenate([more[::-1], example.history]))


def _swapped(example: Example, chance: float, rng: np.random.Generator) -> Example:
    """Let a random product of the history and a random target change places, with some chance."""
    if rng.random() >= chance:
        return example
    history, targets = example.history.copy(), example.targets.copy()
    one, other = rng.integers(len(history)), rng.integers(len(targets))
    moved = history[one]
    history[history == moved] = targets[other]  # wherever it stands, so that no target is in the history
    targets[other] = moved
    return replace(example, history=history, targets=targets)


def _offers(
    drawn: Sequence[Example],
    affinity: Affinity,
    config: ExampleConfig,
    candidates: int,
    retriever: Retriever | None,
    rng: np.random.Generator,
) -> Iterator[Int32]:
    """Yield products to offer to each example, best first; they may be too many, and some may have been bought."""
    histories = [one.history for one in drawn]
    if retriever is not None:
        # Room for what the shopper bought, which is taken out.
        ranking = retriever(Queries.from_lists(histories), 2 * candidates)
        yield from (row[row >= 0] for row in ranking.items)
    elif config.negatives == "mined":
        yield from (items for items, _ in affinity.mined(histories))
    elif config.negatives == "similar":
        yield from (_similar(one, affinity, candidates, rng) for one in drawn)
    else:
        yield from (np.empty(0, dtype=np.int32) for _ in drawn)


def _retrieved(
    example: Example, items: Int32, scores: Float32, affinity: Affinity, bought: Int32, count: int
) -> Int32 | None:
    """Return the first `count` products that a retriever without this shopper offers; None if a target is not there.

    Args:
        example: with history and targets.
        items: of `Affinity.mined`, with this shopper.
        scores: of them.
        affinity: where they are from.
        bought: all that the shopper bought.
        count: candidates of an example.
    """
    if not np.isin(example.targets, items[: count + len(bought)]).all():
        return None  # not even with this shopper's own purchases counted
    own = np.isin(items, bought)
    others = scores.astype(np.float64)
    others[own] -= affinity.own_part(example.history, bought, items[own])
    there = (others > 1e-6) & (~own | np.isin(items, example.targets))
    items, others = items[there], others[there]
    offered = items[np.lexsort((items, -others))][:count]
    return offered if np.isin(example.targets, offered).all() else None


def _similar(example: Example, affinity: Affinity, count: int, rng: np.random.Generator) -> Int32:
    """Draw products of the targets' categories, and products that were bought with them, in turns."""
    each = -(-count // (2 * len(example.targets)))
    parts: list[Int32] = []
    for target in example.targets.tolist():
        kin = affinity.same_category(target)
        items, times = affinity.bought_with(target)
        often = np.argsort(-times, kind="stable")[: POOL * count]
        items, times = items[often], times[often]
        size = min(2 * each, len(items))
        together = rng.choice(items, size, replace=False, p=times / times.sum()) if size else items
        parts += [rng.permutation(kin)[: 2 * each], together]
    width = max(map(len, parts))
    turns = np.full((width, len(parts)), -1, dtype=np.int32)
    for column, part in enumerate(parts):
        turns[: len(part), column] = part
    return turns[turns >= 0]


def _with_candidates(
    example: Example,
    offered: Int32,
    affinity: Affinity,
    bought: Int32,
    count: int,
    rng: np.random.Generator,
) -> Example:
    """Offer the targets and what was found, less what the shopper has; random products make up what is missing."""
    taken = np.concatenate([bought, example.history, example.targets])
    room = max(0, count - len(example.targets))
    found = list(dict.fromkeys(offered[~np.isin(offered, taken)].tolist()))[:room]
    if len(found) < room:
        spare = rng.permutation(affinity.popular)
        spare = spare[~np.isin(spare, np.concatenate([taken, np.array(found, dtype=np.int32)]))]
        found += spare[: room - len(found)].tolist()
    every = np.concatenate([example.targets, np.array(found, dtype=np.int32)])
    return replace(example, candidates=rng.permutation(every).astype(np.int32))
