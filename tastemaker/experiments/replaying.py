"""From logged lists and the lists of another policy to places that `replay` can weigh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
from pydantic import ConfigDict, Field, model_validator

from tastemaker.configurable import Config
from tastemaker.errors import DataError
from tastemaker.experiments.assignment import bucket
from tastemaker.experiments.replay import Logged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tastemaker.experiments.attribution import Attributed
    from tastemaker.experiments.records import ImpressionRecord
    from tastemaker.types import Float64, Int64

Reward = Literal["click", "purchase", "revenue"]
FOLDS = 5
"""The reward model of a shopper's lists is fitted on the shoppers of the other folds."""
PRIOR = 20.0
"""A product's reward is drawn to that of its place as if it had been shown so many times more."""


class Target(Config):
    """What the policy in question would have done at one logged request.

    Attributes:
        request_id: of the logged list.
        item_ids: the list that it would have shown, if it has no chance in it; or
        probabilities: for each product of the logged list, its probability of being at that place.
        predicted: with probabilities, a reward model's value for each product of the logged list at its place.
        expected: with them, its value for what the policy would put at each place, averaged over the policy.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    request_id: str = Field(min_length=1)
    item_ids: tuple[str, ...] | None = None
    probabilities: tuple[float, ...] | None = None
    predicted: tuple[float, ...] | None = None
    expected: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Target:
        if (self.item_ids is None) == (self.probabilities is None):
            raise ValueError("needs either item_ids or probabilities")
        if (self.predicted is None) != (self.expected is None):
            raise ValueError("predicted and expected go together")
        return self


def logged_places(
    impressions: Iterable[ImpressionRecord],
    attributed: Attributed,
    targets: Iterable[Target],
    *,
    reward: Reward = "click",
) -> tuple[Logged, int]:
    """Gather the places of lists that have propensities and a target.

    Where every target is a list, a reward model is fitted for the doubly robust estimate: the mean reward of the place
    times that of the product in proportion to what its places earn on average, drawn to 1; fitted for each shopper on
    shoppers of other folds, so that it knows nothing of what it is judged with.

    Args:
        impressions: logged lists.
        attributed: what came of them.
        targets: what the policy in question would have done.
        reward: what counts.

    Returns:
        The places, and how many logged lists were left out for want of propensities or a target.

    Raises:
        DataError: a target or propensities of another length than the list, or nothing is left.
    """
    wanted = {one.request_id: one for one in targets}
    part = set(attributed.lists["request_id"])
    rewards = _rewards(attributed, reward)
    rows: list[tuple[str, int, int, float, float, float]] = []
    shown: list[str] = []
    instead: list[str | None] = []
    models: list[tuple[float, float]] = []
    count = left_out = 0
    fixed = True  # every target is a list
    for one in impressions:
        if one.request_id not in part or not one.item_ids:
            continue
        part.discard(one.request_id)
        target = wanted.get(one.request_id)
        if target is None or one.propensities is None:
            left_out += 1
            continue
        chances = _chances(one, target)
        fixed = fixed and target.item_ids is not None
        others = target.item_ids or ()
        unit = f"user {one.user_id}" if one.user_id is not None else f"list {one.request_id}"
        for place, item in enumerate(one.item_ids):
            earned = rewards.get((one.request_id, item), 0.0)
            rows.append((unit, count, place, earned, one.propensities[place], chances[place]))
            shown.append(item)
            instead.append(others[place] if place < len(others) else None)
        models += zip(target.predicted or (), target.expected or (), strict=True)
        count += 1
    if not rows:
        raise DataError(
            f"replay: no list has both propensities and a target ({left_out:,} lack one); impressions need the field "
            "'propensities', and each target the request_id of a list"
        )
    units, lists, places, earnings, propensities, probabilities = zip(*rows, strict=True)
    numbers = {unit: number for number, unit in enumerate(dict.fromkeys(units))}
    shoppers = np.asarray([numbers[unit] for unit in units], dtype=np.int64)
    at, gained = np.asarray(places, dtype=np.int64), np.asarray(earnings, dtype=np.float64)
    predicted = expected = None
    if len(models) == len(rows):
        predicted, expected = np.asarray(models, dtype=np.float64).T
    elif fixed:
        folds = np.asarray([int(bucket("fold", unit) * FOLDS) for unit in numbers], dtype=np.int64)[shoppers]
        predicted, expected = _fitted(shown, instead, at, gained, folds)
    made = Logged(
        shoppers=shoppers,
        lists=np.asarray(lists, dtype=np.int64),
        places=at,
        rewards=gained,
        propensities=np.asarray(propensities, dtype=np.float64),
        targets=np.asarray(probabilities, dtype=np.float64),
        predicted=predicted,
        expected=expected,
    )
    return made, left_out


def _chances(one: ImpressionRecord, target: Target) -> tuple[float, ...]:
    """Return the target's probability of what was shown at each place.

    Raises:
        DataError: propensities, probabilities or a model's values of another length than the list.
    """
    size = len(one.item_ids)
    given = {
        "propensities": one.propensities,
        "probabilities": target.probabilities,
        "predicted": target.predicted,
        "expected": target.expected,
    }
    for name, values in given.items():
        if values is not None and len(values) != size:
            raise DataError(f"replay: list '{one.request_id}' has {size} products but {len(values)} {name}")
    if target.probabilities is not None:
        return target.probabilities
    others = target.item_ids or ()
    return tuple(float(place < len(others) and others[place] == item) for place, item in enumerate(one.item_ids))


def _rewards(attributed: Attributed, reward: Reward) -> dict[tuple[str, str], float]:
    """Return (list, product) -> what came of it."""
    outcomes = attributed.outcomes
    if reward == "click":
        clicks = outcomes.filter(pl.col("kind") == "click").select("request_id", "item_id").unique()
        return dict.fromkeys(clicks.iter_rows(), 1.0)
    amount = pl.len() if reward == "purchase" else pl.col("value").sum()
    bought = outcomes.filter(pl.col("kind") == "purchase").group_by("request_id", "item_id").agg(earned=amount)
    return {(request, item): float(earned) for request, item, earned in bought.iter_rows()}


def _fitted(
    shown: list[str], instead: list[str | None], places: Int64, rewards: Float64, folds: Int64
) -> tuple[Float64, Float64]:
    """Return the rewards that a model predicts for what was shown, and for what would have been, [m] each."""
    numbers = {item: number for number, item in enumerate(dict.fromkeys([*shown, *instead]))}
    ours = np.asarray([numbers[item] for item in shown])
    theirs = np.asarray([numbers[item] for item in instead])
    nothing = np.asarray([item is None for item in instead])
    width = int(places.max()) + 1
    predicted, expected = np.zeros(len(shown)), np.zeros(len(shown))
    for fold in np.unique(folds):
        held, known = folds == fold, folds != fold
        base = float(rewards[known].mean()) if known.any() else 0.0
        if base == 0:
            continue
        counts = np.bincount(places[known], minlength=width)
        of_place = (np.bincount(places[known], rewards[known], minlength=width) + base) / (counts + 1)
        usual = np.bincount(ours[known], of_place[places[known]], minlength=len(numbers))
        gained = np.bincount(ours[known], rewards[known], minlength=len(numbers))
        of_item = (gained + PRIOR * base) / (usual + PRIOR * base)
        predicted[held] = of_place[places[held]] * of_item[ours[held]]
        expected[held] = of_place[places[held]] * of_item[theirs[held]]
    expected[nothing] = 0.0
    return predicted, expected
