"""How far attacks lift products, with the defences off and on: rank gain and exposure gain, with intervals.

A product just outside what a shopper would see has its text written anew; the same shopper is asked again. All products
that are attacked are poisoned at once, and each is placed among the honest ones alone, so they do not compete with each
other. Both runs read the same catalogue through the same models; "before" has the defences off
(`tastemaker.defences`): texts as the seller wrote them and no bound on rising. Each run has its own honest lists.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tastemaker import metrics, probes
from tastemaker.attacks.rereading import Reread, reading_parts
from tastemaker.attacks.texts import Attack, Knowledge, poisoned
from tastemaker.defences import undefended
from tastemaker.errors import ConfigError, DataError
from tastemaker.progress import Progress, silent
from tastemaker.text.manipulation import kinds_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.data.queries import Queries
    from tastemaker.pipeline import Pipeline
    from tastemaker.types import Bool, Int32, Int64

CONDITIONS = ("before", "after")
"""Without defences, and with them."""
NEAR = 100
"""Places of a list of the whole catalogue from which products are drawn: rivals of those that are seen."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is tried.

    Attributes:
        shoppers: drawn at random among those with a history.
        targets: products whose sellers attack, at most; each shopper is asked about one.
        k: length of the lists in which a product is seen.
        seed: of all draws.
    """

    shoppers: int = 50
    targets: int = 50
    k: int = 10
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Standing:
    """Where the targets stand in each shopper's list.

    Attributes:
        places: 0-based, among the products that are not attacked, [B, T]; the length of the list where not listed.
        rises: places above the first stage's list, [B, T]; 0 with one stage.
    """

    places: Int64
    rises: Int64


def measure(
    pipeline: Pipeline,
    train: Dataset,
    queries: Queries,
    attacks: Sequence[Attack],
    *,
    asked: Asked | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Try attacks on a fitted pipeline, which is left as it was.

    Args:
        pipeline: fitted on `train`, or at least on its catalogue.
        train: the catalogue and what is popular; models that learn from texts are fitted anew on it.
        queries: the shoppers to draw from, with their histories.
        attacks: to try.
        asked: how many shoppers and products.
        progress: shown over attacks.

    Returns:
        "protocol" (what was drawn, how many pairs of shopper and product, the texts' readers, the bound on rising),
        "attacks" and "kinds": for "before" and "after" the "rank_gain" (mean places won), the "exposure_gain" (share
        of pairs that enter the first k, less those that leave) with 95 % bootstrap intervals over products, the
        "most" places won above the first stage's list, and "unanswered" questions of language models; "flagged", the
        share of poisoned texts that `text.manipulation.kinds_of` finds suspicious; and "stopped", the exposure gain
        that the defences take away.

    Raises:
        ConfigError: no part of the pipeline reads product texts, or one cannot read them anew.
        DataError: no shopper or no product is left to attack.
    """
    asked = asked or Asked()
    items = pipeline.items
    if train.items.digest != items.digest:
        raise DataError("attack: the data have another catalogue than the model; give those that it was fitted on")
    parts = reading_parts(pipeline)
    if not parts:
        raise ConfigError("attack: no part of this model reads product texts, so no text can move its lists")
    rng = np.random.default_rng(asked.seed)
    rows = rng.permutation(np.flatnonzero(queries.lengths > 0))[: asked.shoppers]
    if not len(rows):
        raise DataError("attack: no shopper has a history")
    queries = queries.take(np.sort(rows))
    depth = len(items)
    knowledge = Knowledge(items, train.popularity)
    with Reread(parts, train) as catalogue:
        targets, pairs = _targets(pipeline, queries, asked, rng)
        knowledge.leaders = _leaders(pipeline, queries, targets, pairs)
        found: dict[str, dict[str, _Outcome]] = {condition: {} for condition in CONDITIONS}
        for condition in CONDITIONS:
            with undefended() if condition == "before" else nullcontext():
                catalogue.read(items)
                honest = _standing(pipeline, queries, targets, depth)
                for attack in progress(attacks, label=f"attacks, {condition} defence"):
                    counts = probes.counts_of(pipeline)
                    catalogue.read(poisoned(items, targets, attack, knowledge))
                    now = _standing(pipeline, queries, targets, depth)
                    failed = probes.failures(probes.counts_since(pipeline, counts))
                    found[condition][attack.name] = _Outcome.of(honest, now, pairs, asked.k, failed)
    flagged = {attack.name: _flagged(items, targets, attack, knowledge) for attack in attacks}
    return {
        "protocol": {
            "shoppers": len(queries),
            "targets": len(targets),
            "pairs": int(pairs.sum()),
            "k": asked.k,
            "seed": asked.seed,
            "catalogue": depth,
            "readers": [part.name for part in parts],
            "max_rise": _bounds(pipeline),
            "interval": "95 % percentile bootstrap over attacked products, 1,000 resamples",
        },
        "attacks": [{**_described(attack), **_summed([attack], found, flagged, asked.seed)} for attack in attacks],
        "kinds": [
            {
                "kind": kind,
                "attacks": len(own := [attack for attack in attacks if attack.kind == kind]),
                **_summed(own, found, flagged, asked.seed),
            }
            for kind in dict.fromkeys(attack.kind for attack in attacks)
        ],
    }


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What one attack won, by target.

    Attributes:
        gains: summed places won over the pairs of each target, [T].
        entered: pairs that are among the first k now, less those that were before, [T].
        pairs: of each target, [T].
        most: places above the first stage's list, over all pairs.
        unanswered: questions that a language model left open.
    """

    gains: Int64
    entered: Int64
    pairs: Int64
    most: int
    unanswered: int

    @classmethod
    def of(cls, honest: _Standing, now: _Standing, pairs: Bool, k: int, unanswered: int) -> _Outcome:
        """Compare two standings."""
        gains = np.where(pairs, honest.places - now.places, 0).sum(axis=0)
        entered = np.where(pairs, (now.places < k).astype(int) - (honest.places < k), 0).sum(axis=0)
        most = int(now.rises[pairs].max(initial=0))
        return cls(gains, entered, pairs.sum(axis=0), most, unanswered)


def _targets(pipeline: Pipeline, queries: Queries, asked: Asked, rng: np.random.Generator) -> tuple[Int32, Bool]:
    """Draw the products to attack, and say which of them counts for which shopper.

    Each shopper gets one product of the list behind the first k, and as far as the lists allow nobody's list holds the
    product of another: a re-ranker would compare the two. Where a re-ranker reads the texts, the list is what the stage
    before offers it, as no text can move anything else; else the first `NEAR` places.
    """
    reach = _reach(pipeline)
    lists = pipeline.rank_by_stage(queries, reach)[-1].cut(reach).items
    first = min(asked.k, lists.shape[1] // 2)
    drawn: dict[int, int] = {}
    for alone in (True, False):
        for row in rng.permutation(len(lists)).tolist():
            taken = set(drawn.values())
            others = {int(item) for other in drawn for item in lists[other]}
            offers = [int(item) for item in rng.permutation(lists[row, first:]) if item >= 0]
            if row not in drawn and (len(taken) < asked.targets or taken & set(offers)):
                fit = [item for item in offers if item in taken or len(taken) < asked.targets]
                if alone:
                    listed = set(lists[row].tolist()) & taken
                    fit = [item for item in fit if not listed - {item} and (item in taken or item not in others)]
                drawn |= {row: fit[0]} if fit else {}
    if not drawn:
        raise DataError(
            f"attack: no list has a product behind place {first}; keep more candidates, or take more data where the "
            f"catalogue itself ends there"
        )
    targets = np.unique(np.array(list(drawn.values()), dtype=np.int32))
    pairs = np.zeros((len(queries), len(targets)), dtype=np.bool_)
    for row, item in drawn.items():
        pairs[row, np.searchsorted(targets, item)] = True
    return targets, pairs


def _leaders(pipeline: Pipeline, queries: Queries, targets: Int32, pairs: Bool) -> dict[int, int]:
    """Return what stands first in the list of the shopper about whom each product's seller cares."""
    first = pipeline.rank_by_stage(queries, 1)[-1].items[:, 0]
    return {int(item): int(first[np.argmax(pairs[:, column])]) for column, item in enumerate(targets)}


