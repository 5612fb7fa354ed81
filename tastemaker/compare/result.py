"""From finished jobs to one comparison: means over seeds, intervals, paired tests, verdicts."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker import metrics
from tastemaker.compare import shared
from tastemaker.text.render import item_names

if TYPE_CHECKING:
    from tastemaker.compare.plan import Entry, Job, Plan
    from tastemaker.compare.shared import Shop
    from tastemaker.compare.store import Finished, Outcome
    from tastemaker.data.dataset import Dataset
    from tastemaker.evaluate import Variant
    from tastemaker.types import Float32

FORMAT = 1
SIGNIFICANT = 0.05
"""Level of the Holm-corrected tests."""


@dataclass(slots=True)
class Results:
    """What is known so far.

    Attributes:
        plan: models, data and protocol.
        data: what is asked, as it was read.
        fingerprints: of `data`, and of what is learnt from where that is another shop.
        shops: the split for each order of ties.
        points: the map of item vectors, or None.
        finished: outcomes by label and ties, one a seed.
        errors: why a job failed, by label and ties.
        notes: what a reader should know.
    """

    plan: Plan
    data: Dataset
    fingerprints: list[str]
    shops: dict[str, Shop]
    points: dict[str, Any] | None
    finished: dict[tuple[str, str], list[Finished]] = field(default_factory=lambda: defaultdict(list))
    errors: dict[tuple[str, str], str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, job: Job, finished: Finished) -> None:
        """Take in a finished job."""
        self.finished[job.entry.label, job.ties].append(finished)

    def failed(self, job: Job, error: str) -> None:
        """Note that a job failed."""
        self.errors[job.entry.label, job.ties] = f"seed {job.seed}: {error}"

    def settled(self, job: Job, *, enough: int) -> bool:
        """Say whether further seeds of this model need no fit: it failed, or `enough` seeds gave the same lists."""
        if (job.entry.label, job.ties) in self.errors:
            return True
        done = self.finished[job.entry.label, job.ties]
        if len(done) < enough:
            return False
        first = done[0].outcomes
        same = all(
            np.array_equal(one.items, other.items)
            for later in done[1:enough]
            for one, other in zip(first, later.outcomes, strict=True)
        )
        if same:
            note = f"{job.entry.label} gave the same lists with {enough} seeds and was not fitted with more"
            if note not in self.notes:
                self.notes.append(note)
        return same


@dataclass(frozen=True, slots=True)
class Row:
    """One model under one variant, over all its seeds."""

    entry: Entry
    variant: Variant
    outcomes: list[Outcome]
    finished: list[Finished]

    def per_query(self, measure: str) -> Float32:
        """Return the mean over seeds of one measure for each question, [B]."""
        over_seeds = np.stack([one.per_query[measure] for one in self.outcomes])
        return np.asarray(over_seeds.mean(axis=0, dtype=np.float64), dtype=np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON values; all but the measures and the seconds are those of the first seed."""
        facts = self.outcomes[0].facts
        reports = [stage["report"].get("learning_curve") for stage in facts["stages"]]
        peak = max(one.facts["cost"]["peak_mib"] for one in self.outcomes)
        cost = {**facts["cost"], "peak_mib": peak}
        for name in ("fit_seconds", "rank_seconds"):
            cost[name] = round(float(np.mean([one.facts["cost"][name] for one in self.outcomes])), 3)
        return {
            "model": self.entry.label,
            "floor": self.entry.floor,
            "variant": self.variant.name,
            "error": None,
            "config": self.entry.settings,
            "seeds": len(self.outcomes),
            "protocol": facts["protocol"],
            "metrics": self._metrics(),
            **{name: facts[name] for name in ("slices", "gaps", "cold_start", "curves", "stages", "trust")},
            "cost": cost,
            "learning_curve": next((curve for curve in reports if curve), []),
        }

    def _metrics(self) -> dict[str, Any]:
        """Return mean, interval and spread of every measure; the interval is of the mean over seeds."""
        first = self.outcomes[0].facts["metrics"]
        found = {}
        for name, one in first.items():
            values = [outcome.facts["metrics"][name]["value"] for outcome in self.outcomes]
            if None in values:
                found[name] = {**one, "spread": None}
                continue
            low, high = one["low"], one["high"]
            if len(values) > 1:
                asked = name in self.outcomes[0].per_query
                low, high = metrics.bootstrap_interval(self.per_query(name)) if asked else (None, None)
            found[name] = {"value": float(np.mean(values)), "low": low, "high": high, "spread": metrics.spread(values)}
        return found


