"""What a comparison found, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tastemaker.report.blocks import Verdict
from tastemaker.report.reading import ABOVE, BELOW, FLOOR, WITHIN
from tastemaker.report.words import capped, count, interval, listed, measure_name, number, p_value, plain, signed

if TYPE_CHECKING:
    from tastemaker.report.reading import Comparison, Row

_VERDICTS = {
    ABOVE: Verdict("▲", ABOVE, "good"),
    WITHIN: Verdict("≈", WITHIN, "soft"),
    BELOW: Verdict("▼", BELOW, "bad"),
    FLOOR: Verdict("●", FLOOR, "soft"),
}
_TIED = "inside the noise"
CLEAR = "Its lead over every other model is larger than the noise."
MESSAGE = 300
"""Letters of an error message that the page shows."""


def verdict_of(row: Row) -> Verdict:
    """Return a row's verdict with a symbol, so that it does not hang on colour."""
    if row.error:
        return Verdict("✕", f"failed: {capped(row.error, MESSAGE)}", "bad")
    return _VERDICTS.get(row.verdict, Verdict("○", row.verdict or "no floor was run", "soft"))


def headline(comparison: Comparison) -> list[str]:
    """Say which model is best, whether it clears the floor, what is inside the noise, and what failed."""
    name = measure_name(comparison.measure)
    ranked = [row for row in comparison.ranked() if row.value(comparison.measure) is not None]
    if not ranked:
        return [f"No model has a value of {name}: nothing can be said about which is best.", *_failures(comparison)]
    best = ranked[0]
    measured = best.measured(comparison.measure)
    noise = _noise(comparison, best)
    leads = "is best" if noise == [CLEAR] else "has the highest value"
    sentence = f"{best.model} {leads}: {name} {number(measured.value)}"
    if interval(measured) != "–":
        sentence += f" (95 % interval {interval(measured)})"
    if measured.spread and len(comparison.seeds) > 1:
        sentence += f", standard deviation {number(measured.spread)} over {len(comparison.seeds)} seeds"
    return [
        f"{sentence}.",
        _against_floor(comparison, best),
        *noise,
        *_below(ranked),
        *_other_variants(comparison, best),
        *_failures(comparison),
    ]


def _against_floor(comparison: Comparison, best: Row) -> str:
    """Say whether the best model clears the training-free floor."""
    test = best.against_floor
    difference = f"its difference to {test.model}, the best training-free method, is {signed(test.difference)}"
    if test.p_holm is not None:
        difference += f" (p {p_value(test.p_holm)} after Holm's correction)"
    if best.floor or best.verdict == FLOOR:
        return f"No model beats the floor: {best.model} needs no training at all."
    if best.verdict == ABOVE:
        return f"It clears the floor: {difference}."
    if best.verdict == WITHIN:
        return f"It does not clear the floor: {difference}, which is {_TIED}."
    if best.verdict == BELOW:
        return f"It lies below the floor: {difference}."
    if not comparison.floor:
        return "No floor was run, so nothing here says whether a training-free method would do as well."
    return "It was not tested against the floor."


def _noise(comparison: Comparison, best: Row) -> list[str]:
    """Name the models that the data cannot tell from the best."""
    tests = [pair for pair in comparison.pairs if pair.variant in ("", best.variant) and best.model in (pair.a, pair.b)]
    if not tests:
        return []
    tied = [pair.b if pair.a == best.model else pair.a for pair in tests if not pair.significant]
    if tied:
        return [f"The data cannot tell it from {listed(tied)}: the difference is {_TIED}."]
    return [CLEAR]


def _below(ranked: list[Row]) -> list[str]:
    below = [row.model for row in ranked if row.verdict == BELOW]
    return [f"Below the floor: {listed(below)}."] if below else []


def _other_variants(comparison: Comparison, best: Row) -> list[str]:
    """Say whether another variant of the protocol would have named another winner."""
    others = [name for name in comparison.variant_names if name != comparison.lead]
    winners = {name: ranked[0].model for name in others if (ranked := comparison.ranked(name))}
    changed = [f"under “{capped(name)}” {model} leads" for name, model in winners.items() if model != best.model]
    if changed:
        return [f"Which model leads depends on the protocol: {'; '.join(changed)}."]
    every = "both" if len(winners) == 1 else f"all {len(winners) + 1}"
    return [f"It has the highest value in {every} variants of the protocol."] if winners else []


def _failures(comparison: Comparison) -> list[str]:
    """Name what failed, with its message, once for all rows that share it."""
    found: dict[str, list[Row]] = {}
    for row in comparison.failed():
        found.setdefault(row.error, []).append(row)
    sentences = []
    for error, rows in found.items():
        models = list(dict.fromkeys(row.model for row in rows))
        variants = list(dict.fromkeys(row.variant for row in rows))
        where = "" if len(variants) == len(comparison.variant_names) else f" under “{listed(variants)}”"
        sentences.append(f"Failed: {listed(models)}{where}: {capped(error, MESSAGE)}")
    return sentences


def facts(comparison: Comparison) -> str:
    """Return the data in one line."""
    data = comparison.data
    counts = [f"{count(data[key])} {key}" for key in ("users", "items", "interactions") if _is_number(data.get(key))]
    source = plain(data.get("source", "data of unknown source"), length=120)
    models = len({row.model for row in comparison.rows})
    variants = len(comparison.variant_names)
    compared = f"{models} model{'' if models == 1 else 's'}, {variants} variant{'' if variants == 1 else 's'}"
    return f"{source}: {', '.join(counts) or 'counts unknown'}. {compared} of the protocol."


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
