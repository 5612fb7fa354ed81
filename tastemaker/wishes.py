"""A shopper's wish read against a pipeline's catalogue: filters that products must meet, and words for the stages."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker.errors import ConfigError
from tastemaker.text.wishes.vocabulary import Vocabulary, words_of
from tastemaker.text.wishes.wish import Filters
from tastemaker.text.wishes.wish_lm import LanguageModelReader
from tastemaker.text.wishes.wish_rules import RuleReader

if TYPE_CHECKING:
    from tastemaker.lm.base import LanguageModel
    from tastemaker.pipeline import Pipeline
    from tastemaker.text.wishes.wish import Wish
    from tastemaker.types import Bool, Int32

KEPT = 256
"""Sets of filters whose products are kept."""


@dataclass(frozen=True, slots=True)
class Understood:
    """A wish as it was understood, and what it means for a catalogue.

    Attributes:
        wish: filters and remaining words.
        allowed: products that fit the filters, [n]; None where all do.
        fitting: how many fit.
        remarks: what a shopper should know about how the wish was read.
    """

    wish: Wish
    allowed: Bool | None
    fitting: int
    remarks: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the wish as plain values for JSON."""
        return {**self.wish.to_dict(), "products_that_fit": self.fitting}


HEEDED = 0.5
"""Share of a score, see `Recommender.wish_share`, from which a wish in words decides what is listed."""


class WishReader:
    """Reads wishes for one pipeline.

    Args:
        pipeline: whose catalogue wishes are about.
        lm: reads them, checked by rules; None for rules alone.
    """

    def __init__(self, pipeline: Pipeline, *, lm: LanguageModel | None = None) -> None:
        self.vocabulary = Vocabulary(pipeline.items)
        self._share, self._found = pipeline.wish_share(), pipeline.stages[0].recommender.wish_share()
        self._keep = pipeline.stages[0].keep
        self._by_model = None if lm is None else LanguageModelReader(pipeline.items, lm, vocabulary=self.vocabulary)
        self._by_rules = RuleReader(pipeline.items, vocabulary=self.vocabulary)
        self._kept: OrderedDict[Filters, Bool] = OrderedDict()
        self._lock = Lock()

    def prepare(self) -> None:
        """Read the catalogue, which the first wish and the first filters would wait for."""
        self._by_rules.read("a")
        self.strange("a")
        self.vocabulary.allowed(Filters(price_from=0, brands=("a",), categories=("a",)))

    def read(self, text: str) -> Understood:
        """Read a wish."""
        remarks = []
        if self._by_model is None:
            wish = self._by_rules.read(text)
        else:
            self._by_model.counts.clear()
            wish = self._by_model.read(text)
            remarks = [
                f"the language model's reading of the wish: {reason}" + (f" ({count})" if count > 1 else "")
                for reason, count in (+self._by_model.counts).items()
                if reason != "read"
            ]
        n = len(self.vocabulary.items)
        allowed = None if wish.filters.empty else self.allowed(wish.filters)
        fitting = n if allowed is None else int(allowed.sum())
        shown = "" if allowed is None else f" ({fitting:,} of {n:,} products fit)"
        remarks.append(f"the wish was understood as: {wish.in_words()}{shown}")
        remarks += [f"wish: {line}" for line in wish.notes]
        if (strange := self.strange(wish.words)) is not None:
            remarks.append(strange)
        if wish.words and not self._share:
            remarks.append("no stage of this model reads a wish, so its words change nothing; try a text_knn stage")
        elif wish.words and self._share < HEEDED:
            words = f"count for {self._share:.0%} beside what was bought; a text_knn stage alone goes by them"
            remarks.append(f"wish: its words {words}")
        elif wish.words and self._found < HEEDED:
            words = f"order the {self._keep} candidates that the first stage finds without them"
            remarks.append(f"wish: its words {words}; a text_knn stage in front finds products by them")
        return Understood(wish, allowed, fitting, tuple(remarks))

    def strange(self, words: str, *, more: frozenset[str] = frozenset()) -> str | None:
        """Say that no word of a wish stands in the catalogue; None where one does, or there are none.

        Args:
            words: that remain of the wish.
            more: words of products beside the catalogue, see `Vocabulary.words`.
        """
        asked = words_of(words)
        if not asked or asked & self.vocabulary.words or asked & more:
            return None
        return f"wish: none of these words is in the catalogue: {words}"

    def allowed(self, filters: Filters) -> Bool:
        """Return the products that fit some filters, [n]; they are kept for the next time."""
        with self._lock:
            if filters in self._kept:
                self._kept.move_to_end(filters)
                return self._kept[filters]
        found = self.vocabulary.allowed(filters)
        found.flags.writeable = False
        with self._lock:
            self._kept[filters] = found
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found


def why_short(pipeline: Pipeline, history: Int32, allowed: Bool, listed: int, k: int, *, seen: bool) -> str | None:
    """Say why not all products that fit a wish are listed, where there is room; None where all are, or `k`.

    Args:
        pipeline: that made the list.
        history: item numbers of who asks.
        allowed: products that fit, [n].
        listed: how many are listed.
        k: length of the list.
        seen: whether products of the history may be listed.
    """
    fitting = int(allowed.sum())
    had = 0 if seen else int(allowed[np.unique(history)].sum())
    silent = fitting - had - listed
    if not fitting:
        return "no product fits the wish; ask for less"
    if fitting == had:
        return f"the shopper has all products that fit the wish ({fitting:,}); seen = true (--seen) lists them"
    if listed >= k or not silent:
        return None
    first, fallback = pipeline.stages[0].recommender, pipeline.fallback
    cures = [] if first.ranks_cold_items else ["put a stage first that ranks products by their texts (text_knn)"]
    if fallback is None:
        cures.append('set fallback = "popular"')
    facts = f"{fitting:,} products fit the wish" + (f", {had:,} of which the shopper has" if had else "")
    who = f"{first.name} has" if fallback is None else f"{first.name} and the fallback {fallback.name} have"
    cure = f": {' or '.join(cures)}" if cures else ""
    return f"{facts}, and {who} no opinion on {silent:,} of them{cure}"


def language_model_of(pipeline: Pipeline, wanted_by: str) -> LanguageModel:
    """Return the language model of the first stage that has one, for an option that needs it.

    Raises:
        ConfigError: no stage has one.
    """
    for stage in pipeline.stages:
        if stage.recommender.lm is not None:
            return stage.recommender.lm
    raise ConfigError(f"{wanted_by}: no stage of this model has a language model; fit one with an [lm] table")
