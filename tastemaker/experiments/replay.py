"""Off-policy replay: what another policy would have earned, from logged lists whose propensities are known.

The unit of weighting is a place: with mu the probability with which the logging policy put a product at a place, and pi
that of the policy in question, w = pi / mu. The reward of a product may depend on the request and the place, but not on
its neighbours (the item-position model of Li et al., 2018, "Offline evaluation of ranking policies with click models");
for lists of one product this is the usual setting. Per list, summed over places:

    IPS     mean of w r                                            (Horvitz and Thompson, 1952)
    SNIPS   sum of w r / sum of w at each place                    (Swaminathan and Joachims, 2015)
    DR      mean of q(pi) + w (r - q(shown)), q a reward model     (Dudik, Langford and Li, 2011)
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker.errors import DataError
from tastemaker.experiments.uncertainty import Estimate
from tastemaker.metrics.statistics import resampled_sums

if TYPE_CHECKING:
    from tastemaker.types import Float64, Int64

FEW = 100
"""An effective number of places below this is a warning."""


@dataclass(frozen=True)
class Logged:
    """Logged places, m of them, of lists that another policy is judged by.

    Attributes:
        shoppers: int64 [m], whose list it is; the unit of the bootstrap.
        lists: int64 [m], which list, numbered from 0 without gaps.
        places: int64 [m], counted from 0.
        rewards: [m], what came of the product there, e.g. 1 for a click.
        propensities: [m], probability of that product at that place under the policy that logged, above 0.
        targets: [m], the same under the policy in question.
        predicted: [m], reward that a model predicts for the product shown; None without a model.
        expected: [m], reward that the model predicts for what the policy in question puts there; None without.

    Raises:
        DataError: arrays of different lengths, values out of range, or a product shown without a chance.
    """

    shoppers: Int64
    lists: Int64
    places: Int64
    rewards: Float64
    propensities: Float64
    targets: Float64
    predicted: Float64 | None = None
    expected: Float64 | None = None

    def __post_init__(self) -> None:
        arrays = {name: value for name, value in vars(self).items() if value is not None}
        sizes = {name: len(value) for name, value in arrays.items()}
        if len(set(sizes.values())) > 1:
            raise DataError(f"replay: arrays of different lengths: {sizes}")
        if not len(self.lists):
            raise DataError("replay: no place was logged")
        if (self.predicted is None) != (self.expected is None):
            raise DataError("replay: a reward model has to give both predicted and expected")
        for name, value in arrays.items():
            if not np.isfinite(value).all():
                raise DataError(f"replay: {name} hold NaN or infinity")
        if (self.propensities <= 0).any() or (self.propensities > 1).any():
            at = int(((self.propensities <= 0) | (self.propensities > 1)).argmax())
            raise DataError(
                f"replay: propensity {self.propensities[at]} at row {at}: what was shown had a chance, at most 1"
            )
        if (self.targets < 0).any() or (self.targets > 1).any():
            raise DataError("replay: targets are probabilities, from 0 to 1")


@dataclass(frozen=True)
class Replayed:
    """What another policy would have earned, per list.

    Attributes:
        logged: what the lists earned as they were.
        estimates: "ips", "snips" and, with a reward model, "dr": the value with its interval.
        gains: each estimate less what was logged, with its interval; the same shoppers stand on both sides.
        lists: how many.
        shoppers: how many.
        effective: places worth as much as unweighted ones: (sum of w)^2 / sum of w^2 (Kish, 1965).
        largest_weight: of one place.
        mean_weight: 1, but for chance, if the policy in question shows nothing that was never logged.
        clipped: share of the places whose weight was cut.
        notes: what to know before believing the figures.
    """

    logged: Estimate
    estimates: dict[str, Estimate]
    gains: dict[str, Estimate]
    lists: int
    shoppers: int
    effective: float
    largest_weight: float
    mean_weight: Estimate
    clipped: float
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: everything."""
        return asdict(self)


