"""The rules that shop data must keep. Each is one vectorised expression over a column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tastemaker.characters import BIDI_PATTERN, CONTROL, INVISIBLE_PATTERN

if TYPE_CHECKING:
    from collections.abc import Callable

ID_BYTES = 256
TEXT_LENGTH = 100_000  # description and any other text
LENGTHS = {"title": 1_000, "brand": 1_000, "categories": 5_000}
LATEST = 4_102_444_799  # the last second of 2099
LARGEST = float(np.finfo(np.float32).max)
SECONDS = "\0seconds"  # the parsed timestamps, beside the column as it was written
OTHER_UNIT = "\0other unit"  # true for a timestamp whose size tells another unit than the column's

# Web texts hold direction marks and Windows-1252 read as Latin-1 (C1 controls): such a text is kept, with a note.
ORDINARY_PATTERN = "[\x80-\x9f\u061c\u200e\u200f]"
TEXT_CONTROL_PATTERN = "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
OVERRIDE_PATTERN = "[\u202a-\u202e\u2066-\u2069]"


@dataclass(frozen=True, slots=True)
class Rule:
    """A short name, the cure, and the expression that is true for a bad cell of a column."""

    name: str
    hint: str
    bad: Callable[[pl.Expr], pl.Expr]


def as_number(column: pl.Expr) -> pl.Expr:
    """Parse numbers, null where that is not possible."""
    return column.cast(pl.Float64, strict=False)


def is_blank(column: pl.Expr) -> pl.Expr:
    """Whether a cell holds nothing."""
    return column.is_null() | (column.cast(pl.String) == "")


def contains(name: str, pattern: str, hint: str) -> Rule:
    """Return the rule against characters of a pattern."""
    return Rule(name, hint, lambda c: c.str.contains(pattern))


NUL = contains("nul-byte", "\x00", "remove the NUL character")
ID_RULES = (
    Rule("empty-id", "every row needs an id", lambda c: c.is_null() | (c.str.strip_chars() == "")),
    Rule("id-too-long", f"an id has at most {ID_BYTES} bytes", lambda c: c.str.len_bytes() > ID_BYTES),
    NUL,
    contains("control-character", f"[{CONTROL}\t\n\r]", "an id is one line without control characters"),
    contains("bidi-character", BIDI_PATTERN, "remove characters that change the reading direction"),
    contains("invisible-character", INVISIBLE_PATTERN, "remove characters that nobody can see"),
)
NO_SHOPPER = Rule(
    "empty-id",
    "every row needs an id; for guests: tastemaker data convert --guests ORDER_NUMBER, or --without user_id=",
    ID_RULES[0].bad,
)
DUPLICATE = Rule(
    "duplicate-id", "the first row of an id counts; merge or remove the others", lambda c: ~c.is_first_distinct()
)
NEGATIVE_IN_LOG = "shift the scale, or leave returns out: tastemaker data convert takes --column quantity=HEADER"


def number_rules(negative: str) -> tuple[Rule, ...]:
    """Return the rules of a column of amounts.

    Args:
        negative: what to do about one below 0.
    """
    return (
        Rule("not-a-number", "write a plain number such as 12.5", lambda c: ~is_blank(c) & as_number(c).is_null()),
        Rule(
            "not-finite", "NaN and infinity are no amounts; leave the field empty", lambda c: ~as_number(c).is_finite()
        ),
        Rule("negative", negative, lambda c: as_number(c) < 0),
        Rule("too-large", f"the largest number is {LARGEST:.3g}", lambda c: as_number(c) > LARGEST),
    )


NUMBER_RULES = {
    "interactions": number_rules(NEGATIVE_IN_LOG),
    "items": number_rules("no price is below 0; leave the field empty where it is not known"),
}
POSITION_RULES = (
    Rule("empty-position", "fill every position or remove the column", is_blank),
    Rule(
        "not-a-position",
        "number each user's interactions with whole numbers from 0, oldest first",
        lambda c: ~(as_number(c).is_between(0, 2**53) & (as_number(c) % 1 == 0)).fill_null(value=False),
    ),
    Rule(
        "duplicate-position",
        "the user has another interaction at this position; number them anew",
        lambda c: ~pl.struct("user_id", as_number(c)).is_first_distinct(),
    ),
)
TIMESTAMP_RULES = (
    Rule(
        "bad-timestamp",
        "write unix seconds, ISO 8601 such as 2017-01-31, or 31.01.2017, one of them throughout",
        lambda c: ~is_blank(c) & pl.col(SECONDS).is_null(),
    ),
    Rule("other-unit", "write every time in the same unit, best in seconds", lambda _: pl.col(OTHER_UNIT)),
    Rule(
        "timestamp-out-of-range",
        "times lie between 1970 and 2100",
        lambda _: ~pl.col(SECONDS).is_between(0, LATEST),
    ),
)
MISSING_TIMESTAMP = Rule("missing-timestamp", "fill it in, or give the order in a column 'position'", is_blank)
NOT_CATEGORIES = Rule(
    "nested-categories", 'separate names with "|", or give a list of strings in jsonl', lambda c: c.str.starts_with("[")
)


def text_rules(column: str) -> tuple[Rule, ...]:
    """Return the rules of a text column; its length limit goes by its name."""
    limit = LENGTHS.get(column, TEXT_LENGTH)
    return (
        Rule("text-too-long", f"at most {limit:,} characters; shorten it", lambda c: c.str.len_chars() > limit),
        NUL,
        contains("control-character", TEXT_CONTROL_PATTERN, "remove the control characters"),
        contains("bidi-character", OVERRIDE_PATTERN, "remove characters that change the reading direction"),
    )


def as_text(column: str, dtype: pl.DataType) -> pl.Expr:
    """Return a column with lists of texts as one text each."""
    return pl.col(column).list.join("\n", ignore_nulls=True) if dtype == pl.List(pl.String) else pl.col(column)


def first_broken(column: str, dtype: pl.DataType, rules: tuple[Rule, ...]) -> pl.Expr:
    """Number of the first rule that a cell breaks, null for a good cell."""
    cell = as_text(column, dtype)
    number = pl.lit(None, dtype=pl.Int8)
    for place, rule in reversed(list(enumerate(rules))):
        number = pl.when(rule.bad(cell)).then(pl.lit(place, dtype=pl.Int8)).otherwise(number)
    return number.alias(column)