def together(results: Results) -> dict[str, Any]:
    """Return the comparison as JSON values; the report and the command line read nothing else."""
    plan = results.plan
    measure = plan.options.measure
    rows: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    for variant in plan.variants:
        mine = _rows(results, variant)
        tested = _pairs(mine, measure)
        pairs += tested
        best = max(
            (row for row in mine if row.entry.floor), key=lambda row: float(row.per_query(measure).mean()), default=None
        )
        for row in mine:
            against = None if best is None or row.entry.floor else _against(row, best, tested)
            rows.append({**row.to_dict(), "verdict": verdict(row.entry, against), "against_floor": against})
        rows += [
            _failure(entry, variant, results.errors[entry.label, variant.ties])
            for entry in plan.entries
            if (entry.label, variant.ties) in results.errors
        ]
    data = {
        "source": plan.data.path,
        "fingerprint": results.fingerprints[0],
        "users": results.data.n_users,
        "items": results.data.n_items,
        "interactions": len(results.data),
        "fitted_on": None
        if plan.learn_from is None
        else {"source": plan.learn_from.path, "fingerprint": results.fingerprints[1]},
    }
    return {
        "format": FORMAT,
        "data": data,
        "ks": list(plan.options.ks),
        "measure": measure,
        "floor": [entry.label for entry in plan.entries if entry.floor],
        "seeds": list(plan.seeds),
        "variants": [variant.name for variant in plan.variants],
        "protocol": _shared_protocol(rows),
        "rows": rows,
        "pairs": pairs,
        "map": results.points,
        "examples": _examples(results),
        "notes": _notes(results),
    }


def verdict(entry: Entry, against: dict[str, Any] | None) -> str:
    """Say in words where a model stands to the best model of the floor."""
    if entry.floor:
        return "floor"
    if against is None:
        return "no floor was run"
    if against["significant"]:
        return "above the floor" if against["difference"] > 0 else "below the floor"
    return "within the noise of the floor"


def _rows(results: Results, variant: Variant) -> list[Row]:
    rows = []
    for entry in results.plan.entries:
        finished = results.finished[entry.label, variant.ties]
        if not finished or (entry.label, variant.ties) in results.errors:
            continue
        outcomes = [outcome for one in finished for outcome in one.outcomes if outcome.facts["variant"] == variant.name]
        rows.append(Row(entry, variant, outcomes, finished))
    return rows


def _pairs(rows: list[Row], measure: str) -> list[dict[str, Any]]:
    """Test every pair of models on the same questions, corrected for the number of pairs (Holm, 1979)."""
    values = {row.entry.label: row.per_query(measure) for row in rows}
    found: list[dict[str, Any]] = []
    for one, other in combinations(rows, 2):
        a, b = one.entry.label, other.entry.label
        tested = metrics.paired_test(values[a], values[b])
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


def _against(row: Row, best: Row, pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the test of a row against the best row of the floor, seen from the row."""
    names = {row.entry.label, best.entry.label}
    pair = next(pair for pair in pairs if {pair["a"], pair["b"]} == names)
    kept = {name: pair[name] for name in ("p", "p_holm", "significant")}
    if pair["a"] == row.entry.label:
        return {"model": best.entry.label, **{name: pair[name] for name in ("difference", "low", "high")}, **kept}
    turned = {"difference": -pair["difference"], "low": -pair["high"], "high": -pair["low"]}
    return {"model": best.entry.label, **turned, **kept}


def _failure(entry: Entry, variant: Variant, error: str) -> dict[str, Any]:
    return {
        "model": entry.label,
        "floor": entry.floor,
        "variant": variant.name,
        "error": error,
        "config": entry.settings,
        "seeds": 0,
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


def _shared_protocol(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the protocols of all rows say alike."""
    protocols = [row["protocol"] for row in rows if row["error"] is None]
    if not protocols:
        return {}
    return {
        key: value for key, value in protocols[0].items() if all(other.get(key, ...) == value for other in protocols)
    }


def _examples(results: Results) -> list[dict[str, Any]]:
    """Put the example shoppers' histories beside every model's list and reasons, under the first variant."""
    variant = results.plan.variants[0]
    split = results.shops[variant.ties].split
    shown = shared.example_questions(split, seed=results.plan.options.seed)
    names = item_names(split.train.items)
    found = []
    for number in range(len(shown)):
        bought = shown.targets.history(number)
        lists = []
        for row in _rows(results, variant):
            listed, reasons = row.finished[0].examples[number]["items"], row.finished[0].examples[number]["reasons"]
            lists.append(
                {
                    "model": row.entry.label,
                    "items": [
                        {"name": names[item], "hit": bool(item in bought), "reason": reason}
                        for item, reason in zip(listed, reasons, strict=True)
                    ],
                }
            )
        found.append(
            {
                "shopper": f"shopper {number + 1}",
                "history": [names[item] for item in shown.queries.history(number)],
                "bought": [names[item] for item in bought],
                "lists": lists,
            }
        )
    return found


def _notes(results: Results) -> list[str]:
    notes = list(results.notes)
    if len(results.plan.seeds) > 1:
        notes.append("measures are means over seeds; slices, stages, trust and examples are those of the first seed")
    if results.plan.learn_from is not None:
        notes.append("the floor learns from the shop itself; the other models have not seen its interactions")
    if not any(entry.floor for entry in results.plan.entries):
        notes.append("the floor was left out, so no claim is tested against it")
    return notes
