"""Splits for what is new: shoppers or products that nothing was learnt from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tastemaker.data.duplicates import has_titles, how_many, near_duplicates
from tastemaker.data.queries import Queries
from tastemaker.data.splits.holdout import Holdout, Split, questions, require_interactions, require_questions
from tastemaker.data.synthetic import sets_synthetic_aside
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.types import Bool, Int32, Int64


@sets_synthetic_aside
def user_cold(data: Dataset, *, share: float = 0.1, seed: int = 0) -> Split:
    """Hold out shoppers: a random share of them is test, another one validation; nothing of them is in train.

    Each is asked for the last interaction with all before it as history, and is unknown to models (user number -1).
    Only shoppers with at least 2 interactions are drawn; the others stay in train. Refit adds the validation shoppers.

    Raises:
        DataError: the share is not between 0 and 0.5, or there are too few shoppers.
    """
    require_interactions(data)
    _check_share(share, "user-cold")
    users = data.log["user"].to_numpy()
    lengths = np.bincount(users, minlength=data.n_users)
    eligible = np.flatnonzero(lengths >= 2)
    if len(eligible) < 3:
        raise DataError(
            f"user-cold split: {len(eligible)} of {data.n_users} users have 2 interactions; it needs 3 such users"
        )
    size = max(1, round(share * len(eligible)))
    drawn = np.random.default_rng(seed).permutation(eligible)
    part = np.zeros(data.n_users, dtype=np.int64)  # 0 train, 1 validation, 2 test
    part[drawn[:size]], part[drawn[size : 2 * size]] = 2, 1
    newest = np.arange(len(users)) == np.cumsum(lengths)[users] - 1
    train, refit = (data.with_log(data.log.filter(part[users] < border)) for border in (1, 2))
    held_out = [_of_strangers(data, part[users] == number, newest) for number in (1, 2)]
    protocol = {
        "split": "user-cold",
        "share": share,
        "split_seed": seed,
        "users_too_short": int((lengths == 1).sum()),
        "users": data.n_users,
        "items": data.n_items,
        "validation_users": size,
        "test_users": size,
        "train_interactions": len(train),
        "validation_interactions": len(held_out[0]),
        "test_interactions": len(held_out[1]),
        "history_at_test": "all but the last interaction of the shopper, none of it in training data",
        "data_fingerprint": data.fingerprint,
    }
    return Split(train, refit, held_out[0], held_out[1], protocol)


@sets_synthetic_aside
def item_cold(data: Dataset, *, share: float = 0.1, least_history: int = 1, seed: int = 0) -> Split:
    """Hold out products: a random share of those that were bought is test, another one validation.

    No interaction with them is in train; they stay in the catalogue with number and text. Near-duplicates are always on
    the same side. Who bought test products is asked for all of them, with what came before the first of them as
    history; so are buyers of validation products. Histories hold train products only in validation, and train and
    validation products in test; refit adds the interactions with validation products. What shoppers bought later stays
    in train: this split asks about new products, not about the future.

    Args:
        data: any data set.
        share: of the bought products.
        least_history: shoppers with a shorter history are not asked, but counted; 0 asks all.
        seed: of the draw.

    Raises:
        DataError: the share is not between 0 and 0.5, or a part has no question.
    """
    require_interactions(data)
    _check_share(share, "item-cold")
    groups = near_duplicates(data.items)
    alike = how_many(groups)
    side = _draw(groups, data.popularity > 0, share=share, seed=seed)
    part = side[data.log["item"].to_numpy()]  # 0 train, 1 validation, 2 test
    train, refit = (data.with_log(data.log.filter(part < border)) for border in (1, 2))
    validation, validation_short = _of_new_items(data, part == 1, part < 1, least_history)
    test, test_short = _of_new_items(data, part == 2, part < 2, least_history)
    protocol = {
        "split": "item-cold",
        "share": share,
        "split_seed": seed,
        "users": data.n_users,
        "items": data.n_items,
        "items_bought": int((data.popularity > 0).sum()),
        "validation_items": int((side == 1).sum()),
        "test_items": int((side == 2).sum()),
        "near_duplicates": f"on the same side: {alike}" if has_titles(data.items) else "not checked: no titles",
        "train_interactions": len(train),
        "validation_interactions": len(validation.targets.items),
        "test_interactions": len(test.targets.items),
        "least_history": least_history,
        "validation_users_with_shorter_history": validation_short,
        "test_users_with_shorter_history": test_short,
        "history_at_test": "what came before the first held-out product; later purchases stay in train",
        "data_fingerprint": data.fingerprint,
    }
    return require_questions(Split(train, refit, validation, test, protocol), because=f"; {alike}")


def _check_share(share: float, name: str) -> None:
    if not 0 < share < 0.5:
        raise DataError(f"{name} split: share {share} must lie between 0 and 0.5: validation and test take it each")


def _of_strangers(data: Dataset, theirs: Bool, newest: Bool) -> Holdout:
    """Ask for the newest interaction of the users in the rows `theirs`, without saying who they are."""
    known, held_out = (data.with_log(data.log.filter(theirs & rows)) for rows in (~newest, newest))
    asked = questions(known, held_out)
    unknown = np.full(len(asked), -1, dtype=np.int32)
    queries = Queries(asked.queries.offsets, asked.queries.items, users=unknown)
    return Holdout(queries, asked.targets, asked.shoppers, asked.times)


def _of_new_items(data: Dataset, held_out: Bool, known: Bool, least_history: int) -> tuple[Holdout, int]:
    """Ask who bought held-out items, with the known items before the first of them as history.

    Returns:
        The questions, and how many were left out for a short history.
    """
    users = data.log["user"].to_numpy()
    rows = np.arange(len(users))
    first = np.full(data.n_users, len(users))
    np.minimum.at(first, users[held_out], rows[held_out])
    before = known & (rows < first[users])
    asked = questions(data.with_log(data.log.filter(before)), data.with_log(data.log.filter(held_out)))
    long_enough = np.flatnonzero(asked.queries.lengths >= least_history)
    return asked.take(long_enough), len(asked) - len(long_enough)


def _draw(groups: Int32, bought: Bool, *, share: float, seed: int) -> Int64:
    """Draw whole groups at random; 2 for test items, 1 for validation items, 0 for the rest, [n].

    A group with more than `share` of the bought items stays in train.
    """
    wanted = max(1, round(share * int(bought.sum())))
    sizes = np.bincount(groups[bought], minlength=int(groups.max()) + 1)
    fitting = np.flatnonzero((sizes > 0) & (sizes <= wanted))
    order = np.random.default_rng(seed).permutation(fitting)
    before = np.cumsum(sizes[order]) - sizes[order]  # bought items drawn before each group
    side = np.zeros(len(sizes), dtype=np.int64)
    side[order[before < wanted]] = 2
    side[order[(before >= wanted) & (before < 2 * wanted)]] = 1
    return np.where(bought, side[groups], 0)
