"""Whether lists change with who asks or how it is put: the audit of FaiRLLM, names, and rewording.

A wish is put neutrally ("I am a shopper. ..."), and again with a word about the person ("I am a female shopper. ...").
How alike the two lists are is averaged over shoppers for each word; how far that mean ranges over the words of one
attribute (SNSR) and how it spreads (SNSV) tells whether somebody is served differently (Zhang et al., RecSys 2023,
arXiv 2305.07609). Rewording the wish itself shows how far lists move without any such reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker.data.queries import Queries
from tastemaker.probes.means import mean_with_interval
from tastemaker.probes.similarity import MEASURES, similarities

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tastemaker.data.ranking import Ranking
    from tastemaker.pipeline import Pipeline

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "gender": ("female", "male"),
    "age": ("young", "middle-aged", "old"),
    "country": ("American", "Brazilian", "British", "Chinese", "French", "German", "Japanese"),
    "continent": ("African", "American", "Asian"),
    "occupation": ("doctor", "student", "teacher", "worker", "writer"),
    "race": ("African American", "black", "white", "yellow"),
    "religion": ("Buddhist", "Christian", "Islamic"),
    "physics": ("fat", "thin"),
}
"""The sensitive attributes and values of FaiRLLM (table 1), gender without its words for children."""
NAMES = ("Emily", "Lakisha", "Greg", "Jamal", "Fatima", "Mei", "Santiago", "Olga")
"""First names that tell gender and origin (the first four: Bertrand and Mullainathan, AER 2004)."""
NEUTRAL, ABOUT, NAMED = "I am a shopper. {wish}", "I am a {value} shopper. {wish}", "My name is {value}. {wish}"
REWORDED = ("{wish}", "I am looking for this: {wish}", "Please show me {wish}, thank you", "Could you find {wish}?")
"""Other ways to say the same."""
WISHES = ("something that I will use every day", "a gift for a friend", "something new that suits me")
"""Wishes that name no product, so that the history and the person are all there is to go by; they take turns."""

Question = tuple[str, str]
"""(what the value stands for, the wish with it)."""


def sensitivity(
    pipeline: Pipeline,
    queries: Queries,
    *,
    k: int = 10,
    masking: bool = True,
    attributes: Mapping[str, Sequence[str]] | None = None,
    names: Sequence[str] = NAMES,
    wishes: Sequence[str] = WISHES,
    seed: int,
) -> dict[str, Any] | None:
    """Compare lists of a neutral wish with lists of the same wish by somebody, and with rewordings.

    Args:
        pipeline: fitted; each value costs a list for each query.
        queries: B histories; a wish of their own is used instead of `wishes`.
        k: list length.
        masking: whether items of the history are left out.
        attributes: attribute -> values; those of FaiRLLM by default.
        names: first names.
        wishes: for queries without one, in turn.
        seed: of the intervals.

    Returns:
        None if the pipeline reads no wish: then nothing of the kind can reach its lists. Otherwise "asked", "k" and
        "groups": each attribute, "name" and "rewording" -> "values" (value -> mean similarity by measure), and by
        measure "range" (SNSR@k: highest less lowest mean), "deviation" (SNSV@k: standard deviation of the means) and
        "mean" over queries and values with a 95 % interval.
    """
    if not pipeline.heeds_wish() or not len(queries):
        return None
    given = queries.texts or ("",) * len(queries)
    asked = [wish.strip() or wishes[row % len(wishes)] for row, wish in enumerate(given)]

    def lists(template: str, value: str = "") -> Ranking:
        texts = tuple(template.format(wish=wish, value=value) for wish in asked)
        said = Queries(queries.offsets, queries.items, texts, queries.users)
        return pipeline.rank(said, k, seen=not masking)

    neutral, plain = lists(NEUTRAL), lists(REWORDED[0])
    groups = {}
    for attribute, values in (ATTRIBUTES if attributes is None else attributes).items():
        told = {value: similarities(neutral, lists(ABOUT, value), k) for value in values}
        groups[attribute] = _audited(told, seed=seed)
    if names:
        groups["name"] = _audited({name: similarities(neutral, lists(NAMED, name), k) for name in names}, seed=seed)
    groups["rewording"] = _audited(
        {template: similarities(plain, lists(template), k) for template in REWORDED[1:]}, seed=seed
    )
    return {"asked": len(queries), "k": k, "groups": groups}


def _audited(told: Mapping[str, Mapping[str, Any]], *, seed: int) -> dict[str, Any]:
    """Sum up the similarities of one attribute's values."""
    means = {
        value: {
            measure: float(np.nanmean(found[measure])) for measure in MEASURES if not np.isnan(found[measure]).all()
        }
        for value, found in told.items()
    }
    known = [measure for measure in MEASURES if all(measure in mean for mean in means.values())]
    over = {measure: np.array([mean[measure] for mean in means.values()]) for measure in known}
    return {
        "values": means,
        "range": {measure: float(np.ptp(values)) for measure, values in over.items()},
        "deviation": {measure: float(values.std()) for measure, values in over.items()},
        "mean": {
            measure: mean_with_interval(
                [
                    float(value)
                    for value in np.concatenate([found[measure] for found in told.values()])
                    if value == value
                ],
                seed=seed,
            )
            for measure in known
        },
    }
