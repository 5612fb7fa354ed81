"""What a wish can name of a catalogue: brands, categories and prices, and which products fit a wish's filters."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from tastemaker.characters import mark_ranges
from tastemaker.pace import eased
from tastemaker.text.clean import clean_all
from tastemaker.text.prompting.prompts import WISH_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tastemaker.data.entities import Entities
    from tastemaker.text.wishes.wish import Filters
    from tastemaker.types import Bool

_WORDS = re.compile(rf"[\w{mark_ranges()}]+")
_BETWEEN = re.compile(rf"[^\w{mark_ranges()}]|_")
LEAST_NAME = 2
"""Characters of a brand or a category that can be found in a wish."""


@dataclass(frozen=True, slots=True)
class Mention:
    """A brand or a category that a wish names.

    Attributes:
        start, end: where, in characters.
        kind: which it is.
        name: as the catalogue has it.
    """

    start: int
    end: int
    kind: Literal["brand", "category"]
    name: str


@dataclass(frozen=True)
class Vocabulary:
    """What wishes can name of a catalogue, and which products fit.

    Attributes:
        items: the catalogue; columns brand, categories, price and currency are used where it has them.
    """

    items: Entities
    _distinct: dict[str, bool] = field(default_factory=dict)

    @cached_property
    def brands(self) -> dict[str, str]:
        """Brand in lower case -> the commonest way that the catalogue writes it, the commonest first."""
        return _spellings(self._brands)

    @cached_property
    def categories(self) -> dict[str, str]:
        """Category in lower case -> the commonest way that the catalogue writes it, the commonest first."""
        return _spellings(name for row in self._categories for name in row)

    @cached_property
    def prices(self) -> pl.Series:
        """Price of each product, null where unknown, below zero or no number."""
        if "price" not in self.items.frame.columns:
            return pl.Series("price", [None] * len(self.items), dtype=pl.Float64)
        prices = self.items.frame["price"].cast(pl.Float64, strict=False)
        return prices.to_frame().select(pl.when(pl.col("price").is_finite() & (pl.col("price") >= 0)).then("price"))[
            "price"
        ]

    def mentions(self, text: str) -> list[Mention]:
        """Return the brands and categories that a text names, in its order; of two that overlap the longer one.

        A brand goes before a category of the same name. The plural of a category is found too, and the singular.
        """
        lowered, found = text.lower(), []
        if len(lowered) != len(text):  # lower case of a few letters is longer, and places would not fit
            lowered = "".join(letter.lower() if len(letter.lower()) == 1 else letter for letter in text)
        kinds: tuple[tuple[Literal["brand", "category"], dict[str, str]], ...] = (
            ("brand", self._brand_forms),
            ("category", self._category_forms),
        )
        borders = [0, *(match.end() for match in _BETWEEN.finditer(lowered))]
        for start in borders:
            for kind, forms in kinds:
                for end in _ends(lowered, start, self._longest):
                    if lowered[start:end] in forms:
                        found.append(Mention(start, end, kind, forms[lowered[start:end]]))
                        break
        kept: list[Mention] = []
        for one in sorted(found, key=lambda mention: (mention.start - mention.end, mention.kind, mention.start)):
            if all(one.end <= other.start or other.end <= one.start for other in kept):
                kept.append(one)
        return sorted(kept, key=lambda mention: mention.start)

    @cached_property
    def words(self) -> frozenset[str]:
        """Every word of the products' titles, brands, categories and descriptions, see `words_of`."""
        columns = [self._brands, *(_strings(self.items.frame, name) for name in ("title", "description"))]
        texts = [text for column in columns for text in column if text]
        texts += [name for row in self._categories for name in row]
        return frozenset(word for text in eased(set(texts)) for word in words_of(text))

    def is_distinct(self, brand: str) -> bool:
        """Say whether a brand is no ordinary word: no product of another brand has it in its title."""
        if brand not in self._distinct:
            pattern = re.compile(rf"\b{re.escape(brand.lower())}\b")
            own = brand.lower()
            self._distinct[brand] = (
                not any(
                    pattern.search(title)
                    for title, other in zip(self._titles, self._brands, strict=True)
                    if other.lower() != own
                )
                and own not in self.categories
            )
        return self._distinct[brand]

    def allowed(self, filters: Filters) -> Bool:
        """Say which products fit, [n]."""
        fits = np.ones(len(self.items), dtype=bool)
        if filters.price_from is not None or filters.price_to is not None:
            low = -np.inf if filters.price_from is None else filters.price_from
            high = np.inf if filters.price_to is None else filters.price_to
            prices = self.prices.fill_null(np.nan).to_numpy()
            fits &= (prices >= low - 1e-6) & (prices <= high + 1e-6)
            if filters.currency and "currency" in self.items.frame.columns:
                fits &= (
                    (self.items.frame["currency"].cast(pl.String).str.to_uppercase() == filters.currency)
                    .fill_null(value=False)
                    .to_numpy()
                )
        brands = np.array([brand.lower() for brand in self._brands], dtype=object)
        for names, wanted in ((filters.brands, True), (filters.not_brands, False)):
            if names:
                fits &= np.isin(brands, [name.lower() for name in names]) == wanted
        for names, wanted in ((filters.categories, True), (filters.not_categories, False)):
            if names:
                asked = {name.lower() for name in names}
                fits &= np.array([any(name.lower() in asked for name in row) for row in self._categories]) == wanted
        return fits

    @property
    def currencies(self) -> set[str]:
        """Codes of the currencies that the catalogue names, none where it does not say."""
        if "currency" not in self.items.frame.columns:
            return set()
        return set(self.items.frame["currency"].cast(pl.String).drop_nulls().str.to_uppercase().to_list())

    @cached_property
    def _brands(self) -> list[str]:
        return clean_all(_strings(self.items.frame, "brand"), max_length=WISH_LENGTH)

    @cached_property
    def _titles(self) -> list[str]:
        return [(title or "").lower() for title in _strings(self.items.frame, "title")]

    @cached_property
    def _categories(self) -> list[list[str]]:
        if "categories" not in self.items.frame.columns:
            return [[]] * len(self.items)
        column = self.items.frame["categories"]
        if not isinstance(column.dtype, pl.List):
            return [[name] if name else [] for name in clean_all(_strings(self.items.frame, "categories"))]
        rows = column.cast(pl.List(pl.String)).to_list()
        return [[name for name in clean_all(row or (), max_length=WISH_LENGTH) if name] for row in rows]

    @cached_property
    def _brand_forms(self) -> dict[str, str]:
        return {name: spelt for name, spelt in self.brands.items() if len(name) >= LEAST_NAME}

    @cached_property
    def _category_forms(self) -> dict[str, str]:
        own = {name: spelt for name, spelt in self.categories.items() if len(name) >= LEAST_NAME}
        other = {(name[:-1] if name.endswith("s") else f"{name}s"): spelt for name, spelt in own.items()}
        return {**other, **own}

    @cached_property
    def _longest(self) -> int:
        return max(map(len, (*self._brand_forms, *self._category_forms)), default=0)


def words_of(text: str) -> set[str]:
    """Return the words of a text in lower case, without accents and the plural's s."""
    parts = unicodedata.normalize("NFKD", text)
    plain = "".join(letter for letter in parts if not unicodedata.combining(letter)).casefold()
    return {word.removesuffix("s") or word for word in _WORDS.findall(plain)}


def _ends(text: str, start: int, longest: int) -> list[int]:
    """Return the word borders after `start` up to `longest` characters on, the farthest first."""
    limit = min(len(text), start + longest)
    ends = [end for end in range(start + 1, limit + 1) if end == len(text) or _BETWEEN.match(text[end])]
    return ends[::-1]


def _spellings(names: Iterable[str]) -> dict[str, str]:
    counts: Counter[str] = Counter(name for name in names if name)
    found: dict[str, str] = {}
    for name, _ in counts.most_common():
        found.setdefault(name.lower(), name)
    return found


def _strings(frame: pl.DataFrame, column: str) -> Sequence[str | None]:
    if column not in frame.columns:
        return [None] * frame.height
    values: list[str | None] = frame[column].cast(pl.String, strict=False).to_list()
    return values
