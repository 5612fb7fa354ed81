"""One model under one variant: means over seeds with their intervals, or why there are none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker import metrics
from tastemaker.metrics.statistics import as_ratio

if TYPE_CHECKING:
    from tastemaker.compare.plan import Entry
    from tastemaker.compare.store import Finished, Outcome
    from tastemaker.evaluate import Variant
    from tastemaker.types import Float32


@dataclass(frozen=True, slots=True)
class Row:
    """One model under one variant, over all seeds that were finished.

    Attributes:
        entry: label and settings.
        variant: masking, refit and ties.
        outcomes: one a seed.
        finished: the jobs that these are from.
        failed: seed -> why its job failed.
        seed: of the bootstrap.
    """

    entry: Entry
    variant: Variant
    outcomes: list[Outcome]
    finished: list[Finished]
    failed: dict[int, str]
    seed: int

    def over_seeds(self, measure: str) -> metrics.Ratio:
        """Return one measure as a ratio of sums over questions, both averaged over seeds.

        The ratio is the mean over all questions of all seeds for which the measure is defined.
        """
        parts = [as_ratio(one.values[measure]) for one in self.outcomes]
        return metrics.Ratio(_mean_of([one.numerators for one in parts]), _mean_of([one.denominators for one in parts]))

    def per_query(self, measure: str) -> Float32:
        """Return the mean over seeds of one measure for each question, [B]."""
        return self.over_seeds(measure).per_query()

    def undefined(self) -> dict[str, int]:
        """Return the measures that have no value for some seeds, and for how many."""
        missing = {name: self._values(name).count(None) for name in self.outcomes[0].facts["metrics"]}
        return {name: count for name, count in missing.items() if 0 < count < len(self.outcomes)}

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON values; all but the measures and the cost of one fit are those of the first seed."""
        facts = self.outcomes[0].facts
        reports = [stage["report"].get("learning_curve") for stage in facts["stages"]]
        return {
            "model": self.entry.label,
            "floor": self.entry.floor,
            "variant": self.variant.name,
            "error": None,
            "config": self.entry.settings,
            "seeds": len(self.outcomes),
            "failed_seeds": [{"seed": seed, "error": error} for seed, error in self.failed.items()],
            "protocol": facts["protocol"],
            "metrics": self._metrics(),
            **{name: facts[name] for name in ("slices", "gaps", "cold_start", "curves", "stages", "trust")},
            "cost": self._cost(),
            "learning_curve": next((curve for curve in reports if curve), []),
        }

    def _values(self, measure: str) -> list[float | None]:
        return [one.facts["metrics"][measure]["value"] for one in self.outcomes]

    def _metrics(self) -> dict[str, Any]:
        """Return mean, interval and spread of every measure; the interval is of the mean over seeds."""
        found = self.outcomes[0].facts["metrics"]
        if len(self.outcomes) > 1:
            asked = {name: self.over_seeds(name) for name in self.outcomes[0].values}
            over_all = {name: _mean(self._values(name)) for name in found if name not in asked}
            found = metrics.summarise(asked, seed=self.seed) | {
                name: {"value": value, "low": None, "high": None} for name, value in over_all.items()
            }
        return {name: {**one, "spread": metrics.spread(self._values(name))} for name, one in found.items()}

    def _cost(self) -> dict[str, Any]:
        """Return the first seed's cost with mean seconds to fit and rank, and the highest peak of memory."""
        costs = [one.facts["cost"] for one in self.outcomes]
        steps = {step: _seconds([one["fit_steps"][step] for one in costs]) for step in costs[0]["fit_steps"]}
        seconds = {name: _seconds([one[name] for one in costs]) for name in ("fit_seconds", "rank_seconds")}
        return {**costs[0], **seconds, "fit_steps": steps, "peak_mib": max(one["peak_mib"] for one in costs)}


def _mean_of(arrays: list[Float32]) -> Float32:
    return np.asarray(np.mean(arrays, axis=0, dtype=np.float64), dtype=np.float32)


def _mean(values: list[float | None]) -> float | None:
    """Return the mean of the values that are defined."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _seconds(values: list[float]) -> float:
    return round(float(np.mean(values)), 3)


def failure(entry: Entry, variant: Variant, failed: dict[int, str]) -> dict[str, Any]:
    """Return the row of a model of which no seed was finished, as JSON values."""
    return {
        "model": entry.label,
        "floor": entry.floor,
        "variant": variant.name,
        "error": _why(failed),
        "config": entry.settings,
        "seeds": 0,
        "failed_seeds": [{"seed": seed, "error": error} for seed, error in failed.items()],
        "protocol": {},
        "metrics": {},
        "slices": [],
        "gaps": [],
        "cold_start": [],
        "curves": {},
        "stages": [],
        "trust": {},
        "cost": {},
        "learning_curve": [],
        "verdict": "failed",
        "against_floor": None,
    }


def _why(failed: dict[int, str]) -> str:
    """Say why each seed failed; once where all seeds of several say the same."""
    if len(failed) > 1 and len(set(failed.values())) == 1:
        return f"all {len(failed)} seeds: {next(iter(failed.values()))}"
    return "; ".join(f"seed {seed}: {error}" for seed, error in failed.items())
