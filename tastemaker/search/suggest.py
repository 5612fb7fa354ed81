"""Which settings a trial gets: those of the configuration, the next of a whole space, or the estimator's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, TPESampler

from tastemaker.search.space import Choices, grid, size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from tastemaker.search.space import Space, Values
    from tastemaker.search.trials import Trial


class Fixed(BaseSampler):
    """Suggests the settings that it is given."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return nothing: each setting is suggested by itself."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:  # noqa: ANN401  # any value of a setting
        """Return the given value."""
        return self.settings[param_name]


def sampler(
    space: Space, before: Sequence[Trial], *, trials: int, first: Mapping[str, Any] | None, seed: int
) -> BaseSampler:
    """Return what suggests the next trial; the same trials before give the same suggestion.

    Args:
        space: what is tried.
        before: the trials that ended.
        trials: so many there are to be in all.
        first: settings of the first trial, or None.
        seed: of the search.
    """
    if not before and first is not None:
        return Fixed(first)
    if size(space) <= trials:
        tried = [one.settings for one in before]
        left = [one for one in grid(space) if one not in tried]
        order = np.random.default_rng(seed).permutation(len(left))
        return Fixed(left[order[0]])
    return TPESampler(seed=int(np.random.SeedSequence([seed, len(before)]).generate_state(1)[0]))


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return the space as optuna has it."""
    return {key: _distribution(values) for key, values in space.items()}


def _distribution(values: Values) -> BaseDistribution:
    if isinstance(values, Choices):
        return CategoricalDistribution(values.values)
    if values.whole:
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)
