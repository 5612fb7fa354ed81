"""Choices that move figures without a word about it: the order of ties, and repeated purchases."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tastemaker.data import filters
from tastemaker.data.dataset import Dataset
from tastemaker.data.entities import Entities
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from tastemaker.data.splits.holdout import Holdout, Split
    from tastemaker.types import Bool

Facts = dict[str, Any]


def shuffled_ties(data: Dataset, *, seed: int = 0) -> tuple[Dataset, Facts]:
    """Put what files leave open into random order: interactions at the same time, and items of equal score.

    Neighbouring interactions of one shopper at the same time change places; the catalogue is renumbered, because of
    equal scores the lower number goes first.

    Returns:
        The data, and facts for the protocol.
    """
    rng = np.random.default_rng(seed)
    log = data.log.with_columns(pl.struct("user", "timestamp").rle_id().alias("moment"))
    tied = (pl.len().over("moment") > 1) & pl.col("timestamp").is_not_null()
    facts = log.select(tied.sum().alias("interactions"), pl.col("user").filter(tied).n_unique().alias("users"))
    counts = facts.row(0, named=True)
    row = pl.Series("row", rng.permutation(log.height))
    moved = log.with_columns(row, tied.alias("tied"), pl.int_range(pl.len()).alias("place"))
    moved = moved.sort("moment", pl.when("tied").then("row").otherwise("place"))
    shuffled = data.with_log(moved.select(data.log.columns))
    timed = data.log["timestamp"].count() > 0
    return renumbered(shuffled, seed=seed), {
        "order_of_ties": "at random, by seed"
        if timed
        else "as in the file: the data have no times, so only the order of equal scores is shuffled",
        "ties_seed": seed,
        "interactions_at_a_shared_time": counts["interactions"] if timed else None,
        "users_with_a_shared_time": counts["users"] if timed else None,
        "order_of_equal_scores": "at random, by seed: the catalogue is renumbered",
    }


def renumbered(data: Dataset, *, seed: int = 0) -> Dataset:
    """Return the same data with items numbered at random, so that numbers tell nothing."""
    order = np.random.default_rng(seed).permutation(data.n_items)
    new_number = np.empty(data.n_items, dtype=np.int32)
    new_number[order] = np.arange(data.n_items, dtype=np.int32)
    log = data.log.with_columns(pl.Series("item", new_number[data.log["item"].to_numpy()]))
    return Dataset(data.users, Entities(data.items.frame[order]), log)


def without_repeats(data: Dataset) -> tuple[Dataset, Facts]:
    """Keep the first purchase of each product by each shopper.

    Returns:
        The data, and facts for the protocol.
    """
    kept = filters.without_repeats(data)
    return kept, {"repeats_left_out": len(data) - len(kept)}


def novel_targets(split: Split) -> Split:
    """Drop targets that the shopper had in the history; questions left without a target go, and all is counted.

    Histories keep their repeats.

    Raises:
        DataError: validation or test has no question left.
    """
    validation, of_validation = _novel(split.validation, "validation")
    test, of_test = _novel(split.test, "test")
    return replace(split, validation=validation, test=test).with_facts(**of_validation, **of_test)


def of_shoppers(split: Split, share: float, *, seed: int = 0) -> Split:
    """Keep the train and validation parts of a random share of the shoppers, to learn from little; test stays whole.

    Args:
        split: any split.
        share: of the shoppers with training interactions, above 0 and at most 1.
        seed: of the draw.

    Raises:
        DataError: the share is out of range, or leaves nobody.
    """
    if not 0 < share <= 1:
        raise DataError(f"share {share}: must be above 0 and at most 1")
    shoppers = split.train.log["user"].unique().sort().to_numpy()
    size = round(share * len(shoppers))
    if not size:
        raise DataError(f"share {share}: leaves none of {len(shoppers)} shoppers to learn from; use a larger share")
    drawn = np.random.default_rng(seed).choice(shoppers, size, replace=False)
    train, refit = (data.with_log(data.log.filter(pl.col("user").is_in(drawn))) for data in (split.train, split.refit))
    validation = split.validation.take(np.flatnonzero(np.isin(split.validation.who(), drawn)))
    return replace(split, train=train, refit=refit, validation=validation).with_facts(
        learnt_from_share_of_shoppers=share, learnt_from_shoppers=size, share_seed=seed
    )


def in_history(part: Holdout) -> Bool:
    """Return which targets are in the history of their own question, bool, as long as `part.targets.items`."""
    n = int(max(part.queries.items.max(initial=0), part.targets.items.max(initial=0))) + 1
    return np.isin(part.targets.rows * n + part.targets.items, part.queries.rows * n + part.queries.items)


def _novel(part: Holdout, name: str) -> tuple[Holdout, Facts]:
    """Keep the targets that are new to their shopper, and count the rest."""
    novel = ~in_history(part)
    lengths = np.bincount(part.targets.rows[novel], minlength=len(part))
    if not novel.any():
        raise DataError(
            f"repeats = novel: no {name} question is left: all {len(novel)} targets were bought before; "
            "count or exclude repeats"
        )
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    targets = replace(part.targets, offsets=offsets, items=part.targets.items[novel])
    kept = replace(part, targets=targets, times=None if part.times is None else part.times[novel])
    return kept.take(np.flatnonzero(lengths)), {
        f"{name}_targets_bought_before": int((~novel).sum()),
        f"{name}_questions_left_out": int((lengths == 0).sum()),
    }
