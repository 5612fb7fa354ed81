"""Numbers and names as people read them; what was not measured is a dash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.report.reading import Measured

NONE = "–"
MINUS = "−"

MEASURES = {
    "ndcg": ("NDCG", "like recall, but a hit near the top of the list counts more; 1 is a perfect list"),
    "recall": ("Recall", "share of the held-out purchases that are among the first k products"),
    "hit_rate": ("Hit rate", "share of shoppers with at least one held-out purchase among the first k"),
    "mrr": ("MRR", "1 / place of the first hit, averaged over shoppers"),
    "map": ("MAP", "mean of the precision at each hit"),
    "precision": ("Precision", "share of the first k products that were bought"),
    "coverage": ("Coverage", "share of the catalogue that appears in at least one list"),
    "category_coverage": ("Category coverage", "share of the categories that appear in at least one list"),
    "novelty": ("Novelty", "surprise of the listed products in bits; a product that few buy has more"),
    "diversity": ("Diversity", "how unlike each other the texts of the products in one list are"),
    "category_diversity": ("Category diversity", "share of product pairs in a list that are of different categories"),
    "serendipity": ("Serendipity", "hits that a list of best-sellers would not have had"),
    "gini": ("Exposure Gini", "0: every product is listed equally often; 1: one product takes all places"),
    "popularity_lift": (
        "Popularity lift",
        "how much more popular the lists are than the shoppers' own histories; 0: no more, 1: twice",
    ),
    "miscalibration": ("Miscalibration", "distance of the lists' category mix from the history's; 0 is none"),
    "revenue_recall": ("Revenue recall", "recall with each purchase weighted by its price"),
    "revenue_ndcg": ("Revenue NDCG", "NDCG with each purchase weighted by its price"),
}
"""Measure -> its name, and what it says in plain words."""

OPEN_ENDED = ("novelty", "popularity_lift")
"""Measures that can be larger than 1."""


def measure_name(measure: str) -> str:
    """Return "NDCG@10" for "ndcg@10"; a measure that is not known keeps its own name."""
    name, at, k = measure.partition("@")
    return f"{MEASURES[name][0] if name in MEASURES else name.replace('_', ' ')}{at}{k}"


def number(value: float | None) -> str:
    """Return four decimals below 1, two above."""
    if value is None:
        return NONE
    return (f"{value:.4f}" if abs(value) < 1 else f"{value:,.2f}").replace("-", MINUS)


def figure(measure: str, value: float | None) -> str:
    """Return the value of a measure; those that are no shares have two decimals throughout."""
    if value is None or measure.partition("@")[0] not in OPEN_ENDED:
        return number(value)
    return f"{value:,.2f}".replace("-", MINUS)


def signed(value: float | None) -> str:
    """Return a difference with its sign."""
    return NONE if value is None else ("+" if value >= 0 else "") + number(value)


def p_value(value: float | None) -> str:
    """Return a p value; below 0.001 only that."""
    return NONE if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def p_said(value: float | None) -> str:
    """Return a p value in a sentence."""
    return "p not known" if value is None else f"p {p_value(value)}" if value < 0.001 else f"p = {p_value(value)}"


def interval(measured: Measured) -> str:
    """Return "low to high", or a dash."""
    if measured.low is None or measured.high is None:
        return NONE
    return f"{number(measured.low)} to {number(measured.high)}"


def count(value: float | None) -> str:
    """Return a whole number with thousands separated."""
    return NONE if value is None else f"{value:,.0f}"


def percent(value: float | None) -> str:
    """Return a share as percent."""
    return NONE if value is None else f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def duration(seconds: float | None) -> str:
    """Return seconds, minutes or hours, whichever reads best."""
    if seconds is None:
        return NONE
    if 0 < seconds < 1:
        return f"{1000 * seconds:,.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def memory(mib: float | None) -> str:
    """Return MiB or GiB."""
    return NONE if mib is None else f"{mib:,.0f} MiB" if mib < 1024 else f"{mib / 1024:.1f} GiB"


def capped(text: str, length: int = 80) -> str:
    """Return the text on one line, cut to `length` characters with an ellipsis."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def shortened(name: str, length: int) -> str:
    """Return a name with its middle left out, for names of variants often differ at their ends only."""
    name = " ".join(name.split())
    end = length // 3
    return name if len(name) <= length else f"{name[: length - end - 1]}…{name[-end:]}"


def listed(names: Sequence[str]) -> str:
    """Return "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def plain(value: Any, *, length: int = 400) -> str:  # noqa: ANN401  # any JSON value
    """Return any JSON value in words."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}".replace("-", MINUS)
    if isinstance(value, int):
        return f"{value:,}".replace("-", MINUS)
    if isinstance(value, dict):
        return capped("; ".join(f"{title(key)}: {plain(inner)}" for key, inner in value.items()), length) or NONE
    if isinstance(value, list | tuple):
        return capped(", ".join(plain(inner) for inner in value), length) or NONE
    return capped(str(value), length) or NONE


def title(key: str) -> str:
    """Return a JSON key as words."""
    return capped(key.replace("_", " "), 60)
