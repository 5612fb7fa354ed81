"""What a comparison found, in sentences, none of which claims more than was tested."""

from __future__ import annotations

from math import isclose
from typing import TYPE_CHECKING, TypeGuard

from tastemaker.report.blocks import Verdict
from tastemaker.report.reading import ABOVE, BELOW, FLOOR, LEAST, WITHIN
from tastemaker.report.words import capped, count, interval, listed, measure_name, number, p_said, plain, signed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.report.reading import Comparison, Row

_VERDICTS = {
    ABOVE: Verdict("▲", ABOVE, "good"),
    WITHIN: Verdict("≈", "no proof of a gain", "soft"),
    BELOW: Verdict("▼", BELOW, "bad"),
    FLOOR: Verdict("●", FLOOR, "soft"),
}
_TIED = "inside the noise"
CLEAR = "Its lead over every other model is larger than the noise."
MESSAGE = 300
"""Letters of an error message that the page shows."""
NO_TEXTS = "no item has a title or another text"
"""What a model of texts says about a shop that has none: it does not apply there, which is no failure."""


def verdict_of(comparison: Comparison, row: Row) -> Verdict:
    """Return a row's verdict with a symbol, so that it does not hang on colour."""
    if NO_TEXTS in row.error:
        return Verdict("○", "not applicable: no texts", "soft")
    if row.error:
        return Verdict("✕", f"failed: {capped(row.error, MESSAGE)}", "bad")
    if comparison.too_few and row.verdict in (ABOVE, WITHIN, BELOW):
        return Verdict("○", "too few questions", "soft")
    return _VERDICTS.get(row.verdict, Verdict("○", row.verdict or "no floor was run", "soft"))


def headline(comparison: Comparison) -> list[str]:
    """Say which model leads, whether it clears the floor, what is inside the noise, what cannot be hit, what failed."""
    name = measure_name(comparison.measure)
    ranked = [row for row in comparison.ranked() if row.value(comparison.measure) is not None]
    caveats = [*_bought_before(comparison), *_whole_catalogue(comparison), *_failures(comparison)]
    if not ranked:
        return [f"No model has a value of {name}: nothing can be said about which is best.", *caveats]
    nobody = not any(row.value(comparison.measure) for row in ranked)
    if comparison.too_few:
        asked = f"{comparison.questions} question{'' if comparison.questions == 1 else 's'}"
        hits = f" Nobody hit anything: {name} is 0 for every model." if nobody else ""
        return [f"There are too few questions to compare: {asked}, and {LEAST} are the least.{hits}", *caveats]
    if nobody:
        return [f"Nobody hit anything: {name} is 0 for every model, so none can be told from another.", *caveats]
    best = ranked[0]
    noise = _noise(comparison, best, ranked)
    return [
        _leader(comparison, ranked, tested=noise == [CLEAR]),
        _against_floor(comparison, best),
        *noise,
        *_below(ranked),
        *_other_variants(comparison, best),
        *caveats,
    ]


def alike(values: Sequence[float]) -> bool:
    """Whether values differ by no more than rounding."""
    return all(isclose(value, values[0], rel_tol=1e-9, abs_tol=1e-12) for value in values)


def highest(values: Sequence[tuple[str, float]]) -> str:
    """Name the models with the highest value, all of them in a tie."""
    if not values:
        return "nothing was measured"
    top = max(value for _, value in values)
    if top == 0:
        return "no model has a hit"
    names = [name for name, value in values if alike([top, value])]
    if len(names) == len(values) > 1:
        return f"all alike: {number(top)}"
    return f"{listed(names)} {'has' if len(names) == 1 else 'have'} the highest value, {number(top)}"


def _leader(comparison: Comparison, ranked: list[Row], *, tested: bool) -> str:
    """Name the model with the highest value, with its interval and its spread, or those that share it."""
    best, name = ranked[0], measure_name(comparison.measure)
    measured = best.measured(comparison.measure)
    names = [row.model for row in ranked if alike([measured.value or 0.0, row.value(comparison.measure) or 0.0])]
    if len(names) > 1:
        leads = "All models have the same value" if len(names) == len(ranked) else f"{listed(names)} share the highest"
        return f"{leads}: {name} {number(measured.value)}."
    sentence = f"{best.model} {'is best' if tested else 'has the highest value'}: {name} {number(measured.value)}"
    if interval(measured) != "–":
        sentence += f" (95 % interval {interval(measured)})"
    fits = best.seeds or len(comparison.seeds)
    if measured.spread and fits > 1:
        sentence += f", standard deviation {number(measured.spread)} over {fits} seeds"
    return f"{sentence}."


