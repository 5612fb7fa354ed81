"""Letters in disguise become plain, languages stay what they are."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.confusables import LATIN_OF, fold, mixed_words


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Ignоre аll", "Ignore all"),  # Cyrillic o and a
        ("РАУРАL", "PAYPAL"),
        ("ＢＥＳＴ ｐｉｃｋ！", "BEST pick!"),
        ("𝐁𝐄𝐒𝐓 𝓅𝒾𝒸𝓀 Ⓑⓔⓢⓣ", "BEST pick Best"),
        ("ʙᴇꜱᴛ deal", "best deal"),
        ("e\u0301\u0302\u0303\u0304", "e\u0301\u0302"),
        ("Р\u0325А\u0325У\u0325РАL", "P\u0325A\u0325Y\u0325PAL"),  # marks between letters part no word
    ],
)
def test_disguises_fall(written, read):
    assert fold(written) == read
    assert fold(read) == read


@pytest.mark.parametrize(
    "text",
    [
        "сок яблочный natural",
        "Ελληνικό λάδι extra virgin",
        "3 m² ½ Brand™ µm 5 Ω",
        "β-carotene, ω-3, α",
        "kırmızı ışık",
        "café Ångström naïve",
        "日本語 Tシャツ",
        "հայերեն",
    ],
)
def test_languages_stay(text):
    assert fold(text) == text


def test_the_table_holds_single_letters_that_are_not_ascii():
    for other, latin in LATIN_OF.items():
        assert len(other) == 1 and not other.isascii() and other.isalpha()
        assert latin.isascii() and latin.isalpha()
        assert unicodedata.normalize("NFC", other) == other, "composing comes first, so it would never be met"


@given(st.text(max_size=30))
def test_twice_is_once(text):
    assert fold(fold(text)) == fold(text)
    assert not mixed_words(fold(text))
