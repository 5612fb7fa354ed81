"""Shopper texts that name what the shopper is going to buy: profiles, wishes, attributes, ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tastemaker.data.variants import in_history
from tastemaker.errors import LeakError
from tastemaker.guards.chance import beyond_chance
from tastemaker.guards.rows import in_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tastemaker.data.entities import Entities
    from tastemaker.data.holdout import Holdout, Split
    from tastemaker.data.queries import Queries
    from tastemaker.types import Int32, Int64

LEAST_TITLE = 12
"""Characters of a title from which on it is taken for a name, and not for a word or two that anybody may use."""
CONTROLS, CONTROLS_EACH = 100_000, 5
"""Random items that are looked for in the same texts: in all, and for each target."""


class Names:
    """How items are recognised in a text: by full title, or by id as a word of its own."""

    def __init__(self, items: Entities) -> None:
        has_title = "title" in items.frame.columns
        titles = items.frame["title"].cast(pl.String).fill_null("").to_list() if has_title else [""] * len(items)
        self._titles = [title if len(title := plain(text)) >= LEAST_TITLE else "" for text in titles]
        self._ids = [plain(id_) for id_ in items.frame["id"]]

    def are_in(self, text: str, item: int, history: Int32) -> bool:
        """Say whether a plain text names the item, other than by a title that an item of the history shares."""
        title = self._titles[item]
        if title and title in text and not any(title in self._titles[known] for known in history):
            return True
        return _has_word(text, self._ids[item])


def check_texts(split: Split) -> dict[str, Any]:
    """Refuse shopper texts that name the shopper's target: by its full title, or by its id as a word.

    Looks at wishes and profiles of the questions, and at every column of the shoppers that holds strings or lists of
    them, their id among them (IDGenRec's user ids were made from the test item: agiresearch/IDGenRec issue 1). It is a
    leak where targets are named much oftener than other items (`beyond_chance`), so a "5" in a column of ages is none.
    A target that is in the history is no secret.

    Returns:
        The texts that were looked at.

    Raises:
        LeakError: a text names targets.
    """
    names = Names(split.train.items)
    looked_at: list[str] = []
    for part_name, part in (("validation", split.validation), ("test", split.test)):
        secret = ~in_history(part)
        rows, items = part.targets.rows[secret], part.targets.items[secret]
        for what, texts in _texts_of(part, split.train.users):
            looked_at.append(what)
            named = _named(texts, part.queries, rows, items, names)
            if not len(named):
                continue
            other_rows, other_items = _controls(split, part, rows)
            by_chance = len(_named(texts, part.queries, other_rows, other_items, names))
            if beyond_chance(len(named), len(rows), by_chance, len(other_rows)):
                raise LeakError(
                    f"{what} name the {part_name} target",
                    in_words(split, part.who()[rows[named]], items[named], questions=rows[named]),
                    f"Make {what} from what is known before the question, or leave them out",
                )
    return {"shopper_texts_checked": sorted(set(looked_at))}


def plain(text: str) -> str:
    """Return a text in one case, with single spaces."""
    return " ".join(text.casefold().split())


def _texts_of(part: Holdout, users: Entities) -> Iterator[tuple[str, list[str]]]:
    """Yield what there is in words about each question's shopper: a name for it, and plain texts [B]."""
    if part.queries.texts is not None:
        yield "wishes or profiles", [plain(text) for text in part.queries.texts]
    who = part.who()
    if (who < 0).all():
        return
    for column, kind in users.frame.schema.items():
        if kind == pl.String:
            values = users.frame[column]
        elif isinstance(kind, pl.List) and kind.inner == pl.String:
            values = users.frame[column].list.join(" | ")
        else:
            continue
        texts = [plain(text) for text in values.fill_null("").to_list()]
        name = "user ids" if column == "id" else f"shoppers' {column!r}"
        yield name, [texts[user] if user >= 0 else "" for user in who]


def _named(texts: Sequence[str], queries: Queries, rows: Int64, items: Int32, names: Names) -> Int64:
    """Return the places in `rows` and `items` at which the text of the row names the item."""
    return np.array(
        [
            place
            for place, (row, item) in enumerate(zip(rows.tolist(), items.tolist(), strict=True))
            if texts[row] and names.are_in(texts[row], item, queries.history(row))
        ],
        dtype=np.int64,
    )


def _controls(split: Split, part: Holdout, rows: Int64) -> tuple[Int64, Int32]:
    """Draw other items for the same questions, each as often as it is bought, but none of history and targets."""
    rng = np.random.default_rng(0)
    size = CONTROLS + CONTROLS_EACH * len(rows)
    drawn = rng.choice(rows, size)
    items = rng.choice(np.concatenate([split.refit.log["item"].to_numpy(), part.targets.items]), size)
    n = split.train.n_items
    theirs = np.concatenate([parts.rows * n + parts.items for parts in (part.queries, part.targets)])
    other = ~np.isin(drawn * n + items, theirs)
    return drawn[other], items[other]


def _has_word(text: str, word: str) -> bool:
    """Say whether `word` is in the text with no letter or digit next to it."""
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        if not (text[start - 1 : start].isalnum() or text[end : end + 1].isalnum()):
            return True
        start = text.find(word, start + 1)
    return False
