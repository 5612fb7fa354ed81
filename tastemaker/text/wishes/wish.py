"""A wish in words, such as "under 20, for dry hair, not from Acme": filters on a catalogue, and the words that remain.

A filter names only what the catalogue has: its brands, its categories, its prices. What is not understood stays among
the words, which go to models that read wishes. `wish_rules` and `wish_lm` read wishes; `vocabulary` applies filters.

Amounts are compared with the catalogue's prices as they stand: nothing is converted. A product without a price fits no
price. Numbers are read in digits, as English and German words around them say; wishes in other languages stay words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from tastemaker.configurable import Config
from tastemaker.text.clean import clean
from tastemaker.text.prompting.prompts import WISH_LENGTH

CURRENCIES = {
    "EUR": ("€", "eur", "euro", "euros"),
    "USD": ("$", "usd", "dollar", "dollars", "bucks", "us$"),
    "GBP": ("£", "gbp", "pound", "pounds", "quid"),
    "JPY": ("¥", "jpy", "yen"),
    "CHF": ("chf", "francs", "franken"),
    "CNY": ("cny", "rmb", "yuan"),
    "INR": ("₹", "inr", "rupees"),
    "SEK": ("sek", "kronor"),
    "PLN": ("pln", "zloty"),
}
"""Code -> how it is written."""


class Filters(Config):
    """What a product must have; all of it.

    Attributes:
        price_from: least price.
        price_to: largest price.
        currency: code of the amounts, e.g. "EUR"; None where the wish does not say.
        brands: one of these.
        not_brands: none of these.
        categories: one of these, at any level.
        not_categories: none of these, at any level.
    """

    price_from: float | None = Field(default=None, ge=0)
    price_to: float | None = Field(default=None, ge=0)
    currency: str | None = None
    brands: tuple[str, ...] = ()
    not_brands: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    not_categories: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if self.price_from is not None and self.price_to is not None and self.price_from > self.price_to:
            raise ValueError(f"no price lies from {self.price_from:g} to {self.price_to:g}")
        for name, wanted, unwanted in (
            ("brand", self.brands, self.not_brands),
            ("category", self.categories, self.not_categories),
        ):
            if both := set(wanted) & set(unwanted):
                raise ValueError(f"{name} {min(both)!r} is both wanted and unwanted")
        return self

    @property
    def empty(self) -> bool:
        """Whether every product fits."""
        return not self.in_words()

    def in_words(self) -> str:
        """Return the filters as a line, "" where there are none."""
        unit = f" {self.currency}" if self.currency else ""
        parts = []
        if self.price_from is not None and self.price_to is not None:
            parts.append(f"price {self.price_from:g} to {self.price_to:g}{unit}")
        elif self.price_to is not None:
            parts.append(f"price up to {self.price_to:g}{unit}")
        elif self.price_from is not None:
            parts.append(f"price from {self.price_from:g}{unit}")
        for word, names in (
            ("brand", self.brands),
            ("not brand", self.not_brands),
            ("category", self.categories),
            ("not category", self.not_categories),
        ):
            if names:
                parts.append(f"{word} {' or '.join(names)}")
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class Wish:
    """A wish as it was understood.

    Attributes:
        said: the shopper's words, cleaned.
        filters: what a product must have.
        words: what remains, for models that read wishes; "" for nothing.
        reader: who read it.
        notes: what was not taken up, and why.
    """

    said: str
    filters: Filters
    words: str
    reader: Literal["rules", "language model"]
    notes: tuple[str, ...] = ()

    def in_words(self) -> str:
        """Return how the wish was understood, in one line."""
        parts = [self.filters.in_words(), f"words: {self.words}" if self.words else ""]
        return "; ".join(part for part in parts if part) or "nothing"

    def to_dict(self) -> dict[str, Any]:
        """Return the wish as plain values for JSON; filters that are not set are left out."""
        kept = self.filters.model_dump(mode="json", exclude_defaults=True)
        return {
            "said": self.said,
            "understood": self.in_words(),
            "filters": kept,
            "words": self.words,
            "reader": self.reader,
            "notes": list(self.notes),
        }


def said_words(text: str) -> str:
    """Return a shopper's words as they are read: cleaned, and cut."""
    return clean(text, max_length=WISH_LENGTH)


def currency_of(word: str) -> str | None:
    """Return the code of a currency as it is written in a wish."""
    wanted = word.strip().lower()
    return next((code for code, words in CURRENCIES.items() if wanted in words), None)
