"""Prices as people write them, against amounts worked out by hand."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tastemaker.data.readers.prices import parse_prices, plain_amounts


def parsed(*values):
    """Amounts, currencies and bad values of a column."""
    column = pl.Series("price", values, dtype=pl.String)
    found = parse_prices(column, pl.int_range(1, len(values) + 1, eager=True), file="feed")
    return found.amount.to_list(), found.currency.to_list(), found.problems["value"].to_list()


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("12.30 USD", 12.3, "USD"),
        ("USD 5", 5.0, "USD"),
        ("eur 1,299.00", 1299.0, "EUR"),
        ("1.299,00 €", 1299.0, "EUR"),
        ("€4.5", 4.5, "EUR"),
        ("£1,234,567.89", 1234567.89, "GBP"),
        ("1'299.00 CHF", 1299.0, "CHF"),
        ("1 299.00 zł", 1299.0, "PLN"),
        ("1\u00a0299.00", 1299.0, None),
        ("$3", 3.0, None),
        ("7,00", 7.0, None),
        ("0", 0.0, None),
        ("  ", None, None),
        ("n/a", None, None),
    ],
)
def test_amount_and_currency(text, amount, currency):
    assert parsed(text) == ([amount], [currency], [])


@pytest.mark.parametrize(
    "text", ["free", "12.3.4", "1,23,4", "-5", "1e9", "12.30 USD EUR", "USD 5 EUR", "5 USD per kg", "٣", "=1+1", "NaN"]
)
def test_what_is_no_price_is_a_problem_and_no_amount(text):
    assert parsed(text, "2.50") == ([None, 2.5], [None, None], [text])


def test_the_column_decides_what_a_single_price_leaves_open():
    assert parsed("1,299", "5.00")[0] == [1299.0, 5.0]
    assert parsed("1,299", "5,00")[0] == [1.299, 5.0]
    assert parsed("1.299", "5,00")[0] == [1299.0, 5.0]
    assert parsed("1.299", "5")[0] == [1.299, 5.0]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**9), st.sampled_from([(",", "."), (".", ","), ("'", "."), (" ", ",")]))
def test_grouped_cents_come_back(cents, marks):
    group, decimal = marks
    whole = f"{cents // 100:,}".replace(",", group)
    amounts, _, bad = parsed(f"{whole}{decimal}{cents % 100:02d}", f"7{decimal}50")
    assert (amounts, bad) == ([pytest.approx(cents / 100), 7.5], [])


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=20))
def test_any_text_is_read_or_reported(text):
    (amount,), _, bad = parsed(text)
    nothing = text.strip().lower() in ("", "-", "n/a") or not text.strip()
    assert (amount is None) == (bool(bad) or nothing)


def test_amounts_below_zero_are_read_with_their_currency():
    column = pl.Series("value", ["19,99 €", "-25,55 €", "− 1.299,00", "-", None, "-x", "12,50-", "12,-"])
    amounts, words = plain_amounts(column, pl.Series(range(8)), file="f")
    assert amounts.cast(pl.Float64, strict=False).to_list() == [19.99, -25.55, -1299.0, None, None, None, -12.5, None]
    assert amounts.to_list()[5] == "-x"
    assert "4 prices with a comma or a currency read" in words
