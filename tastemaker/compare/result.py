"""From finished jobs to one comparison: rows, tests and verdicts, examples, and what a reader should know."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker.compare import shared, verdicts
from tastemaker.compare.rows import Row, failure
from tastemaker.text.render import item_names

if TYPE_CHECKING:
    from tastemaker.compare.plan import Job, Plan
    from tastemaker.compare.shared import Reading, Shop
    from tastemaker.compare.store import Finished
    from tastemaker.evaluate import Variant

FORMAT = 1


@dataclass(slots=True)
class Results:
    """What is known so far.

    Attributes:
        plan: models, data and protocol.
        readings: what is asked, and what is learnt from where that is another shop.
        shops: what is asked, split for each order of ties.
        finished: outcomes by label and ties, then by seed.
        failed: why jobs failed, by label and ties, then by seed.
        notes: what a reader should know.
    """

    plan: Plan
    readings: list[Reading]
    shops: dict[str, Shop]
    finished: dict[tuple[str, str], dict[int, Finished]] = field(default_factory=lambda: defaultdict(dict))
    failed: dict[tuple[str, str], dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
    notes: list[str] = field(default_factory=list)

    def add(self, job: Job, finished: Finished) -> None:
        """Take in a finished job."""
        self.finished[job.entry.label, job.ties][job.seed] = finished

    def fail(self, job: Job, error: str) -> None:
        """Take in a job that failed."""
        self.failed[job.entry.label, job.ties][job.seed] = error

    def settled(self, job: Job, *, enough: int) -> bool:
        """Say whether further seeds of this model need no fit: `enough` seeds gave the same lists."""
        done = list(self.finished[job.entry.label, job.ties].values())[:enough]
        if len(done) < enough:
            return False
        first = done[0].outcomes
        same = all(
            np.array_equal(one.items, other.items)
            for later in done[1:]
            for one, other in zip(first, later.outcomes, strict=True)
        )
        if same:
            self._note(f"{job.entry.label} gave the same lists with {enough} seeds and was not fitted with more")
        return same

    def rows(self, variant: Variant) -> list[Row]:
        """Return the rows of all models of which a seed was finished, and note what they leave out."""
        rows = []
        for entry in self.plan.entries:
            place = (entry.label, variant.ties)
            done, failed = self.finished[place], dict(sorted(self.failed[place].items()))
            if not done:
                continue
            finished = [done[seed] for seed in sorted(done)]
            outcomes = [one for each in finished for one in each.outcomes if one.facts["variant"] == variant.name]
            row = Row(entry, variant, outcomes, finished, failed, self.plan.options.seed)
            for seed, error in failed.items():
                self._note(f"{entry.label}: seed {seed} failed and is not in its row ({variant.ties} ties): {error}")
            for measure, count in row.undefined().items():
                without = f"{count} of {len(outcomes)} seeds"
                self._note(f"{entry.label}: {measure} is undefined for {without}; the mean is of the others")
            rows.append(row)
        return rows

    def floor(self) -> list[str]:
        """Return the labels of the floor models that were run; note those that failed."""
        asked = [entry.label for entry in self.plan.entries if entry.floor]
        ran = [label for label in asked if any(self.finished[label, ties] for ties in self.shops)]
        lacking = [(label, ties) for label in asked for ties in self.shops if not self.finished[label, ties]]
        why = "; ".join(
            f"{label}, {ties} ties: {next(iter(self.failed[label, ties].values()))}" for label, ties in lacking
        )
        if not asked:
            self._note("the floor was left out, so no claim is tested against it")
        elif not ran:
            self._note(f"no model of the floor could be run, so no claim is tested against it ({why})")
        elif lacking:
            self._note(f"the floor is incomplete, and verdicts are against the rest of it ({why})")
        return ran

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def together(results: Results, *, points: dict[str, Any] | None) -> dict[str, Any]:
    """Return the comparison as JSON values; the report and the command line read nothing else.

    Args:
        results: of all jobs.
        points: the map of the products, or None.
    """
    plan = results.plan
    measure, floor = plan.options.measure, results.floor()
    rows: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    by_variant = {variant: results.rows(variant) for variant in plan.variants}
    for variant, mine in by_variant.items():
        tested = verdicts.tests(mine, measure)
        pairs += tested
        of_floor = [row for row in mine if row.entry.floor]
        best = max(of_floor, key=lambda row: float(row.per_query(measure).mean()), default=None)
        for row in mine:
            against = None if best is None or row.entry.floor else verdicts.against_floor(row, best, tested)
            verdict = verdicts.verdict(row.entry, against)
            rows.append({**row.to_dict(), "verdict": verdict, "against_floor": against})
        there = {row.entry.label for row in mine}
        rows += [
            failure(entry, variant, dict(sorted(results.failed[entry.label, variant.ties].items())))
            for entry in plan.entries
            if entry.label not in there
        ]
    asked, *others = results.readings
    return {
        "format": FORMAT,
        "data": {**asked.facts(), "fitted_on": others[0].facts() if others else None},
        "ks": list(plan.options.ks),
        "measure": measure,
        "floor": floor,
        "seeds": list(plan.seeds),
        "variants": [variant.name for variant in plan.variants],
        "protocol": _shared_protocol(rows),
        "rows": rows,
        "pairs": pairs,
        "map": points,
        "examples": _examples(results, by_variant[plan.variants[0]]),
        "notes": _notes(results),
    }


def _shared_protocol(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the protocols of all rows say alike."""
    protocols = [row["protocol"] for row in rows if row["error"] is None]
    if not protocols:
        return {}
    return {
        key: value for key, value in protocols[0].items() if all(other.get(key, ...) == value for other in protocols)
    }


def _examples(results: Results, rows: list[Row]) -> list[dict[str, Any]]:
    """Put the example shoppers' histories beside every model's list and reasons, under the first variant."""
    variant = results.plan.variants[0]
    split = results.shops[variant.ties].split
    shown = shared.example_questions(split, seed=results.plan.options.seed)
    names = item_names(split.train.items)
    found = []
    for number in range(len(shown)):
        bought = shown.targets.history(number)
        lists = []
        for row in rows:
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
    notes = [note for reading in results.readings for note in reading.notes()] + results.notes
    if len(results.plan.seeds) > 1:
        notes.append("measures are means over seeds; slices, stages, trust and examples are those of the first seed")
    if results.plan.learn_from is not None:
        notes.append("the floor learns from the shop itself; the other models have not seen its interactions")
    return notes
