"""What a search found: JSON values, the best configuration as a file, the trials as a table, and what mattered."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from tastemaker.json_values import finite
from tastemaker.search.space import Range, with_values
from tastemaker.search.toml import comment, toml
from tastemaker.search.trials import best_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.search.objective import Asked
    from tastemaker.search.space import Space
    from tastemaker.search.study import Plan
    from tastemaker.search.trials import Trial

FORMAT = 1
ENOUGH = 10
"""Fewer different settings that ran to their end say nothing about which of them matters."""
OPTIMISTIC = (
    "the best value is optimistic: it is the highest of many on the same validation questions; "
    "measure the configuration on the test part once, with tastemaker evaluate"
)


def result_of(plan: Plan, asked: Asked, trials: Sequence[Trial], *, ended: str) -> dict[str, Any]:
    """Return what a search found, as JSON values.

    Args:
        plan: what was searched.
        asked: on what.
        trials: all that ended, in order.
        ended: why the search ended, see `search`.
    """
    best = best_of(trials)
    first = trials[0] if trials and trials[0].settings == plan.given else None
    states = [one.state for one in trials]
    return {
        "format": FORMAT,
        "measure": str(plan.measure),
        "seed": plan.seed,
        "protocol": {**asked.facts, "test_part": "not read"},
        "space": {key: values.words for key, values in plan.space.items()},
        "pruned_by_the_curve_of": plan.watched,
        "ended": ended,
        "counts": {state: states.count(state) for state in ("complete", "pruned", "failed")},
        "as_it_stands": None if first is None else first.value,
        "best": None if best is None else best.to_dict(),
        "within_noise": _within_noise(best, trials),
        "settings": None if best is None else with_values(plan.settings, best.settings),
        "importance": importance(plan.space, trials, seed=plan.seed),
        "notes": [] if best is None else [OPTIMISTIC, *_at_ends(plan, best)],
        "trials": [finite(one.to_dict()) for one in trials],
    }


def importance(space: Space, trials: Sequence[Trial], *, seed: int = 0) -> dict[str, float] | None:
    """Return each setting's share of how values differ (fANOVA, Hutter et al., ICML 2014), largest first.

    None where fewer than ENOUGH different settings ran to their end, or all of them are worth the same.
    """
    complete = [one for one in trials if one.state == "complete" and one.same_as is None]
    if len(complete) < ENOUGH or len({one.value for one in complete}) == 1:
        return None
    import optuna

    from tastemaker.search.suggest import distributions

    shape = distributions(space)
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [optuna.trial.create_trial(params=one.settings, distributions=shape, value=one.value) for one in complete]
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {key: round(float(share), 4) for key, share in found.items()}


def best_toml(found: dict[str, Any], *, command: str) -> str:
    """Return the best configuration as a file that says where it comes from.

    Args:
        found: see `result_of`.
        command: what made it.
    """
    best, protocol = found["best"], found["protocol"]
    counts = ", ".join(f"{count} {state}" for state, count in found["counts"].items())
    lines = [
        f"Found by: {command}",
        f"{found['measure']} {best['value']:.4f} on {protocol['questions']:,} validation questions, "
        f"{protocol['split']} split, fitted on train; the test part was not read.",
        f"Trial {best['number']} of {len(found['trials'])} ({counts}), seed {found['seed']}, "
        f"data {protocol['data_fingerprint']}.",
        f"{OPTIMISTIC[0].upper()}{OPTIMISTIC[1:]}.",
    ]
    return "".join(comment(line) for line in lines) + "\n" + toml(found["settings"])


def trials_csv(found: dict[str, Any]) -> str:
    """Return one line a trial: number, state, value, seconds, each setting, epochs, error."""
    written = io.StringIO()
    out = csv.writer(written, lineterminator="\n")
    out.writerow(
        ["trial", "state", found["measure"], "standard error", "seconds", *found["space"], "epochs", "same as", "error"]
    )
    for one in found["trials"]:
        out.writerow(
            [
                *(one[name] for name in ("number", "state", "value", "standard_error", "seconds")),
                *(one["settings"].get(key) for key in found["space"]),
                max(map(int, one["curve"]), default=None),
                one["same_as"],
                one["error"],
            ]
        )
    return written.getvalue()


def _at_ends(plan: Plan, best: Trial) -> list[str]:
    """Say which settings of the best trial lie at the end of what was tried, if any."""
    found = []
    for key, values in plan.space.items():
        if isinstance(values, Range) and not values.whole and values.at_end(best.settings[key]):
            found.append(
                f"the best {key} lies at the end of what was tried, {values.words}; a wider range may have more"
            )
    return found


def _within_noise(best: Trial | None, trials: Sequence[Trial]) -> int:
    """Return how many other settings are less than the best trial's standard error below it."""
    if best is None or best.value is None or best.standard_error is None:
        return 0
    least = best.value - best.standard_error
    others = [one for one in trials if one.value is not None and one.same_as is None and one.number != best.number]
    return sum(one.value > least for one in others if one.value is not None)
