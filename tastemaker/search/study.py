"""The search itself: one trial after the other, each kept as soon as it is done, so that a killed search goes on.

Settings are suggested by the tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011). Its random numbers
begin anew with each trial, from the seed and the number of trials before, so a search that was interrupted suggests
what it would have suggested anyway. The first trial is the configuration as it stands, where that is among what is
tried. A space of no more settings than there are trials is tried out whole, in random order.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tastemaker import registry
from tastemaker.errors import ConfigError, LeakError, MissingExtra, TastemakerError
from tastemaker.progress import Progress, silent
from tastemaker.search import store
from tastemaker.search.objective import Asked, Measure, measure_settings
from tastemaker.search.space import owner, size, value_at, with_values
from tastemaker.search.trials import Trial, crashes, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import optuna
    from optuna.study import Study

    from tastemaker.search.space import Space

FAILURES = (TastemakerError, MemoryError, ValueError, ArithmeticError, RuntimeError)
"""What settings may bring about; NumPy, SciPy and torch raise the last three. Anything else is a bug and ends all."""
ALL_FAIL = 5
"""After so many trials without a single one that works the search ends: something else is wrong."""
CRASHES = 3
"""A trial during which the process ended so often is recorded as failed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is searched.

    Attributes:
        settings: the configuration as it stands.
        space: what is tried, by address.
        measure: what is made larger.
        seed: of suggestions and fits.
        prunes: whether poor trials are ended early, where that can be told from a learning curve.
        device: where trials are fitted; a study may go on elsewhere.
    """

    settings: dict[str, Any]
    space: Space
    measure: Measure
    seed: int = 0
    prunes: bool = True
    device: str | None = None

    @property
    def watched(self) -> str | None:
        """The part whose learning curve may end a trial, as `Aids.part` has it.

        Only where all that is tried belongs to one part does its curve speak for the whole.
        """
        owners = {owner(key) for key in self.space}
        return owners.pop() if self.prunes and len(owners) == 1 else None

    @property
    def given(self) -> dict[str, Any] | None:
        """What the configuration itself says of the settings that are tried; None where one is not among them."""
        whole = registry.settings_of(registry.build(self.settings))
        found = {key: value_at(whole, key) for key in self.space}
        return found if all(self.space[key].holds(value) for key, value in found.items()) else None

    def identity(self, asked: Asked) -> dict[str, Any]:
        """Return all that decides what a trial finds, as JSON values."""
        protocol = {key: value for key, value in asked.facts.items() if key != "data_fingerprint"}
        return {
            "data": asked.facts["data_fingerprint"],
            "protocol": protocol,
            "settings": self.settings,
            "space": {key: repr(values) for key, values in self.space.items()},
            "measure": str(self.measure),
            "seed": self.seed,
            "prunes": self.prunes,
        }


def search(
    plan: Plan,
    asked: Asked,
    folder: Path,
    *,
    trials: int,
    seconds: float | None = None,
    on_trial: Callable[[Trial], None] | None = None,
    progress: Progress = silent,
) -> tuple[list[Trial], str]:
    """Try settings until there are `trials` trials, those of earlier runs in the same folder included.

    Args:
        plan: what is searched.
        asked: the shop, without its test part.
        folder: where the study is kept.
        trials: so many in all.
        seconds: no further trial is begun after so long.
        on_trial: called with each trial that ends.
        progress: shown over the trials.

    Returns:
        All trials in order, and why the search ended: "done", "time" or "stopped" (Ctrl-C).

    Raises:
        ConfigError: the first trials all failed.
        DataError: `folder` cannot be used.
        LeakError: something held out is known before it may be.
        MissingExtra: optuna is not installed.
    """
    started = time.monotonic()
    trials = int(min(trials, size(plan.space)))
    with store.opened(folder, plan.identity(asked), prunes=plan.prunes) as study:
        for _ in progress(range(len(settled(study)), trials), label="searching"):
            before = settled(study)
            _refuse_if_nothing_works(before)
            if seconds is not None and time.monotonic() - started >= seconds:
                return before, "time"
            try:
                trial = _try_one(study, plan, asked, before, trials)
            except KeyboardInterrupt:
                return settled(study), "stopped"
            if on_trial is not None:
                on_trial(trial)
        found = settled(study)
    _refuse_if_nothing_works(found)
    return found, "done"


def _refuse_if_nothing_works(found: list[Trial]) -> None:
    """Raise the error of the first trials where none of them works.

    Raises:
        ConfigError: they all failed.
    """
    if len(found) >= ALL_FAIL and all(one.state == "failed" for one in found):
        raise ConfigError(f"all {len(found)} trials failed; the last one: {found[-1].error}")


def _try_one(study: Study, plan: Plan, asked: Asked, before: list[Trial], trials: int) -> Trial:
    """Do the next trial and keep what it found.

    Raises:
        LeakError: something held out is known before it may be.
        MissingExtra: a package is missing.
    """
    import optuna

    from tastemaker.search import suggest

    states = optuna.trial.TrialState
    number = len(before)
    study.sampler = suggest.sampler(plan.space, before, trials=trials, first=plan.given, seed=plan.seed)
    running = study.ask(suggest.distributions(plan.space))
    running.set_user_attr("number", number)
    started = time.perf_counter()
    result: dict[str, Any] = {"state": states.FAIL}
    try:
        twin = next((one for one in before if one.settings == running.params), None)
        if twin is not None:
            result = _as_before(running, twin)
        elif crashes(study, number) >= CRASHES:
            running.set_user_attr("error", f"the process ended {CRASHES} times during this trial; too little memory?")
        else:
            settings = with_values(plan.settings, running.params)
            listener = None if plan.watched is None else _listener(running, plan.watched)
            figure = measure_settings(
                settings, asked, plan.measure, seed=plan.seed, device=plan.device, on_epoch=listener
            )
            running.set_user_attr("standard_error", figure.error)
            result = {"values": figure.value}
    except optuna.TrialPruned:
        result = {"state": states.PRUNED}
    except (LeakError, MissingExtra):
        raise
    except FAILURES as error:
        running.set_user_attr("error", "; ".join(str(error).splitlines()) or type(error).__name__)
    except BaseException:
        running.set_user_attr("stopped", True)
        study.tell(running, state=states.FAIL)
        raise
    running.set_user_attr("seconds", round(time.perf_counter() - started, 3))
    study.tell(running, **result)
    return settled(study)[-1]


def _as_before(running: optuna.Trial, twin: Trial) -> dict[str, Any]:
    """Give a trial the outcome of an earlier one with the same settings; the same seed would find the same."""
    import optuna

    running.set_user_attr("same_as", twin.number)
    for epoch, value in twin.curve.items():
        running.report(value, epoch)
    if twin.error is not None:
        running.set_user_attr("error", twin.error)
    if twin.value is not None:
        running.set_user_attr("standard_error", twin.standard_error)
        return {"values": twin.value}
    return {"state": optuna.trial.TrialState.FAIL if twin.error is not None else optuna.trial.TrialState.PRUNED}


def _listener(running: optuna.Trial, watched: str) -> Callable[[str, Mapping[str, float]], None]:
    """Return what is called after each epoch: it ends the trial where the curve of the watched part is poor."""
    import optuna

    def listen(part: str, entry: Mapping[str, float]) -> None:
        values = [value for name, value in entry.items() if "@" in name]
        if values and part.rpartition("/")[0] == watched.rstrip("/"):
            running.report(values[0], int(entry["epoch"]))
            if running.should_prune():
                raise optuna.TrialPruned

    return listen