def replay(
    logged: Logged, *, clip: float | None = None, seed: int = 0, resamples: int = 1000, level: float = 0.95
) -> Replayed:
    """Estimate what another policy would have earned; intervals by bootstrap over shoppers.

    Args:
        logged: places with propensities, targets and rewards.
        clip: largest weight of a place; bounds the variance and biases IPS and SNIPS, so it is off by default.
        seed: of the bootstrap.
        resamples: of the bootstrap.
        level: of the intervals.
    """
    weights = logged.targets / logged.propensities
    clipped = 0.0
    if clip is not None:
        clipped = float((weights > clip).mean())
        weights = np.minimum(weights, clip)
    sums = _Sums(logged, weights)
    found = sums.values(sums.columns.sum(axis=0, keepdims=True))
    draws = sums.values(resampled_sums(sums.columns, seed=seed, resamples=resamples))
    shoppers = len(sums.columns)
    tail = (1 - level) / 2

    def sure(value: Float64, drawn: Float64) -> Estimate:
        if shoppers < 2 or np.isnan(drawn).all():
            return Estimate(float(value[0]), float("nan"), float("nan"), "-")
        low, high = np.nanquantile(drawn, [tail, 1 - tail])
        return Estimate(float(value[0]), float(low), float(high), "bootstrap")

    names = [name for name in ("ips", "snips", "dr") if name in found]
    mean_weight = sure(found["weight"], draws["weight"])
    squares = float((weights**2).sum())
    effective = float(weights.sum()) ** 2 / squares if squares else 0.0
    return Replayed(
        logged=sure(found["logged"], draws["logged"]),
        estimates={name: sure(found[name], draws[name]) for name in names},
        gains={name: sure(found[name] - found["logged"], draws[name] - draws["logged"]) for name in names},
        lists=int(logged.lists.max()) + 1,
        shoppers=shoppers,
        effective=effective,
        largest_weight=float(weights.max()),
        mean_weight=mean_weight,
        clipped=clipped,
        notes=_notes(mean_weight, effective, clipped),
    )


class _Sums:
    """Sums of each shopper, from which every estimate follows, so that one bootstrap serves all."""

    def __init__(self, logged: Logged, weights: Float64) -> None:
        _, rows = np.unique(logged.shoppers, return_inverse=True)
        self.size, self.width = int(rows.max()) + 1, int(logged.places.max()) + 1
        self.with_model = logged.predicted is not None
        weighted = weights * logged.rewards
        first = np.unique(logged.lists, return_index=True)[1]
        lists = np.bincount(rows[first], minlength=self.size)
        columns = [lists, self._of(rows, logged.rewards), self._of(rows, weighted)]
        if logged.predicted is not None and logged.expected is not None:
            rest = logged.expected + weights * (logged.rewards - logged.predicted)
            columns.append(self._of(rows, rest))
        else:
            columns.append(np.zeros(self.size))
        at = rows * self.width + logged.places
        cells = self.size * self.width
        for values in (weighted, weights, np.ones_like(weights)):
            columns += list(np.bincount(at, values, minlength=cells).reshape(self.size, self.width).T)
        self.columns = np.column_stack(columns).astype(np.float64)

    def _of(self, rows: Int64, values: Float64) -> Float64:
        return np.asarray(np.bincount(rows, values, minlength=self.size), dtype=np.float64)

    def values(self, sums: Float64) -> dict[str, Float64]:
        """Return every figure of sums, [r, columns]: name -> [r]."""
        lists, width = sums[:, 0], self.width
        weighted, weights, counts = (sums[:, 4 + part * width : 4 + (part + 1) * width] for part in range(3))
        shares = np.divide(weighted, weights, out=np.zeros_like(weighted), where=weights > 0)
        nothing = (weights.sum(axis=1) == 0) & (counts.sum(axis=1) > 0)
        found = {
            "logged": sums[:, 1] / lists,
            "ips": sums[:, 2] / lists,
            "snips": np.where(nothing, np.nan, (shares * counts).sum(axis=1) / lists),
            "weight": weights.sum(axis=1) / counts.sum(axis=1),
        }
        if self.with_model:
            found["dr"] = sums[:, 3] / lists
        return found


def _notes(mean_weight: Estimate, effective: float, clipped: float) -> tuple[str, ...]:
    notes = []
    if mean_weight.high < 1:
        notes.append(
            f"the mean weight is {mean_weight.value:.3f}, below 1 ({mean_weight.low:.3f} .. {mean_weight.high:.3f}): "
            "the policy shows products that the log could not, or weights were clipped; IPS is too low, and the others "
            "guess for those"
        )
    elif mean_weight.low > 1:
        notes.append(
            f"the mean weight is {mean_weight.value:.3f}, above 1: the logged propensities are too small; check them"
        )
    if effective < FEW:
        notes.append(f"the weights leave {effective:.0f} effective places: too few to believe an interval")
    if clipped:
        notes.append(f"{clipped:.1%} of the weights were clipped, so values lean towards what was logged")
    return tuple(notes)
