"""Results of an experiment: measures of each variant with intervals, and what they differ from the control by."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tastemaker.errors import DataError
from tastemaker.experiments.interleaving import teams_of
from tastemaker.experiments.uncertainty import Arm, against, difference, estimate, sample_ratio_p
from tastemaker.metrics.statistics import Ratio, holm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tastemaker.experiments.attribution import Attributed
    from tastemaker.experiments.definition import Experiment
    from tastemaker.experiments.uncertainty import Difference, Estimate

MISMATCH = 0.001
"""A sample ratio p-value below this is a warning."""
MEASURES = {
    "click rate": ("clicked_lists", "lists", False),
    "shoppers who clicked": ("clicked", None, True),
    "shoppers who bought": ("bought", None, True),
    "purchases a shopper": ("purchases", None, False),
    "revenue a shopper": ("revenue", None, False),
    "all purchases a shopper": ("all_purchases", None, False),
    "all revenue a shopper": ("all_revenue", None, False),
}
"""Measure -> numerator and denominator of each shopper (1 without one), and whether it is a share of shoppers."""
PREFERENCE = "preference"
"""The measure of interleaved experiments."""


@dataclass(frozen=True)
class Row:
    """One measure of one variant.

    Attributes:
        measure: a key of `MEASURES`, or "preference".
        variant: whose.
        shoppers: how many.
        estimate: the measure with its interval.
        against_control: the difference, None for the control.
        p_adjusted: p-value of the difference, by Holm over the variants of the measure.
    """

    measure: str
    variant: str
    shoppers: int
    estimate: Estimate
    against_control: Difference | None = None
    p_adjusted: float | None = None


@dataclass(frozen=True)
class Results:
    """What came out of an experiment.

    Attributes:
        experiment: its name.
        control: its first variant.
        rows: by measure, the control first.
        counts: what was seen, credited and left out.
        sample_ratio_p: whether shoppers came to the variants as planned; None for interleaved lists.
        notes: what to know before believing the figures.
    """

    experiment: str
    control: str
    rows: tuple[Row, ...]
    counts: Mapping[str, int]
    sample_ratio_p: float | None
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: everything."""
        return asdict(self)

    def of(self, measure: str, variant: str) -> Row:
        """Return one row.

        Raises:
            DataError: there is none.
        """
        for row in self.rows:
            if (row.measure, row.variant) == (measure, variant):
                return row
        raise DataError(f"experiment '{self.experiment}': no measure '{measure}' of a variant '{variant}'")


def results(
    experiment: Experiment, attributed: Attributed, *, seed: int = 0, resamples: int = 1000, planned: int = 10_000
) -> Results:
    """Compute the results of an experiment.

    Shoppers are the units: intervals are over shoppers, not lists, since the lists of one shopper are alike. A list
    without a shopper is a unit of its own. Left out, and counted: testers (`overrides`), and shoppers who saw several
    variants of a split experiment.

    Args:
        experiment: its definition; variants that it lacks are refused.
        attributed: its lists and what came of them.
        seed: of the bootstrap.
        resamples: of the bootstrap.
        planned: number of shoppers at which the anytime intervals are narrowest.

    Raises:
        DataError: no list of the experiment, or a variant that it does not have.
    """
    lists = attributed.lists.filter(
        ~pl.col("user_id").is_in(list(experiment.overrides)).fill_null(value=False)
    ).with_columns(
        unit=pl.coalesce(pl.concat_str(pl.lit("user "), "user_id"), pl.concat_str(pl.lit("list "), "request_id"))
    )
    if not lists.height:
        raise DataError(
            f"experiment '{experiment.name}': no list of it was shown in this time; impressions name their experiment "
            "in the field 'experiment'"
        )
    counts = {**attributed.counts, "lists of testers, left out": attributed.lists.height - lists.height}
    counts["lists without a shopper"] = int(lists["user_id"].null_count())
    if experiment.kind == "interleave":
        return _interleaved(experiment, lists, attributed, counts, seed=seed, resamples=resamples, planned=planned)
    units, mixed = _units(experiment, lists, attributed)
    counts["shoppers of several variants, left out"] = mixed
    arms = {name: units.filter(pl.col("variant") == name) for name in experiment.names}
    sizes = [arms[name].height for name in experiment.names]
    p = sample_ratio_p(sizes, [experiment.shares[name] for name in experiment.names])
    rows: list[Row] = []
    for measure, (above, below, binary) in MEASURES.items():
        made = {name: Arm(_ratio(table, above, below), binary) for name, table in arms.items()}
        rows += _compared(measure, made, experiment.control, seed=seed, resamples=resamples, planned=planned)
    return Results(experiment.name, experiment.control, tuple(rows), counts, p, _notes(counts, sizes, p))