def _standing(pipeline: Pipeline, queries: Queries, targets: Int32, depth: int) -> _Standing:
    """Rank, without the fallback, and look where the targets stand."""
    stages = pipeline.rank_by_stage(queries, depth)
    first, last = stages[0].items, stages[-1].cut(depth).items
    shape = (len(queries), len(targets))
    places, rises = np.empty(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    column = {int(item): at for at, item in enumerate(targets)}
    for row in range(len(queries)):
        listed = last[row][last[row] >= 0]
        attacked = np.isin(listed, targets)
        honest_before = np.cumsum(~attacked)
        places[row] = depth
        for at in np.flatnonzero(attacked):
            places[row, column[int(listed[at])]] = honest_before[at]
        if len(stages) > 1:
            was = {int(item): at for at, item in enumerate(first[row]) if item in column}
            for at in np.flatnonzero(attacked):
                item = int(listed[at])
                rises[row, column[item]] = was.get(item, depth) - at
    return _Standing(places, rises)


def _reach(pipeline: Pipeline) -> int:
    """Return from how many places products are drawn."""
    if reading_parts(pipeline.stages[0].recommender):
        return NEAR
    reached = []
    for before, stage in zip(pipeline.stages, pipeline.stages[1:], strict=False):
        if reading_parts(stage.recommender):
            shown = getattr(stage.recommender.config, "candidates", before.keep)
            reached.append(min(before.keep, shown if isinstance(shown, int) else before.keep))
    return max(reached, default=NEAR)


def _bounds(pipeline: Pipeline) -> dict[str, int | None]:
    """Return by stage how far it may lift a candidate; None where nothing bounds it."""
    return {
        f"{number}: {stage.recommender.name}": getattr(stage.recommender, "max_rise", None)
        for number, stage in enumerate(pipeline.stages)
        if number
    }


def _flagged(items: Entities, targets: Int32, attack: Attack, knowledge: Knowledge) -> float:
    """Return the share of poisoned texts that look suspicious, as written, before they are cleaned."""
    frame = poisoned(items, targets, attack, knowledge).frame
    column = attack.field if attack.field in frame.columns else "title_keywords"
    texts = frame[column].cast(pl.String).to_list()
    return float(np.mean([bool(kinds_of(texts[item] or "")) for item in targets]))


def _described(attack: Attack) -> dict[str, Any]:
    known = asdict(attack)
    return {name: known[name] for name in ("name", "kind", "field", "language", "source")}


def _summed(
    attacks: Sequence[Attack], found: dict[str, dict[str, _Outcome]], flagged: dict[str, float], seed: int
) -> dict[str, Any]:
    """Sum attacks up: means over pairs and attacks, resampled over products."""
    ratios = {}
    for condition in CONDITIONS:
        own = [found[condition][attack.name] for attack in attacks]
        pairs = np.sum([one.pairs for one in own], axis=0).astype(np.float32)
        for name, values in (
            ("rank_gain", [one.gains for one in own]),
            ("exposure_gain", [one.entered for one in own]),
        ):
            ratios[f"{condition}.{name}"] = metrics.Ratio(np.sum(values, axis=0).astype(np.float32), pairs)
    before, after = (ratios[f"{condition}.exposure_gain"] for condition in CONDITIONS)
    ratios["stopped"] = metrics.Ratio(before.numerators - after.numerators, before.denominators)
    summary = metrics.summarise(ratios, seed=seed)
    return {
        **{
            condition: {
                "rank_gain": summary[f"{condition}.rank_gain"],
                "exposure_gain": summary[f"{condition}.exposure_gain"],
                "most": max(found[condition][attack.name].most for attack in attacks),
                "unanswered": sum(found[condition][attack.name].unanswered for attack in attacks),
            }
            for condition in CONDITIONS
        },
        "stopped": summary["stopped"],
        "flagged": float(np.mean([flagged[attack.name] for attack in attacks])),
    }
