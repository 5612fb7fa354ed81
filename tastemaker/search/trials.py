"""Trials as they are read back from a study: those that ended, numbered from 0, interrupted ones left out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.study import Study
    from optuna.trial import FrozenTrial

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial that ended.

    Attributes:
        number: from 0.
        state: "complete"; "pruned", ended early by its learning curve; "failed", see `error`.
        settings: what was tried, by address.
        value: the measure on validation, of a complete trial.
        standard_error: of the value, as a mean over the questions.
        curve: epoch -> value on validation, where a learning curve was watched.
        seconds: wall time.
        error: why it failed.
        same_as: number of the earlier trial with the same settings, whose outcome this is.
    """

    number: int
    state: State
    settings: dict[str, Any]
    value: float | None
    standard_error: float | None = None
    curve: dict[int, float] = field(default_factory=dict)
    seconds: float = 0.0
    error: str | None = None
    same_as: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def settled(study: Study) -> list[Trial]:
    """Return the trials that ended; one that was broken off left no result and is not among them."""
    frozen = [one for one in study.get_trials(deepcopy=False) if one.state.is_finished() and not interrupted(one)]
    return [_trial(number, one) for number, one in enumerate(frozen)]


def interrupted(frozen: FrozenTrial) -> bool:
    """Say whether a trial was broken off, by Ctrl-C or with its process."""
    return frozen.state.name == "FAIL" and "error" not in frozen.user_attrs


def crashes(study: Study, number: int) -> int:
    """Return how often the process ended during trial `number`, Ctrl-C not counted."""
    return sum(
        interrupted(one) and one.user_attrs.get("number") == number and "stopped" not in one.user_attrs
        for one in study.get_trials(deepcopy=False)
    )


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the complete trial with the highest value, the earliest of equal ones."""
    complete = [one for one in trials if one.state == "complete"]
    return max(complete, key=lambda one: (one.value or 0.0, -one.number), default=None)


def _trial(number: int, frozen: FrozenTrial) -> Trial:
    states: dict[str, State] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    state = states[frozen.state.name]
    return Trial(
        number=number,
        state=state,
        settings=dict(frozen.params),
        value=frozen.value if state == "complete" else None,
        standard_error=frozen.user_attrs.get("standard_error") if state == "complete" else None,
        curve=dict(frozen.intermediate_values),
        seconds=frozen.user_attrs.get("seconds", 0.0),
        error=frozen.user_attrs.get("error"),
        same_as=frozen.user_attrs.get("same_as"),
    )
