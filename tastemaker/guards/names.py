"""How items are recognised in a text: by id, by title, or by most words of the title."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tastemaker.data import cells

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tastemaker.data.entities import Entities
    from tastemaker.types import Int32

LEAST_TITLE = 12
"""Characters of a title from which on it is taken for a name anywhere in a text, and not for a word or two."""
MOST, LEAST_WORDS = 2 / 3, 2
"""Share of a title's words that name it in any order, and how many words that must be."""
RARE, RARE_TITLES = 0.01, 10
"""A word of at most so large a share of the titles, or so many titles, tells items apart."""
DESCRIBING = ("title", "title_keywords", "brand", "categories")
"""Columns whose words are no news about an item if an item of the history has them."""
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Text:
    """A text to look for names in.

    Attributes:
        plain: in one case, with single spaces.
        words: all words.
        parts: what stands between the bars of a list; the whole text where it has none.
    """

    plain: str
    words: frozenset[str]
    parts: frozenset[str]

    @classmethod
    def of(cls, text: str) -> Text:
        """Take a text apart."""
        simple = plain(text)
        return cls(simple, words_of(simple), frozenset(simple.split(cells.BETWEEN)))


@dataclass(frozen=True, slots=True)
class Known:
    """What is no news.

    Attributes:
        words: every word of the known items' titles, keywords, brands and categories.
        text: these, a line each.
    """

    words: frozenset[str]
    text: str


class ItemNames:
    """Titles and ids of a catalogue, to be found in texts."""

    def __init__(self, items: Entities) -> None:
        columns = [cells.texts(items.frame[name]) for name in DESCRIBING if name in items.frame.columns]
        self._described = [plain("\n".join(cell)) for cell in zip(*columns, strict=True)] or [""] * len(items)
        has_title = "title" in items.frame.columns
        self.titles = [plain(title) for title in cells.texts(items.frame["title"])] if has_title else [""] * len(items)
        self.ids = [plain(id_) for id_ in items.frame["id"]]
        self._id_is_word = [_WORD.fullmatch(id_) is not None for id_ in self.ids]
        self._words = [words_of(title) for title in self.titles]
        self._known_words = [words_of(text) for text in self._described]
        counts = Counter(word for words in self._words for word in words)
        rare = {word for word, count in counts.items() if count <= max(RARE_TITLES, RARE * len(items))}
        self._rare = [words & rare for words in self._words]

    def known(self, items: Int32 | Iterable[int]) -> Known:
        """Return what is no news to someone who knows some items."""
        numbers = list(items)
        words = frozenset[str]().union(*(self._known_words[item] for item in numbers))
        return Known(words, "\n".join(self._described[item] for item in numbers))

    def touches(self, text: Text, item: int) -> bool:
        """Say quickly whether a text may name or hint at an item; only then what is known matters."""
        title = self.titles[item]
        return (
            not self._words[item].isdisjoint(text.words)
            or self._has_id(text, item)
            or bool(title and title in text.plain)
        )

    def named(self, text: Text, item: int, known: Known) -> bool:
        """Say whether a text names an item: by id, or by title in one of three ways that the known items do not share.

        The title is a part of its own whatever its length, or has 12 characters and is anywhere in the text, or two
        thirds of those of its words that are news are in the text, at least 2.
        """
        if self._has_id(text, item):
            return True
        title = self.titles[item]
        whole = bool(title) and (title in text.parts or (len(title) >= LEAST_TITLE and title in text.plain))
        if whole and title not in known.text:
            return True
        news = self._words[item] - known.words
        found = news & text.words
        return len(found) >= max(LEAST_WORDS, MOST * len(news))

    def hinted(self, text: Text, item: int, known: Known) -> bool:
        """Say whether a text has a rare word of an item's title that is news."""
        return not (self._rare[item] & text.words) <= known.words

    def _has_id(self, text: Text, item: int) -> bool:
        id_ = self.ids[item]
        return id_ in text.words if self._id_is_word[item] else has_word(text.plain, id_)


def plain(text: str) -> str:
    """Return a text in one case, with single spaces."""
    return " ".join(text.casefold().split())


def words_of(text: str) -> frozenset[str]:
    """Return the words of a plain text."""
    return frozenset(_WORD.findall(text))


def has_word(text: str, word: str) -> bool:
    """Say whether `word` is in the text with no letter or digit next to it."""
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        if not (text[start - 1 : start].isalnum() or text[end : end + 1].isalnum()):
            return True
        start = text.find(word, start + 1)
    return False
