"""Prices as people write them: "12.30 USD", "EUR 1.299,00", "$1,299", "19,99"; amount and currency apart.

The last of two kinds of separator parts the decimals. One that occurs once and has exactly three digits behind it says
nothing by itself ("1,299"): there the other prices of the column decide, and without any, a point parts decimals.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import polars as pl

from tastemaker.data.checks.problems import counted, problem_table

SIGNS = {
    **{"$": "USD", "US$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "￥": "JPY", "₹": "INR", "₩": "KRW", "zł": "PLN"},
    **{"CA$": "CAD", "C$": "CAD", "A$": "AUD", "AU$": "AUD", "R$": "BRL", "₺": "TRY", "₽": "RUB", "₴": "UAH"},
    **{"₪": "ILS", "฿": "THB", "₫": "VND", "₱": "PHP", "Kč": "CZK", "Ft": "HUF", "CHF": "CHF", "Fr.": "CHF"},
}
# A sign that several currencies share stands for none.
SHARED = frozenset({"$", "¥", "￥"})
SIGN = "|".join(sorted(map(re.escape, SIGNS), key=len, reverse=True))
PRICE = rf"^\s*(?P<before>[A-Za-z]{{3}}|{SIGN})?\s*(?P<number>\d[\d.,'’\s]*?)\s*(?P<after>[A-Za-z]{{3}}|{SIGN})?\s*$"
MINUS, MINUS_BEHIND = r"^\s*[-−–]\s*", r"(\d)[-−]\s*$"
HINT = 'write an amount and, if you like, a currency: "12.30 USD"'
NOTHING = ("", "-", "n/a")


class Prices(NamedTuple):
    """A column of prices.

    Attributes:
        amount: float64, null where there is none or it cannot be read.
        currency: upper-case code; null where none is written, or a sign that several currencies share.
        problems: the prices that cannot be read.
        words: which decimal separator the column was taken to have; empty where no price left it open.
    """

    amount: pl.Series
    currency: pl.Series
    problems: pl.DataFrame
    words: str


def parse_prices(column: pl.Series, lines: pl.Series, *, file: str) -> Prices:
    """Parse a column of texts or numbers.

    Args:
        column: the prices.
        lines: the line of each, for problems.
        file: its path, for problems.
    """
    if column.dtype.is_numeric():
        empty = pl.Series("currency", [None] * len(column), dtype=pl.String)
        return Prices(
            column.cast(pl.Float64),
            empty,
            problem_table(lines.head(0), column.head(0), file=file, rule="", hint=""),
            "",
        )
    text = column.cast(pl.String).str.strip_chars()
    text = text.set(text.str.to_lowercase().is_in(NOTHING), None)
    parts = text.str.extract_groups(PRICE).struct.unnest()
    digits = parts["number"].str.replace_all(r"['’\s]", "")
    comma_decimal, open_cases = _votes(digits)
    amount = _amounts(digits, comma_decimal=comma_decimal).alias(column.name)
    both = parts["before"].is_not_null() & parts["after"].is_not_null()
    amount = amount.set(both & (parts["before"] != parts["after"]).fill_null(value=False), None)
    code = pl.coalesce("before", "after")
    known = {sign: None if sign in SHARED else name for sign, name in SIGNS.items()}
    currency = parts.select(code.replace(known).str.to_uppercase().alias("currency")).to_series()
    currency = currency.set(amount.is_null(), None)
    wrong = amount.is_null() & text.is_not_null()
    problems = problem_table(
        lines.filter(wrong), column.filter(wrong), file=file, column=column.name, rule="bad-price", hint=HINT
    )
    mark = "," if comma_decimal else "."
    words = f"{file}: column '{column.name}': '{mark}' parts the decimals" if comma_decimal or open_cases else ""
    return Prices(amount, currency, problems, words)


def plain_amounts(column: pl.Series, lines: pl.Series, *, file: str) -> tuple[pl.Series, str]:
    """Write a column of prices as plain numbers, where some are written as people write them.

    Args:
        column: the prices, texts or numbers.
        lines: the line of each.
        file: its path, for the note.

    Returns:
        The column, in which what cannot be read stands as it did; and what is to be said about it, empty where all of
        it was plain. Amounts below 0 are read too, with the minus in front or, as in `12,50-`, behind.
    """
    if column.dtype != pl.String:
        return column, ""
    people = column.is_not_null() & (column != "") & column.cast(pl.Float64, strict=False).is_null()
    if not people.any():
        return column, ""
    below = column.str.contains(f"{MINUS}|{MINUS_BEHIND}").fill_null(value=False)
    plain = column.str.replace(MINUS, "").str.replace(MINUS_BEHIND, "$1")
    found = parse_prices(plain, lines, file=file)
    found = found._replace(amount=found.amount * pl.select(pl.when(below).then(-1.0).otherwise(1.0)).to_series())
    read = int((people & found.amount.is_not_null()).sum())
    if not read:
        return column, ""
    mark = f"; {found.words.rpartition(': ')[2]}" if found.words else ""
    currencies = found.currency.drop_nulls().unique().sort().to_list()
    several = f", in several currencies ({', '.join(currencies)}), which are not converted" if currencies[1:] else ""
    words = f"{file}: column '{column.name}': {counted(read, 'price')} with a comma or a currency read{several}{mark}"
    return found.amount.cast(pl.String).fill_null(column), words


def _votes(digits: pl.Series) -> tuple[bool, bool]:
    """Tell whether a comma parts the decimals of a column, and whether some price leaves that open."""
    comma = (
        digits.str.contains(r"\.\d{3},\d+$")
        | digits.str.contains(r"^\d+,(\d{1,2}|\d{4,})$")
        | digits.str.contains(r"\d\.\d{3}\.\d{3}")
    )
    point = (
        digits.str.contains(r",\d{3}\.\d+$")
        | digits.str.contains(r"^\d+\.(\d{1,2}|\d{4,})$")
        | digits.str.contains(r"\d,\d{3},\d{3}")
    )
    left_open = digits.str.contains(r"^\d{1,3}[.,]\d{3}$")
    return int(comma.sum()) > int(point.sum()), bool(left_open.any())


def _amounts(digits: pl.Series, *, comma_decimal: bool) -> pl.Series:
    """Parse numbers whose grouping is regular; null for others."""
    usual, other = (",", ".") if comma_decimal else (".", ",")
    as_usual = _parsed(digits, decimal=usual, group=other, decimals=r"\d*")
    no_doubt = _parsed(digits, decimal=other, group=usual, decimals=r"(?:\d{1,2}|\d{4,})")
    return as_usual.fill_null(no_doubt)


def _parsed(digits: pl.Series, *, decimal: str, group: str, decimals: str) -> pl.Series:
    grouped = re.escape(group)
    pattern = rf"^(?:\d+|\d{{1,3}}(?:{grouped}\d{{3}})+)(?:{re.escape(decimal)}{decimals})?$"
    number = digits.str.replace_all(group, "", literal=True).str.replace(decimal, ".", literal=True)
    return number.set(~digits.str.contains(pattern), None).cast(pl.Float64, strict=False)
