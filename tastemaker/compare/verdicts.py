"""Which differences are larger than the noise: paired tests of all models, and where each stands to the floor."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

from tastemaker import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.compare.plan import Entry
    from tastemaker.compare.rows import Row

SIGNIFICANT = 0.05
"""Level of the Holm-corrected tests."""


def tests(rows: Sequence[Row], measure: str) -> list[dict[str, Any]]:
    """Test every pair of models of one variant on the same questions, corrected for these pairs (Holm, 1979)."""
    values = {row.entry.label: row.per_query(measure) for row in rows}
    found: list[dict[str, Any]] = []
    for one, other in combinations(rows, 2):
        a, b = one.entry.label, other.entry.label
        tested = metrics.paired_test(values[a], values[b], seed=one.seed)
        found.append(
            {
                "variant": one.variant.name,
                "measure": measure,
                "a": a,
                "b": b,
                "difference": tested.difference,
                "low": tested.low,
                "high": tested.high,
                "p": tested.p,
            }
        )
    for pair, p in zip(found, metrics.holm([pair["p"] for pair in found]), strict=True):
        pair |= {"p_holm": float(p), "significant": bool(p < SIGNIFICANT)}
    return found


def against_floor(row: Row, best: Row, pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the test of a row against the best row of the floor, seen from the row."""
    names = {row.entry.label, best.entry.label}
    pair = next(pair for pair in pairs if {pair["a"], pair["b"]} == names)
    kept = {name: pair[name] for name in ("p", "p_holm", "significant")}
    if pair["a"] == row.entry.label:
        return {"model": best.entry.label, **{name: pair[name] for name in ("difference", "low", "high")}, **kept}
    turned = {
        name: 0.0 - pair[other] for name, other in (("difference", "difference"), ("low", "high"), ("high", "low"))
    }
    return {"model": best.entry.label, **turned, **kept}


def verdict(entry: Entry, against: dict[str, Any] | None) -> str:
    """Say in words where a model stands to the best model of the floor."""
    if entry.floor:
        return "floor"
    if against is None:
        return "no floor was run"
    if against["significant"]:
        return "above the floor" if against["difference"] > 0 else "below the floor"
    return "within the noise of the floor"
