r"""How well ratings are predicted, over the number of neighbours: the experiment of arXiv 2403.02760.

The paper reports the mean absolute error of user-based and item-based collaborative filtering, plain and
text-enriched, over K = 5, 10 ... 30 neighbours, and names neither data nor split. Here each user's ratings are split at
random, 80 % to learn from, 10 % to choose alpha on, 10 % to test on, and what the paper lacks stands beside the errors:
the means as baselines, and the share of predictions that no neighbour took part in. Predictions are limited to the
range of the training ratings. MAE is $\overline{|p - r|}$, RMSE is $\sqrt{\overline{(p - r)^2}}$, over all held-out
ratings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np

from tastemaker import metrics
from tastemaker.errors import DataError
from tastemaker.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

    import polars as pl

    from tastemaker.data.dataset import Dataset
    from tastemaker.types import Bool, Float32, Int32, Int64

KS = (5, 10, 15, 20, 25, 30)
"""Numbers of neighbours in the paper."""
ALPHAS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Weights of the ratings against the texts that are tried on validation."""

HoldoutKind = Literal["random", "last"]


@runtime_checkable
class NeighbourRater(Protocol):
    """A recommender that predicts ratings from its K nearest neighbours."""

    name: Any

    def fit(self, train: Dataset, *, seed: int = 0, progress: Progress = silent) -> Self:
        """Learn from ratings."""
        ...

    def predict_over(self, users: Int32, items: Int32, ks: Sequence[int]) -> tuple[Float32, Bool]:
        """Return predictions for several K, [len(ks), n], and whether each comes from neighbours."""
        ...


@dataclass(frozen=True, slots=True)
class RatingSplit:
    """Ratings split three ways.

    Attributes:
        train: what models may learn from.
        validation: log rows for choices.
        test: log rows that are looked at once.
        protocol: the split in words and numbers.
    """

    train: Dataset
    validation: pl.DataFrame
    test: pl.DataFrame
    protocol: dict[str, Any]


def split_ratings(data: Dataset, *, holdout: HoldoutKind = "random", seed: int = 0) -> RatingSplit:
    """Split each user's ratings; of a repeated (user, item) pair only the newest rating is used.

    Args:
        data: every interaction has a value.
        holdout: "random" holds out a tenth of each user's ratings for test and a tenth for validation, rounded down;
            "last" the newest for test and the one before for validation, of users with at least 3.
        seed: of the random choice.

    Raises:
        DataError: a value is missing, or nobody has enough ratings.
    """
    if not data.has_values:
        missing = data.log["value"].null_count()
        raise DataError(
            f"{missing} of {len(data)} interactions have no value; ratings need a 'value' or 'rating' column"
        )
    log = data.log.unique(["user", "item"], keep="last", maintain_order=True)
    users = log["user"].to_numpy()
    lengths = np.bincount(users, minlength=data.n_users)
    if holdout == "random":
        held = lengths // 10
        place = _places_in_random_order(users, seed)
    else:
        held = (lengths >= 3).astype(np.int64)
        place = np.arange(len(users)) - (np.cumsum(lengths) - lengths)[users]
    back = lengths[users] - 1 - place
    test, validation = back < held[users], (back >= held[users]) & (back < 2 * held[users])
    if not test.any():
        least = 10 if holdout == "random" else 3
        raise DataError(f"no user has {least} ratings, so none can be held out; the longest list has {lengths.max()}")
    protocol = {
        "split": "random tenths of each user" if holdout == "random" else "newest ratings of each user",
        "seed": seed if holdout == "random" else None,
        "users": data.n_users,
        "items": data.n_items,
        "train_ratings": int((~test & ~validation).sum()),
        "validation_ratings": int(validation.sum()),
        "test_ratings": int(test.sum()),
    }
    train = data.with_log(log.filter(~test & ~validation))
    return RatingSplit(train, log.filter(validation), log.filter(test), protocol)


