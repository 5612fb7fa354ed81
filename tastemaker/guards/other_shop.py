"""Learning from another shop (cross-data): the other shop must not be this one under another name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tastemaker.errors import LeakError

if TYPE_CHECKING:
    from tastemaker.data.entities import Entities
    from tastemaker.data.holdout import Split


def check_other_shop(source: Split, split: Split) -> None:
    """Refuse a source whose log holds held-out interactions of the shop that is asked.

    Shoppers are the same if their ids are, products if id and title are: public data sets number both from 1, and
    number 17 is then another product in each.

    Raises:
        LeakError: a held-out interaction is in the other shop's log.
    """
    same_user = _numbers_there(split.train.users, source.train.users)
    same_item = _numbers_there(split.train.items, source.train.items)
    n = source.train.n_items
    log = np.concatenate(
        [source.refit.log["user"].to_numpy().astype(np.int64) * n + source.refit.log["item"].to_numpy()]
        + [part.who()[part.targets.rows].astype(np.int64) * n + part.targets.items for part in (source.test,)]
    )
    leaked = []
    for part in (split.validation, split.test):
        users, items = part.who()[part.targets.rows], part.targets.items
        known = users >= 0
        there = np.where(known, same_user[users], -1)
        keys = np.where((there >= 0) & (same_item[items] >= 0), there.astype(np.int64) * n + same_item[items], -1)
        found = np.isin(keys, log) & (keys >= 0)
        ids = zip(split.train.users.ids(users[found]), split.train.items.ids(items[found]), strict=True)
        leaked += [f"user '{user}', item '{item}'" for user, item in ids]
    if leaked:
        raise LeakError(
            "held-out interactions are in the log of the shop that is learnt from",
            leaked,
            "Learn from data of another shop, or without --learn-from",
        )


def _numbers_there(here: Entities, there: Entities) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return for each entity its number in the other shop, -1 where it is not the same one."""
    numbers = there.numbers(here.frame["id"], unknown="mark").astype(np.int64)
    if "title" in here.frame.columns and "title" in there.frame.columns:
        mine, theirs = (one.frame["title"].cast(str).fill_null("") for one in (here, there))
        same = (mine == theirs.gather(np.maximum(numbers, 0))).to_numpy() if len(there) else np.zeros(len(here), bool)
        numbers = np.where(same, numbers, -1)
    return numbers
