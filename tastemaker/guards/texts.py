"""Shopper texts that tell what the shopper is going to buy: profiles, wishes, attributes, ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tastemaker.data import cells
from tastemaker.data.splits.variants import in_history
from tastemaker.errors import LeakError
from tastemaker.guards.chance import beyond_chance
from tastemaker.guards.names import ItemNames, Text
from tastemaker.guards.rows import in_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.splits import Holdout, Split
    from tastemaker.guards.names import Known
    from tastemaker.types import Bool, Int32, Int64

    Test = Callable[[Text, int, Known], bool]

CONTROLS, CONTROLS_EACH = 100_000, 5
"""Random items that are looked for in the same texts: in all, and for each target."""
PURCHASES_EACH = 5
"""Newest items of each history that are looked for as if they were targets."""
WISHES = "wishes or profiles"
RECORD = 0.5
"""A text that tells so large a share of what was bought before is a record of purchases, and no declared taste."""


class _Pairs(NamedTuple):
    """Questions and items to look for in their texts, alike long."""

    rows: Int64
    items: Int32


def check_texts(split: Split) -> dict[str, Any]:
    """Refuse shopper texts that tell the shopper's target.

    Looks at wishes and profiles of the questions, and at every column of the shoppers, whatever its type, their id
    among them (IDGenRec's user ids were made from the test item: agiresearch/IDGenRec issue 1). Two things count: a
    text names an item (`ItemNames.named`), and a column has a rare word of its title; a wish may use such words.
    It is a leak where that is so for targets beyond chance, beside random items. If it is so for what the shopper
    bought before as well, as with a declared taste, it is one only for targets beyond that, or in texts that tell most
    of what was bought: these are records of purchases.
    What is known is no news: targets in the history, and words of what the shopper has in history or training data.

    Returns:
        The texts that were looked at.

    Raises:
        LeakError: a text tells targets.
    """
    names = ItemNames(split.train.items)
    looked_at: set[str] = set()
    for part_name, part, log in (("validation", split.validation, split.train), ("test", split.test, split.refit)):
        secret = ~in_history(part)
        targets = _distinct(part.targets.rows[secret], part.targets.items[secret])
        texts = _texts_of(part, split)
        looked_at.update(texts)
        others: _Pairs | None = None
        for what, text in texts.items():
            reader = _Reader(names, text, part, log)
            of_shopper = what != WISHES
            for verb, test in (("name", names.named), ("have rare words of", names.hinted))[: 1 + of_shopper]:
                told = reader.tell(test, targets)
                if not told.any():
                    continue
                others = others or _controls(split, part, targets.rows)
                if _is_leak(reader, test, targets, told, others, tests=2 * len(texts)):
                    rows, items = targets.rows[told], targets.items[told]
                    raise LeakError(
                        f"{what} {verb} the {part_name} target",
                        in_words(split, part.who()[rows], items, questions=rows),
                        f"Make {what} from what is known before the question, or leave them out",
                    )
    return {"shopper_texts_checked": sorted(looked_at)}


class _Reader:
    """Looks for items in the text of each question."""

    def __init__(self, names: ItemNames, texts: list[str], part: Holdout, log: Dataset) -> None:
        self._names = names
        self.part = part
        distinct = {text: Text.of(text) for text in set(texts)}
        self._texts = [distinct[text] for text in texts]
        self._log, self._who = log.queries(), part.who()
        self._known: dict[int, Known] = {}

    def tell(self, test: Test, pairs: _Pairs, *, as_target: bool = False) -> Bool:
        """Return for which pairs the text tells the item; `as_target` looks for it as if it had not been bought yet."""
        return np.array(
            [
                bool(self._texts[row].plain)
                and self._names.touches(self._texts[row], item)
                and test(self._texts[row], item, self._but(row, item) if as_target else self._all(row))
                for row, item in zip(pairs.rows.tolist(), pairs.items.tolist(), strict=True)
            ],
            dtype=bool,
        )

    def bought(self, row: int) -> set[int]:
        """Return what the shopper of a question has in history or training data."""
        user = int(self._who[row])
        logged = set(self._log.history(user).tolist()) if user >= 0 else set()
        return logged | set(self.part.queries.history(row).tolist())

    def _all(self, row: int) -> Known:
        if row not in self._known:
            self._known[row] = self._names.known(self.bought(row))
        return self._known[row]

    def _but(self, row: int, item: int) -> Known:
        return self._names.known(self.bought(row) - {item})


def _is_leak(reader: _Reader, test: Test, targets: _Pairs, told: Bool, others: _Pairs, *, tests: int) -> bool:
    """Say whether texts tell targets beyond chance, and beyond a taste that fits all purchases alike."""
    part = reader.part
    found, by_chance = int(told.sum()), int(reader.tell(test, others).sum())
    if not beyond_chance(found, len(told), by_chance, len(others.rows), tests=tests):
        return False
    asked = np.isin(part.queries.rows, targets.rows) & (part.queries.ages < PURCHASES_EACH)
    before = _distinct(part.queries.rows[asked], part.queries.items[asked])
    told_before = reader.tell(test, before, as_target=True)
    of_before = int(told_before.sum())
    is_taste = beyond_chance(of_before, len(told_before), by_chance, len(others.rows))
    if not is_taste or beyond_chance(found, len(told), of_before, len(told_before)):
        return True
    same_texts = np.isin(before.rows, targets.rows[told])
    return bool(same_texts.any() and told_before[same_texts].mean() > RECORD)


def _texts_of(part: Holdout, split: Split) -> dict[str, list[str]]:
    """Return what there is in words about each question's shopper: texts [B] by what they are."""
    found = {} if part.queries.texts is None else {WISHES: list(part.queries.texts)}
    who, users = part.who(), split.train.users
    if (who < 0).all():
        return found
    for column in users.frame.columns:
        texts = cells.texts(users.frame[column])
        name = "user ids" if column == "id" else f"shoppers' {column!r}"
        found[name] = [texts[user] if user >= 0 else "" for user in who]
    return found


def _distinct(rows: Int64, items: Int32) -> _Pairs:
    """Return each question and item once: what is bought often is told no oftener."""
    first = np.unique(rows * (int(items.max(initial=0)) + 1) + items, return_index=True)[1]
    return _Pairs(rows[first], items[first])


def _controls(split: Split, part: Holdout, rows: Int64) -> _Pairs:
    """Draw other items for the same questions, each as often as it is bought, but none of history and targets."""
    rng = np.random.default_rng(0)
    size = CONTROLS + CONTROLS_EACH * len(rows)
    drawn = rng.choice(rows, size)
    items = rng.choice(np.concatenate([split.refit.log["item"].to_numpy(), part.targets.items]), size)
    n = split.train.n_items
    theirs = np.concatenate([parts.rows * n + parts.items for parts in (part.queries, part.targets)])
    other = ~np.isin(drawn * n + items, theirs)
    return _Pairs(drawn[other], items[other])
