"""Learning from another shop (cross-data): the other shop must not be this one under another name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from tastemaker.data.join import OWN_ID
from tastemaker.errors import LeakError

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.data.splits import Holdout, Split


def check_other_shop(source: Split, split: Split) -> None:
    """Refuse a source whose log holds held-out interactions of the shop that is asked.

    Shoppers are the same if their ids are, products if id and title are: public data sets number both from 1, and
    number 17 is then another product in each. Of joined shops each is looked at under its own ids.

    Raises:
        LeakError: a held-out interaction is in the other shop's log.
    """
    titled = all("title" in one.train.items.frame.columns for one in (source, split))
    known = (_pairs(source.refit), _targets(source.test))
    there = pl.concat([_named(source.train, *pairs, titled=titled) for pairs in known])
    leaked = []
    for part in (split.validation, split.test):
        held_out = _named(split.train, *_targets(part), titled=titled)
        found = held_out.join(there, on=held_out.columns, how="semi")
        leaked += [f"user '{user}', item '{item}'" for user, item, *_ in found.rows()]
    if leaked:
        raise LeakError(
            "held-out interactions are in the log of the shop that is learnt from",
            leaked,
            "Learn from data of another shop, or without --learn-from",
        )


def _pairs(data: Dataset) -> tuple[pl.Series, pl.Series]:
    return data.log["user"], data.log["item"]


def _targets(part: Holdout) -> tuple[pl.Series, pl.Series]:
    """Return user and item numbers of the targets whose shopper is known."""
    users = part.who()[part.targets.rows]
    return pl.Series(users[users >= 0]), pl.Series(part.targets.items[users >= 0])


def _named(data: Dataset, users: pl.Series, items: pl.Series, *, titled: bool) -> pl.DataFrame:
    """Return who bought what under the shop's own ids, with the title where both shops have titles."""
    columns = [_own_ids(data.users).gather(users).alias("user"), _own_ids(data.items).gather(items).alias("item")]
    if titled:
        columns.append(data.items.frame["title"].cast(pl.String).fill_null("").gather(items).alias("title"))
    return pl.DataFrame(columns)


def _own_ids(entities: Entities) -> pl.Series:
    return entities.frame[OWN_ID if OWN_ID in entities.frame.columns else "id"].cast(pl.String)
