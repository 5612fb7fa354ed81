"""Numbers as people read them."""

from __future__ import annotations

import pytest

from tastemaker.report import words
from tastemaker.report.blocks import Table


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (words.number(0.05384), "0.0538"),
        (words.number(-1234.5), "−1,234.50"),
        (words.number(None), "–"),
        (words.figure("popularity_lift@10", 0.7), "0.70"),
        (words.figure("ndcg@10", 0.7), "0.7000"),
        (words.signed(0.0), "+0.0000"),
        (words.signed(-0.01), "−0.0100"),
        (words.p_value(0.0009), "< 0.001"),
        (words.p_value(0.001), "0.001"),
        (words.p_said(0.0), "p < 0.001"),
        (words.p_said(0.0234), "p = 0.023"),
        (words.duration(0.0213), "21 ms"),
        (words.duration(119.94), "119.9 s"),
        (words.duration(120), "2.0 min"),
        (words.duration(7200), "2.0 h"),
        (words.memory(1023), "1,023 MiB"),
        (words.memory(3310), "3.2 GiB"),
        (words.percent(0.976), "97.6\N{NO-BREAK SPACE}%"),
        (words.measure_name("hit_rate@5"), "Hit rate@5"),
        (words.measure_name("own_measure@5"), "own measure@5"),
        (words.listed(["a", "b", "c"]), "a, b and c"),
        (words.listed([]), "none"),
        (words.capped("a  b\nc", 80), "a b c"),
        (words.capped("abcdef", 4), "abc…"),
        (words.shortened("abcdefghij", 6), "abc…ij"),
        (words.shortened("abcdef", 6), "abcdef"),
        (words.plain({"order_of_ties": "file", "masked": True, "k": [5, 10], "none": None}), None),
    ],
)
def test_words(shown, expected):
    assert shown == (expected or "order of ties: file; masked: yes; k: 5, 10; none: –")


def test_only_columns_of_numbers_are_flush_right():
    rows = [["als", "0.05", "< 0.001", "–", "1 of 2"], ["bpr", "+0.01", "–", "–", "3"]]
    assert Table("t", ["m", "a", "b", "c", "d"], rows).numeric == [False, True, True, False, False]
