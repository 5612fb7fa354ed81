"""Near-duplicates against the rule written out pair by pair."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemaker.data import Entities, duplicates
from tastemaker.data.duplicates import near_duplicates


def groups(titles, brands=None):
    frame = pl.DataFrame(
        {"id": [f"i{n}" for n in range(len(titles))], "title": titles, "brand": brands or [None] * len(titles)},
        schema={"id": pl.String, "title": pl.String, "brand": pl.String},
    )
    return near_duplicates(Entities(frame)).tolist()


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (("Rain Jacket, blue", "Acme"), ("blue rain jacket", "Acme"), True),
        (("Rain Jacket, blue", "Acme"), ("blue rain jacket", "Bolt"), False),  # three words: the brand decides
        (("Rain jacket blue, light", "Acme"), ("LIGHT blue rain jacket!", "Bolt"), True),
        (("a b c d e f", None), ("a b c d e f g", None), True),  # 6 of 7 = .857
        (("a b c d e", None), ("a b c d e f", None), False),  # 5 of 6 = .833
        (("a b c d", "Acme"), ("a b c d e", "Acme"), True),  # one differing word, five in the longer
        (("a b c d blue", "Acme"), ("a b c d red", "Acme"), True),
        (("a b c d blue", None), ("a b c d red", None), False),  # no brand
        (("a b c d blue", "Acme"), ("a b c d red", "Bolt"), False),
        (("a b c blue", "Acme"), ("a b c red", "Acme"), False),  # four words
        (("a b c d e blue", "Acme"), ("a b c d f red", "Acme"), False),  # two words
        (("Saga of kings, volume 3", "Acme"), ("Saga of kings, volume 4", "Acme"), False),  # numbers tell books apart
        (("Nivea Soft Creme 200ml", None), ("Nivea Soft Creme, 500 ml", None), True),
        (("Running Shoe size 42", None), ("Running Shoe, size 43.5", None), True),
        (("Green tea (pack of 6)", None), ("Green Tea, 12 Count", None), True),
        (("Cotton Shirt XL", None), ("cotton shirt - medium", None), True),
        (("Shirt", None), ("Shirt", None), False),  # one word that anybody may use
        (("Shirt L", "Acme"), ("Shirt M", "Acme"), True),
        (("XL", "Acme"), ("S", "Acme"), False),  # nothing but a size
        (("", None), ("", None), False),
        ((None, "Acme"), (None, "Acme"), False),
        (("!!!", None), ("???", None), False),
    ],
)
def test_pairs(first, second, same):
    one, other = groups([first[0], second[0]], [first[1], second[1]])
    assert (one == other) is same


def slow(titles, brands):
    """The rules, pair by pair; then chains."""
    words = [set(re.findall(r"\w+", (title or "").casefold())) for title in titles]
    group = list(range(len(titles)))
    for a, b in combinations(range(len(titles)), 2):
        if not words[a] or not words[b]:
            continue
        same_brand = (brands[a] or "") == (brands[b] or "")
        same = words[a] == words[b] and same_brand and (len(words[a]) >= 2 or brands[a])
        similar = len(words[a] & words[b]) >= 0.85 * len(words[a] | words[b])
        shortest, longest = sorted((len(words[a]), len(words[b])))
        own = (words[a] - words[b], words[b] - words[a])
        but_one = max(map(len, own)) <= 1 and not any(word.isdigit() for one in own for word in one)
        variant = but_one and same_brand and brands[a] and longest >= 5
        if same or (similar and shortest >= 4) or variant:
            group = [group[a] if one == group[b] else one for one in group]
    return group


words = st.lists(st.sampled_from("abcdefhijknopqruyz1234"), min_size=0, max_size=24).map(" ".join)
many = st.lists(st.sampled_from("abcdefhijknopqruyz1234"), min_size=10, max_size=24, unique=True).map(" ".join)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.none() | words | many, st.sampled_from([None, "x", "y"])), max_size=25),
    st.sampled_from([1, 10**6]),
)
def test_the_fast_way_finds_what_the_slow_way_finds(rows, pairs_at_once):
    titles, brands = [row[0] for row in rows], [row[1] for row in rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "BLOCK_PAIRS", pairs_at_once)
        fast = groups(titles, brands)
    expected = slow(titles, brands)
    alike = np.equal.outer(fast, fast) if rows else np.empty(0)
    assert np.array_equal(alike, np.equal.outer(expected, expected) if rows else np.empty(0))


def test_a_catalogue_without_titles_has_no_duplicates():
    assert near_duplicates(Entities.from_ids(["a", "b", "c"])).tolist() == [0, 1, 2]


def test_titles_and_brands_may_be_lists_or_numbers():
    frame = pl.DataFrame({"id": ["a", "b", "c"], "title": [["Rain", "jacket"], ["jacket", "rain"], None]})
    for brand in ([["x"], ["x"], None], [1, 1, 2], ["x", "x", None]):
        one, other, third = near_duplicates(Entities(frame.with_columns(brand=pl.Series(brand))))
        assert one == other != third


def test_templated_titles_are_quick():
    import time

    titles = [
        f"the brand new great shop collection of fine hand made soap for you by {n % 97} no {n}" for n in range(50_000)
    ]
    started = time.perf_counter()
    found = groups(titles)
    assert time.perf_counter() - started < 10  # minutes if all pairs are compared
    assert len(set(found)) <= 97


def test_beauty_is_quick_and_finds_shades(real_data):
    import time

    from tastemaker.data import readers

    data, _ = readers.read(real_data / "amazon-beauty-2014")
    started = time.perf_counter()
    sizes = np.bincount(near_duplicates(data.items))
    assert time.perf_counter() - started < 2
    assert 300 < (sizes > 1).sum() < 1000
    assert sizes.max() < 20
