"""What a rule document may say: which products, when, and one action a rule. Each class is a table of the document."""

from __future__ import annotations

import re
import unicodedata
from datetime import date, datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from tastemaker.configurable import Config

MOST_VALUES = 10_000
"""Values in one list of a rule."""
DEEPEST = 500
"""The last place that a rule may speak of."""
YEARS = range(1970, 2201)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def word(value: object) -> str:
    """Return the one text by which values are compared: case and a trailing ".0" do not count, true is "true".

    Raises:
        ValueError: the value is neither text, number nor truth.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str) and value.strip() and writable(value):
        return unicodedata.normalize("NFC", value).strip().casefold()
    raise ValueError("must be text that is not empty, a number, true or false")


def writable(text: str) -> bool:
    """Whether a text is valid Unicode without control characters, so that notes and answers can hold it."""
    return text.isprintable() or not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text)


def stock_word(value: object) -> str:
    """Return `word`, in which "In stock", "in-stock" and "in_stock" are one."""
    return re.sub(r"[\s-]+", "_", word(value))


def _id(value: object) -> str:
    if not isinstance(value, str) or not value or not writable(value):
        raise ValueError('must be an id in quotes, such as "i17"')
    return value


def _listed(value: object) -> object:
    if isinstance(value, list | tuple):
        return value
    raise ValueError('must be a list, such as ["first", "second"]')


def _moment(value: object) -> date:
    found = value
    try:
        if isinstance(value, str):
            found = date.fromisoformat(value) if _DAY.fullmatch(value) else datetime.fromisoformat(value)
    except ValueError:
        pass
    if isinstance(found, date) and found.year in YEARS:  # a datetime is a date as well
        return found
    raise ValueError("must be a day such as 2026-11-27, or a time such as 2026-11-27T18:00")


def _name(value: object) -> object:
    if isinstance(value, str) and not writable(value):
        raise ValueError("must be a name without control characters")
    return value


Word: TypeAlias = Annotated[str, BeforeValidator(word)]
Words: TypeAlias = Annotated[tuple[Word, ...], BeforeValidator(_listed), Field(min_length=1, max_length=MOST_VALUES)]
StockWords: TypeAlias = Annotated[
    tuple[Annotated[str, BeforeValidator(stock_word)], ...],
    BeforeValidator(_listed),
    Field(min_length=1, max_length=MOST_VALUES),
]
Ids: TypeAlias = Annotated[
    tuple[Annotated[str, BeforeValidator(_id)], ...],
    BeforeValidator(_listed),
    Field(min_length=1, max_length=MOST_VALUES),
]
Moment: TypeAlias = Annotated[date, PlainValidator(_moment)]
Name: TypeAlias = Annotated[str, BeforeValidator(_name), Field(min_length=1, max_length=200)]
Unknown: TypeAlias = Literal["hide", "show"]


class Condition(Config):
    """What an attribute has to be: one of `values` (a list in place of the table will do), or from `min` to `max`."""

    values: Words | None = None
    min: float | None = None
    max: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, given: object) -> object:
        if isinstance(given, list | tuple):
            return {"values": given}
        if not isinstance(given, dict):
            raise ValueError("must be a list of values, or a table with min, max or both")
        return given

    @model_validator(mode="after")
    def _one_of_both(self) -> Condition:
        if (self.values is None) == (self.min is None and self.max is None):
            raise ValueError("needs either a list of values, or min, max or both")
        _check_range(self.min, self.max)
        return self


class Price(Config):
    """A price from `min` to `max`, both included, in one currency if given."""

    min: float | None = Field(default=None, ge=0)
    max: float | None = Field(default=None, ge=0)
    currency: Word | None = None

    @model_validator(mode="after")
    def _some(self) -> Price:
        if self.min is None and self.max is None and self.currency is None:
            raise ValueError("needs min, max, currency or several of them")
        _check_range(self.min, self.max)
        return self


class Matching(Config):
    """Which products: those that fit every key given; in a list, one fitting value is enough.

    Attributes:
        items: ids.
        brands: brands; upper and lower case are alike, here and below.
        categories: any level of a product's categories.
        groups: `group_id`, which variants of one product share.
        availability: e.g. "in_stock", "out_of_stock", "preorder", "backorder".
        price: a range.
        attributes: any other column of the catalogue, e.g. `seller = ["Smith"]` or `calories = { max = 100 }`.
        newer_than_days: products whose `created_at` is at most so many days ago.
        missing: whether a product that lacks a value counts as fitting.
    """

    items: Ids | None = None
    brands: Words | None = None
    categories: Words | None = None
    groups: Words | None = None
    availability: StockWords | None = None
    price: Price | None = None
    attributes: dict[Name, Condition] = Field(default={}, max_length=100)
    newer_than_days: float | None = Field(default=None, gt=0)
    missing: bool = False

    @property
    def empty(self) -> bool:
        """Whether no key is given, so that every product fits."""
        given = (self.items, self.brands, self.categories, self.groups, self.availability, self.price)
        return all(one is None for one in (*given, self.newer_than_days)) and not self.attributes


class Selection(Matching):
    """Which products, as `Matching`, without those of `but_not`."""

    but_not: Matching | None = None

    @property
    def empty(self) -> bool:
        """Whether every product fits."""
        return super().empty and self.but_not is None


class Named(Selection):
    """A selection that must say which products it means."""

    @model_validator(mode="after")
    def _some(self) -> Named:
        if self.empty:
            raise ValueError("names no products: give items, brands, categories, price, attributes or others")
        return self


class Keep(Named):
    """Show only these products."""


class Hide(Named):
    """Show none of these products."""


class MinimumAge(Selection):
    """Hide products from shoppers who are too young.

    Attributes:
        age: years, for all selected products; or
        column: the catalogue's column that has the years of each product, empty where there is no limit.
        user: the shopper's attribute that has their age.
        unknown: what to do for a shopper whose age is not known.
    """

    age: float | None = Field(default=None, gt=0, le=150)
    column: Name | None = None
    user: Name = "age"
    unknown: Unknown = "hide"

    @model_validator(mode="after")
    def _age_or_column(self) -> MinimumAge:
        if (self.age is None) == (self.column is None):
            raise ValueError("needs either age or column")
        if self.age is not None and self.empty:
            raise ValueError("names no products: give categories, brands, items or others besides age")
        return self


class Region(Selection):
    """Hide products that are not sold where the shopper is.

    Attributes:
        column: the catalogue's column with the regions of each product; empty where it is sold everywhere.
        user: the shopper's attribute that has their region.
        unknown: what to do for a shopper whose region is not known.
    """

    column: Name = "regions"
    user: Name = "region"
    unknown: Unknown = "hide"


class AlreadyBought(Selection):
    """Hide what the shopper has bought.

    Attributes:
        days: how long ago at most; without it, ever, as far as the history goes.
        event_types: events that count as buying.
        same: "item", or a column such as "group_id": hide all products that share its value with one bought.
    """

    days: float | None = Field(default=None, gt=0)
    event_types: Words = ("purchase",)
    same: Name = "item"


class Pin(Config):
    """Put products at places, whatever the model says of them.

    Attributes:
        items: ids.
        positions: their places, counted from 1; without it the first ones.
    """

    items: Ids
    positions: tuple[Annotated[int, Field(ge=1, le=DEEPEST)], ...] | None = None

    @model_validator(mode="after")
    def _alike(self) -> Pin:
        if len(set(self.items)) < len(self.items):
            raise ValueError("names a product twice")
        if self.positions is not None and len(self.positions) != len(self.items):
            raise ValueError(f"has {len(self.items)} items but {len(self.positions)} positions")
        if self.positions is not None and len(set(self.positions)) < len(self.positions):
            raise ValueError("names a position twice")
        if self.positions is None and len(self.items) > DEEPEST:
            raise ValueError(f"at most {DEEPEST} products can be pinned")
        return self

    @property
    def places(self) -> tuple[int, ...]:
        """The place of each product, counted from 1."""
        return self.positions or tuple(range(1, len(self.items) + 1))


class Move(Named):
    """Move products, by a factor on their scores or by places.

    A factor works on the scores of the list brought to 0 for the last and 1 for the first, so it means the same for
    every model.

    Attributes:
        factor: more than 1.
        places: how many places.
    """

    factor: float | None = Field(default=None, gt=1, le=1000)
    places: int | None = Field(default=None, ge=1, le=DEEPEST)

    @model_validator(mode="after")
    def _factor_or_places(self) -> Move:
        if (self.factor is None) == (self.places is None):
            raise ValueError("needs either factor or places")
        return self


class Boost(Move):
    """Move products up: scores are multiplied by the factor, or they rise by so many places."""


class Bury(Move):
    """Move products down: scores are divided by the factor, or they sink by so many places."""


class Cap(Config):
    """Show at most so many products with one value of a column.

    Attributes:
        by: the column: "brand", "category" (a product's last, most special one), "group_id", "seller" or any other.
        at_most: how many.
        top: in how many first places; without it, in the whole list.
    """

    by: Name
    at_most: int = Field(ge=1, le=DEEPEST)
    top: int | None = Field(default=None, ge=1, le=DEEPEST)

    @model_validator(mode="after")
    def _can_bind(self) -> Cap:
        if self.top is not None and self.top <= self.at_most:
            raise ValueError(f"can never bind: at most {self.at_most} in the first {self.top}")
        return self


class Diversity(Config):
    """Prefer products that are unlike those above them, by maximal marginal relevance (Carbonell & Goldstein, 1998).

    Attributes:
        strength: 0 keeps the model's order, 1 looks at unlikeness only.
        top: in how many first places; without it, in the whole list.
    """

    strength: float = Field(ge=0, le=1)
    top: int | None = Field(default=None, ge=1, le=DEEPEST)


class Fallback(Config):
    """Products that fill the list up, in this order, where the model and the other rules leave it too short."""

    items: Ids


class When(Config):
    """When a rule holds: every key given has to fit.

    Attributes:
        strategies: names of the places in the shop that ask, e.g. "home" or "product-page".
        user: attributes of the shopper; one that is not known does not fit.
        since: from this day or time on.
        until: a day is still part of it, a time no more.
        context: a product that the shopper looks at.
        variants: experiment -> the variants that the shopper may be in.
    """

    strategies: Words | None = None
    user: dict[Name, Condition] = Field(default={}, max_length=100)
    since: Moment | None = None
    until: Moment | None = None
    context: Selection | None = None
    variants: dict[Name, Words] = Field(default={}, max_length=100)

    @model_validator(mode="after")
    def _some(self) -> When:
        given = (self.strategies, self.since, self.until, self.context)
        if all(one is None for one in given) and not self.user and not self.variants:
            raise ValueError("is empty: give strategies, user, since, until, context or variants")
        if self.context is not None and self.context.empty:
            raise ValueError("context names no products: give categories, brands, items or others")
        return self


Action: TypeAlias = Keep | Hide | MinimumAge | Region | AlreadyBought | Pin | Boost | Bury | Cap | Diversity | Fallback
ACTIONS: dict[str, type[Config]] = {
    "keep": Keep,
    "hide": Hide,
    "minimum_age": MinimumAge,
    "region": Region,
    "already_bought": AlreadyBought,
    "pin": Pin,
    "boost": Boost,
    "bury": Bury,
    "cap": Cap,
    "diversity": Diversity,
    "fallback": Fallback,
}
"""Every action by its key in the document."""


def _check_range(low: float | None, high: float | None) -> None:
    if low is not None and high is not None and low > high:
        raise ValueError(f"min {low:g} is above max {high:g}")