def _units(experiment: Experiment, lists: pl.DataFrame, attributed: Attributed) -> tuple[pl.DataFrame, int]:
    """Return a row of sums for each shopper, and how many shoppers saw several variants."""
    unknown = set(lists["variant"].drop_nulls()) - set(experiment.names)
    if unknown or lists["variant"].null_count():
        name = f"'{min(unknown)}'" if unknown else "none"
        raise DataError(
            f"experiment '{experiment.name}': a list names the variant {name}; known: {', '.join(experiment.names)}"
        )
    outcomes = attributed.outcomes
    clicks = outcomes.filter(pl.col("kind") == "click").unique(["request_id", "item_id"])
    bought = outcomes.filter(pl.col("kind") == "purchase")
    per_list = (
        lists.join(clicks.group_by("request_id").agg(clicks=pl.len()), on="request_id", how="left")
        .join(
            bought.group_by("request_id").agg(purchases=pl.len(), revenue=pl.col("value").sum()),
            on="request_id",
            how="left",
        )
        .with_columns(pl.col("clicks", "purchases", "revenue").fill_null(0))
    )
    units = per_list.group_by("unit", maintain_order=True).agg(
        pl.col("user_id").first(),
        pl.col("variant").first(),
        pl.col("shown_at").min(),
        variants=pl.col("variant").n_unique(),
        lists=pl.len(),
        clicked_lists=(pl.col("clicks") > 0).sum(),
        clicked=(pl.col("clicks") > 0).any().cast(pl.Int64),
        bought=(pl.col("purchases") > 0).any().cast(pl.Int64),
        purchases=pl.col("purchases").sum(),
        revenue=pl.col("revenue").sum(),
    )
    later = (
        attributed.purchases.join(units.select("user_id", "shown_at").drop_nulls(), on="user_id")
        .filter(pl.col("timestamp") >= pl.col("shown_at"))
        .group_by("user_id")
        .agg(all_purchases=pl.len(), all_revenue=pl.col("value").sum())
    )
    units = units.join(later, on="user_id", how="left", maintain_order="left").with_columns(
        pl.col("all_purchases", "all_revenue").fill_null(0)
    )
    return units.filter(pl.col("variants") == 1), units.filter(pl.col("variants") > 1).height


def _interleaved(
    experiment: Experiment,
    lists: pl.DataFrame,
    attributed: Attributed,
    counts: dict[str, int],
    *,
    seed: int,
    resamples: int,
    planned: int,
) -> Results:
    """Compute which variant's products are clicked: of clicked lists, the share that prefers it to the control.

    A list prefers the variant more of whose places were clicked; a tie counts one half (Chapelle et al., 2012).
    """
    clicks = attributed.outcomes.filter(pl.col("kind") == "click").unique(["request_id", "place"])
    clicked = clicks.group_by("request_id").agg("place").join(lists, on="request_id")
    others = [name for name in experiment.names if name != experiment.control]
    found: dict[str, list[tuple[str, float]]] = {name: [] for name in others}
    for unit, variant, size, places in clicked.select("unit", "variant", "size", "place").iter_rows():
        teams = teams_of(variant or "", places=size)
        if teams is None or not set(teams) <= set(experiment.names):
            raise DataError(
                f"experiment '{experiment.name}': the variant {variant!r} of a list of {size} products does not "
                "name the variant of each place, parted by '|'"
            )
        of_control = sum(teams[place] == experiment.control for place in places)
        for name in others:
            of_variant = sum(teams[place] == name for place in places)
            if of_variant or of_control:
                found[name].append((unit, 0.5 + 0.5 * ((of_variant > of_control) - (of_variant < of_control))))
    rows: list[Row] = []
    counts["clicked lists"] = clicked.height
    made = {}
    for name, preferences in found.items():
        table = pl.DataFrame(preferences, schema={"unit": pl.String, "won": pl.Float64}, orient="row")
        sums = table.group_by("unit", maintain_order=True).agg(won=pl.col("won").sum(), lists=pl.len())
        made[name] = Arm(_ratio(sums, "won", "lists"))
    for name, arm in made.items():
        shown = estimate(arm, seed=seed, resamples=resamples)
        rows.append(Row(PREFERENCE, name, arm.size, shown, against(0.5, arm, shown, planned=planned)))
    rows = _adjusted(rows)
    return Results(experiment.name, experiment.control, tuple(rows), counts, None, _notes(counts, [], None))


def _compared(
    measure: str, arms: Mapping[str, Arm], control: str, *, seed: int, resamples: int, planned: int
) -> list[Row]:
    base = arms[control]
    rows = []
    for place, (name, arm) in enumerate(arms.items()):
        shown = estimate(arm, seed=seed + 2 * place, resamples=resamples)
        gap = None
        if name != control:
            gap = difference(arm, base, seed=seed + 2 * place, resamples=resamples, planned=planned)
        rows.append(Row(measure, name, arm.size, shown, gap))
    return _adjusted(rows)


def _adjusted(rows: Sequence[Row]) -> list[Row]:
    ps = [row.against_control.p for row in rows if row.against_control]
    adjusted = iter(holm(ps))
    return [
        Row(row.measure, row.variant, row.shoppers, row.estimate, row.against_control, next(adjusted))
        if row.against_control
        else row
        for row in rows
    ]


def _ratio(table: pl.DataFrame, above: str, below: str | None) -> Ratio:
    numerators = table[above].cast(pl.Float32).to_numpy()
    return Ratio(numerators, np.ones_like(numerators) if below is None else table[below].cast(pl.Float32).to_numpy())


def _notes(counts: Mapping[str, int], sizes: Sequence[int], p: float | None) -> tuple[str, ...]:
    notes = [
        "intervals and p-values hold at one look, at a time fixed beforehand; to watch and stop, use those of any time"
    ]
    if p is not None and p < MISMATCH:
        said = ", ".join(f"{size:,}" for size in sizes)
        notes.append(
            f"sample ratio mismatch (p = {p:.1e}; shoppers {said}): do not trust these results; find the cause"
        )
    lost = sum(count for name, count in counts.items() if name.startswith("not credited"))
    if lost > 0.1 * max(1, counts.get("events", 0)):
        notes.append(f"{lost:,} of {counts['events']:,} events could not be credited; see counts")
    if counts.get("lists without a shopper"):
        notes.append("lists without a shopper count as shoppers of their own, so their intervals are too narrow")
    return tuple(notes)
