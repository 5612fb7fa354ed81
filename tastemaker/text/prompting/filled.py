"""Templates filled in for a real shopper, so that one can see what a language model would read.

Everything comes from the shop's data and is cleaned and quoted as in use. Candidates are what was most often bought by
those who bought the newest products, so that no model has to be fitted; an answer is the newest purchase, which then is
left out of the history.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tastemaker.errors import ConfigError, DataError
from tastemaker.text.profile import ProfileWriter
from tastemaker.text.prompting.prompt_list import places_of
from tastemaker.text.prompting.prompts import LETTERS, lettered, quoted, shopper_places
from tastemaker.text.render import item_names, item_texts

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.lm.base import Prompt
    from tastemaker.text.prompting.prompts import Template
    from tastemaker.types import Int32

HISTORY, CANDIDATES, LISTED, KEYWORDS = 20, 8, 5, 5
SHOWN = 20
"""Brands and categories of the catalogue."""


class Filler:
    """Fills templates in with the data of one shop."""

    def __init__(self, data: Dataset) -> None:
        self._data = data
        self._names = item_names(data.items)
        self._histories = data.queries()

    def shopper(self, user_id: str | None) -> int:
        """Return a shopper's number; without an id that of the longest history.

        Raises:
            DataError: no such shopper.
        """
        if user_id is None:
            return int(np.argmax(self._histories.lengths))
        return int(self._data.users.numbers([user_id])[0])

    def fill(self, template: Template, shopper: int, *, wish: str = "") -> Prompt:
        """Return the prompt for a shopper.

        Raises:
            DataError: the shopper has not bought enough for it.
            ConfigError: a place of the template is not known here.
        """
        wanted = places_of(template)
        bought = self._histories.history(shopper)
        holds_back = "answer" in wanted
        if len(bought) < 1 + holds_back:
            raise DataError(
                f"user {self._data.users.ids([shopper])[0]!r} has {len(bought)} purchases; the prompt needs one"
                + (" and the answer after it" if holds_back else "")
            )
        history, newest = (bought[:-1], int(bought[-1])) if holds_back else (bought, None)
        history = history[-HISTORY:]
        candidates = self._candidates(history)
        if newest is not None:
            candidates = np.append(candidates[candidates != newest][: CANDIDATES - 1], np.int32(newest)).astype(
                np.int32
            )
        names = [self._names[item] for item in history]
        places = {
            **shopper_places(names, self._profile(history), wish),
            **self._of_items(candidates, lettered_answer="candidates" in wanted),
        }
        places |= {"wish": quoted(wish)} if "brands" in wanted else {}
        places |= {"brands": self._values("brand"), "categories": self._values("categories")}
        missing = [place for place in wanted if place not in places]
        if missing:
            raise ConfigError(f"prompts: {template.name} has places that no shopper fills: {', '.join(missing)}")
        return template.fill(**places)

    def _of_items(self, candidates: Int32, *, lettered_answer: bool) -> dict[str, str]:
        """Return what templates say of the candidates, and of the first of them as the product."""
        names = [self._names[item] for item in candidates]
        first = int(candidates[0])
        facts = [f"- {line.strip()}" for line in self._texts[first].split(";") if line.strip()]
        return {
            "candidates": lettered(names),
            "product": quoted(names[0]),
            "title": quoted(names[0]),
            "text": quoted(self._texts[first], max_length=300),
            "shoppers": self._shoppers(),
            "facts": "\n".join(facts),
            "attribute": "brand",
            "usual": "4",
            "count": str(min(LISTED, len(names))),
            "answer": LETTERS[len(names) - 1] if lettered_answer else quoted(names[-1]),
        }

    def _candidates(self, history: Int32) -> Int32:
        """Return what the buyers of the newest products bought most, less the history; popular products to fill up."""
        log, popularity = self._data.log, self._data.popularity
        users, items = log["user"].to_numpy(), log["item"].to_numpy()
        alike = np.isin(users, users[np.isin(items, history[-3:])])
        counts = np.bincount(items[alike], minlength=self._data.n_items) + popularity / (1 + popularity.sum())
        counts[history] = -1
        return np.argsort(-counts, kind="stable")[: min(CANDIDATES, max(1, self._data.n_items - len(history)))].astype(
            np.int32
        )

    def _shoppers(self) -> str:
        """Return the newest purchases of a few shoppers."""
        some = np.flatnonzero(self._histories.lengths > 0)[:LISTED]
        bought = [self._histories.history(int(user))[-LISTED:] for user in some]
        return "\n".join(
            f"{letter}. {', '.join(quoted(self._names[item]) for item in history)}"
            for letter, history in zip(LETTERS, bought, strict=False)
        )

    def _profile(self, history: Int32) -> str:
        [profile] = self._profiles.write([history])
        return profile.in_words()

    def _values(self, column: str) -> str:
        frame = self._data.items.frame
        if column not in frame.columns:
            return "(none)"
        values = frame[column].explode() if column == "categories" else frame[column]
        counts = values.drop_nulls().value_counts(sort=True)
        return ", ".join(quoted(str(value)) for value in counts[counts.columns[0]].to_list()[:SHOWN]) or "(none)"

    @cached_property
    def _profiles(self) -> ProfileWriter:
        return ProfileWriter(self._data.items, count=KEYWORDS)

    @cached_property
    def _texts(self) -> list[str]:
        return item_texts(self._data.items)