def _against_floor(comparison: Comparison, best: Row) -> str:
    """Say whether the leading model clears the training-free floor, and else what difference would have been seen."""
    test = best.against_floor
    difference = f"its difference to {test.model}, the best of the floor, is {signed(test.difference)}"
    if test.p_holm is not None:
        difference += f" ({p_said(test.p_holm)} after Holm's correction)"
    if best.floor or best.verdict == FLOOR:
        return f"No model beats the floor: {best.model} needs no training at all."
    if best.verdict == ABOVE:
        return f"It clears the floor: {difference}."
    if best.verdict == WITHIN:
        half = None if test.low is None or test.high is None else (test.high - test.low) / 2
        seen = f"; about {number(half)} or more would have been seen" if half else ""
        return f"It does not clear the floor: {difference}, no proof of a gain with this many shoppers{seen}."
    if best.verdict == BELOW:
        return f"It lies below the floor: {difference}."
    if not comparison.floor:
        return "No floor was run, so nothing here says whether a training-free method would do as well."
    return "It was not tested against the floor."


def _noise(comparison: Comparison, best: Row, ranked: list[Row]) -> list[str]:
    """Name the models that the data cannot tell from the best."""
    tests = [pair for pair in comparison.pairs if pair.variant in ("", best.variant) and best.model in (pair.a, pair.b)]
    found = {pair.b if pair.a == best.model else pair.a: pair.significant for pair in tests}
    tied = [model for model, significant in found.items() if not significant]
    if tied:
        return [f"The data cannot tell it from {listed(tied)}: the difference is {_TIED}."]
    return [CLEAR] if found and {row.model for row in ranked[1:]} <= {*found} else []


def _below(ranked: list[Row]) -> list[str]:
    below = [row.model for row in ranked if row.verdict == BELOW]
    return [f"Below the floor: {listed(below)}."] if below else []


def _other_variants(comparison: Comparison, best: Row) -> list[str]:
    """Say whether another variant of the protocol would have named another model."""
    others = [name for name in comparison.variant_names if name != comparison.lead]
    leaders = {name: ranked[0].model for name in others if (ranked := comparison.ranked(name))}
    changed = [f"under “{capped(name)}” {model} leads" for name, model in leaders.items() if model != best.model]
    if changed:
        return [f"Which model leads depends on the protocol: {'; '.join(changed)}."]
    every = "both" if len(leaders) == 1 else f"all {len(leaders) + 1}"
    return [f"It has the highest value in {every} variants of the protocol."] if leaders else []


def _bought_before(comparison: Comparison) -> list[str]:
    """Say how many targets masked lists cannot hit, and what recall is left; once, for the first such variant."""
    for row in comparison.rows:
        protocol = {**comparison.protocol, **row.protocol}
        repeats, asked = protocol.get("targets_in_history"), protocol.get("test_queries")
        if protocol.get("history_masked") is not True or not isinstance(repeats, int) or repeats <= 0:
            continue
        of, reach = "", ""
        if protocol.get("split") == "leave-one-out" and isinstance(asked, int) and asked >= repeats:  # a target each
            of, reach = f" of {count(asked)}", f": the highest reachable recall is {number(1 - repeats / asked)}"
        return [
            f"{count(repeats)}{of} targets were bought before, and masked lists cannot hit them{reach}. "
            "See --repeats novel or --masking unmasked."
        ]
    return []


def _whole_catalogue(comparison: Comparison) -> list[str]:
    """Say so where a list has room for every product."""
    items = comparison.data.get("items")
    if not comparison.k.isdigit() or not _is_number(items) or int(comparison.k) < items:
        return []
    return [
        f"A list of {comparison.k} has room for the whole catalogue of {count(items)} products: recall, hit rate and "
        "coverage cannot tell models apart."
    ]


def _failures(comparison: Comparison) -> list[str]:
    """Name what does not apply to the shop, and what failed, with its message, once for all rows that share it."""
    found: dict[str, list[Row]] = {}
    for row in comparison.failed():
        found.setdefault(row.error, []).append(row)
    sentences = []
    for error, rows in found.items():
        models = list(dict.fromkeys(row.model for row in rows))
        if NO_TEXTS in error:
            sentences.append(_not_applicable(comparison, models, floor=any(row.floor for row in rows)))
            continue
        variants = list(dict.fromkeys(row.variant for row in rows))
        where = "" if len(variants) == len(comparison.variant_names) else f" under “{listed(variants)}”"
        sentences.append(f"Failed: {listed(models)}{where}: {capped(error, MESSAGE)}")
    return sentences


def _not_applicable(comparison: Comparison, models: list[str], *, floor: bool) -> str:
    sentence = f"Not applicable: {listed(models)}, because the shop has no texts."
    left = [row.model for row in comparison.ranked() if row.floor]
    if not floor:
        return sentence
    return f"{sentence} The floor is {len(left)} method{'' if len(left) == 1 else 's'}: {listed(left)}."


def facts(comparison: Comparison) -> str:
    """Return the data in one line."""
    data = comparison.data
    counts = [f"{count(data[key])} {key}" for key in ("users", "items", "interactions") if _is_number(data.get(key))]
    source = plain(data.get("source", "data of unknown source"), length=120)
    models = len({row.model for row in comparison.rows})
    variants = len(comparison.variant_names)
    compared = f"{models} model{'' if models == 1 else 's'}, {variants} variant{'' if variants == 1 else 's'}"
    return f"{source}: {', '.join(counts) or 'counts unknown'}. {compared} of the protocol."


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
