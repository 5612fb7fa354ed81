"""Shopper profiles: history -> a few keywords in order of weight, each with the products that support it.

First step of PALR (arXiv 2305.07622). A language model writes the keywords; where none is set, or its answer cannot be
read, word statistics do. Only the given history enters, so a profile knows nothing that the query does not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.sparse import csr_array, diags_array

from tastemaker.characters import mark_ranges
from tastemaker.lm.tries import Tries
from tastemaker.text import parse
from tastemaker.text.manipulation import neutral_all
from tastemaker.text.prompting.fitting import newest_that_fit
from tastemaker.text.prompting.prompts import PROFILE, numbered
from tastemaker.text.render import ItemNames

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from tastemaker.data.entities import Entities
    from tastemaker.lm.base import LanguageModel, Prompt
    from tastemaker.types import Int32

_WORD = re.compile(rf"\b[^\W\d_][\w{mark_ranges()}&'-]{{2,}}(?<=[\w{mark_ranges()}])")
"""A word begins with a letter and has three characters at least, so units and numbers are none."""

RECENCY = 0.9
"""Weight of a product for each step back in the history."""
MAX_HISTORY = 20
"""Newest products that a profile looks at (PALR uses at most 20)."""
ANSWER_TOKENS = 60
SHARED, SHARED_FROM = 0.25, 20
"""A term that so large a share of a catalogue of at least so many items shows says nothing about a shopper."""


@dataclass(frozen=True, slots=True)
class Keyword:
    """One word or phrase of a profile.

    Attributes:
        word: the keyword, lower case.
        weight: its share of the profile's total weight, 0 to 1.
        support: item numbers of the history's products that show it.
    """

    word: str
    weight: float
    support: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """A shopper in words: keywords, heaviest first, and who wrote them."""

    keywords: tuple[Keyword, ...]
    source: Literal["language model", "statistics"]

    def in_words(self) -> str:
        """Return the keywords as a comma-separated line."""
        return ", ".join(keyword.word for keyword in self.keywords)


class KeywordStatistics:
    """Profiles from word statistics: words and pairs of words that the history shows more often than the catalogue.

    A term's weight is the sum over the history's products that contain it of RECENCY^age, times its inverse document
    frequency in the catalogue; terms that only one of several products shows count half.
    """

    def __init__(self, items: Entities) -> None:
        from sklearn.feature_extraction.text import CountVectorizer  # takes a second, so only when a profile is wanted

        texts = _keyword_texts(items)
        vectorizer = CountVectorizer(analyzer=_terms_of, binary=True)
        try:
            shown = csr_array(vectorizer.fit_transform(texts)).astype(np.float32)
            self._terms = vectorizer.get_feature_names_out()
        except ValueError:  # no text in the whole catalogue
            shown, self._terms = csr_array((len(items), 0), dtype=np.float32), np.empty(0, dtype=object)
        frequency = np.asarray(shown.sum(axis=0)).ravel()
        rarity = np.log((len(items) + 1) / (frequency + 0.5))
        if len(items) >= SHARED_FROM:
            rarity[frequency > SHARED * len(items)] = 0.0
        self._shown = shown
        self._weighted = csr_array(shown @ diags_array(rarity))

    def write(self, history: Int32, *, count: int = 5) -> Profile:
        """Return the `count` heaviest keywords of one history (item numbers, oldest first)."""
        items = history[-MAX_HISTORY:]
        if not len(items) or not len(self._terms):
            return Profile((), "statistics")
        distinct = np.unique(items)
        shown, weighted = self._shown[distinct], self._weighted[items]
        terms = np.unique(shown.indices)  # all that the history shows, in the order of the vocabulary
        shows = np.zeros((len(distinct), len(terms)), dtype=bool)
        shows[np.repeat(np.arange(len(distinct)), np.diff(shown.indptr)), np.searchsorted(terms, shown.indices)] = True
        ages = np.repeat(np.arange(len(items))[::-1], np.diff(weighted.indptr))
        places = np.searchsorted(terms, weighted.indices)
        weights = np.zeros(len(terms))
        np.add.at(weights, places, weighted.data * RECENCY**ages)
        weights[(shows.sum(axis=0) == 1) & (len(distinct) > 1)] /= 2
        chosen: list[int] = []
        for place in np.lexsort((terms, -weights.astype(np.float32)))[: count * 8].tolist():
            words = set(self._terms[terms[place]].split())
            if weights[place] > 0 and not any(words & set(self._terms[terms[other]].split()) for other in chosen):
                chosen.append(place)
            if len(chosen) == count:
                break
        total = float(weights[chosen].sum()) or 1.0
        return Profile(
            tuple(
                Keyword(
                    str(self._terms[terms[place]]),
                    float(weights[place]) / total,
                    tuple(
                        dict.fromkeys(item for item in items.tolist() if shows[np.searchsorted(distinct, item), place])
                    ),
                )
                for place in chosen
            ),
            "statistics",
        )


class ProfileWriter:
    """Writes profiles with a language model, and with statistics where there is none or its answer is unreadable.

    Attributes:
        unreadable: answers of the model from which no supported keyword could be read.
        tries: what became of each question to the model.
    """

    def __init__(self, items: Entities, *, lm: LanguageModel | None = None, count: int = 5) -> None:
        self._items = items
        self._names = ItemNames(items)
        self._lm = lm
        self._count = count
        self.unreadable = 0
        self.tries = Tries()

    @cached_property
    def _statistics(self) -> KeywordStatistics:
        return KeywordStatistics(self._items)

    def prepare(self) -> None:
        """Read the catalogue, which the first profile would wait for."""
        _ = self._statistics

    def write(self, histories: Sequence[Int32]) -> list[Profile]:
        """Return one profile a history."""
        return [self._profile(history) if len(history) else Profile((), "statistics") for history in histories]

    def _profile(self, history: Int32) -> Profile:
        return self._by_model(history) or self._statistics.write(history, count=self._count)

    def _by_model(self, history: Int32) -> Profile | None:
        """Return what the language model writes; None where there is none, or no supported keyword comes of it."""
        if self._lm is None:
            return None
        items = history[-MAX_HISTORY:]

        def showing(count: int) -> Prompt:
            names = [self._names[item] for item in items[len(items) - count :]]
            return PROFILE.fill(history=numbered(names), count=str(self._count))

        items = items[len(items) - newest_that_fit(len(items), showing, self._lm, room=ANSWER_TOKENS) :]
        answer = self.tries.ask(self._lm, showing(len(items)), max_tokens=ANSWER_TOKENS, stop=("\n\n",))
        if answer is None:
            return None
        found = parse.keywords(answer, len(items))[: self._count]
        self.unreadable += not found
        return _profile_of(found, items) if found else None


def _profile_of(found: list[tuple[str, tuple[int, ...]]], items: Int32) -> Profile:
    """Weigh a model's keywords by their order: the first of n gets n shares, the last one."""
    shares = np.arange(len(found), 0, -1) / (len(found) * (len(found) + 1) / 2)
    return Profile(
        tuple(
            Keyword(word, float(share), tuple(dict.fromkeys(int(items[place]) for place in support)))
            for (word, support), share in zip(found, shares, strict=True)
        ),
        "language model",
    )


def _terms_of(text: str) -> list[str]:
    """Return the words of a text and the pairs of neighbouring words; no pair reaches over a line end."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    terms = []
    for line in text.lower().split("\n"):
        words = [word for word in _WORD.findall(line) if word not in ENGLISH_STOP_WORDS]
        terms += [*words, *(f"{first} {second}" for first, second in pairwise(words))]
    return terms


def _keyword_texts(items: Entities) -> list[str]:
    """Return the words of each item: own name, brand and most specific category, a line each; never an id."""
    frame = items.frame
    columns = [column for column in ("title", "title_keywords", "brand", "categories") if column in frame.columns]
    cells = []
    for column in columns:
        values = frame[column].list.last() if isinstance(frame.schema[column], pl.List) else frame[column]
        cells.append(neutral_all(values.cast(pl.String).fill_null("").to_list()))
    return ["\n".join(row) for row in zip(*cells, strict=True)] if cells else [""] * len(items)
