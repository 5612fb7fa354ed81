"""Finds products by the words that stand in their titles, brands and categories."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tastemaker.data.entities import Entities
    from tastemaker.serve.engine.shelf import Shelf
    from tastemaker.types import Int32

_WORDS = re.compile(r"\w+")


class Finder:
    """Finds products of one model's catalogue, and of the shelf that goes on from it; it does not change.

    A product is found if every word of the question stands in it, be it as the start or the middle of a word. Titles
    that begin with the question come first, then by how many of its words begin a word of the title, then what is
    popular, then the lower number.

    Args:
        items: the model's catalogue.
        popular: its products, best first; they may be fewer.
    """

    def __init__(self, items: Entities, popular: Int32) -> None:
        frame = items.frame
        columns = [frame[name].to_list() if name in frame.columns else [None] * len(frame) for name in _READ]
        self._texts = [_searchable(*row) for row in zip(*columns, strict=True)]
        self._popular = popular.tolist()
        self._places = {number: place for place, number in enumerate(self._popular)}

    def find(self, shelf: Shelf, question: str, n: int) -> tuple[list[int], int]:
        """Return the numbers of the products found, best first and at most `n`, and how many there are.

        An empty question finds everything, the popular first.
        """
        words = _WORDS.findall(_plain(question))
        if not words:
            first = [*self._popular, *(number for number in range(len(shelf)) if number not in self._places)]
            listed = [number for number in first if number not in shelf.off]
            return listed[:n], len(listed)
        changed = shelf.changed
        found = [
            (self._merit(words, text, number), number)
            for number, text in self._readable(changed)
            if number not in shelf.off and all(word in text for word in words)
        ]
        found.sort()
        return [number for _, number in found[:n]], len(found)

    def _readable(self, changed: Mapping[int, Mapping[str, Any]]) -> Iterable[tuple[int, str]]:
        if not changed:
            return enumerate(self._texts)
        texts = dict(enumerate(self._texts))
        texts |= {number: _searchable(*(row.get(name) for name in _READ)) for number, row in changed.items()}
        return texts.items()

    def _merit(self, words: list[str], text: str, number: int) -> tuple[bool, int, int]:
        title = " " + text.partition("\n")[0]
        begun = sum(f" {word}" in title for word in words)
        place = self._places.get(number, len(self._places) + number)
        return not title.startswith(f" {' '.join(words)}"), -begun, place


_READ = ("title", "brand", "categories")


def _searchable(title: object, brand: object, categories: object) -> str:
    listed = categories if isinstance(categories, list | tuple) else [categories]
    rest = " ".join(str(part) for part in (brand, *listed) if part is not None)
    return f"{_spaced(title)}\n{_spaced(rest)}"


def _spaced(text: object) -> str:
    return " ".join(_WORDS.findall(_plain("" if text is None else str(text))))


def _plain(text: str) -> str:
    """Return a text without case, accents and other forms of the same letters."""
    parts = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in parts if not unicodedata.combining(letter)).casefold()