def evaluate_ratings(
    data: Dataset,
    models: Mapping[str, Callable[[float], NeighbourRater]],
    *,
    ks: Sequence[int] = KS,
    alphas: Sequence[float] = ALPHAS,
    holdout: HoldoutKind = "random",
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Compare plain and text-enriched models over K; the text-enriched form's alpha is chosen on validation, by MAE.

    Args:
        data: ratings, with texts of the items if `alphas` is not empty.
        models: by name, a function from alpha to an unfitted model.
        ks: numbers of neighbours.
        alphas: tried for the text-enriched form; empty leaves that form out.
        holdout: see `split_ratings`.
        seed: of split and models.
        progress: shown over the models.

    Returns:
        JSON values: "protocol", "baselines" (errors by name), "models" (name, alpha, and one row for each K).
    """
    split = split_ratings(data, holdout=holdout, seed=seed)
    results = []
    for name, make in progress(models.items(), label="rating models", total=len(models)):
        results.append({"model": name, "alpha": 1.0, "rows": _rows(make(1.0), split, split.test, ks, seed)})
        if alphas:
            tried = {alpha: _rows(make(alpha), split, split.validation, ks, seed) for alpha in alphas}
            best = min(tried, key=lambda alpha: float(np.mean([row["mae"] for row in tried[alpha]])))
            results.append(
                {"model": f"{name} + text", "alpha": best, "rows": _rows(make(best), split, split.test, ks, seed)}
            )
    return _result(split, ks, alphas, results)


def baselines(split: RatingSplit) -> dict[str, dict[str, float]]:
    """Return the errors of the three means; a user or item without training ratings gets the mean of all."""
    ratings = split.train.log
    overall = float(ratings["value"].cast(float).mean())  # type: ignore[arg-type]  # a number: there are ratings
    true = split.test["value"].to_numpy()
    result = {"global mean": _errors(np.full(len(true), overall, np.float32), true)}
    for column in ("user", "item"):
        size = split.train.n_users if column == "user" else split.train.n_items
        counts = np.bincount(ratings[column].to_numpy(), minlength=size)
        sums = np.bincount(ratings[column].to_numpy(), ratings["value"].to_numpy(), minlength=size)
        means = np.divide(sums, counts, out=np.full(size, overall), where=counts > 0).astype(np.float32)
        result[f"{column} mean"] = _errors(means[split.test[column].to_numpy()], true)
    return result


def _rows(
    model: NeighbourRater, split: RatingSplit, asked: pl.DataFrame, ks: Sequence[int], seed: int
) -> list[dict[str, Any]]:
    """Fit `model` and return one row of errors for each K."""
    model.fit(split.train, seed=seed)
    predictions, known = model.predict_over(asked["user"].to_numpy(), asked["item"].to_numpy(), ks)
    true = asked["value"].to_numpy()
    return [
        {"neighbours": k, **_errors(predicted, true), "fallback_share": float(1 - found.mean())}
        for k, predicted, found in zip(ks, predictions, known, strict=True)
    ]


def _errors(predicted: Float32, true: Float32) -> dict[str, float]:
    return {"mae": metrics.mae(predicted, true), "rmse": metrics.rmse(predicted, true)}


def _result(
    split: RatingSplit, ks: Sequence[int], alphas: Sequence[float], models: list[dict[str, Any]]
) -> dict[str, Any]:
    values = split.train.log["value"]
    protocol = split.protocol | {
        "neighbours": list(ks),
        "alphas_tried_on_validation": list(alphas),
        "clipped_to": [float(values.min()), float(values.max())],  # type: ignore[arg-type]  # numbers: there are ratings
    }
    return {"protocol": protocol, "baselines": baselines(split), "models": models}


def _places_in_random_order(users: Int32, seed: int) -> Int64:
    """Return each row's place in a random order of its user's rows, [rows]; `users` is sorted."""
    shuffled = np.lexsort((np.random.default_rng(seed).random(len(users)), users))
    places = np.empty(len(users), dtype=np.int64)
    places[shuffled] = np.arange(len(users)) - np.searchsorted(users, users)
    return places
