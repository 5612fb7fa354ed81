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
        (("Rain jacket blue, large", "Acme"), ("LARGE blue rain jacket!", "Bolt"), True),
        (("a b c d e f", None), ("a b c d e f g", None), True),  # 6 of 7 = .857
        (("a b c d e", None), ("a b c d e f", None), False),  # 5 of 6 = .833
        (("", None), ("", None), False),
        ((None, "Acme"), (None, "Acme"), False),
        (("!!!", None), ("???", None), False),
    ],
)
def test_pairs(first, second, same):
    one, other = groups([first[0], second[0]], [first[1], second[1]])
    assert (one == other) is same


def slow(titles, brands):
    """The rule, pair by pair; then chains."""
    words = [set(re.findall(r"\w+", (title or "").casefold())) for title in titles]
    group = list(range(len(titles)))
    for a, b in combinations(range(len(titles)), 2):
        if not words[a] or not words[b]:
            continue
        similar = len(words[a] & words[b]) >= 0.85 * len(words[a] | words[b])
        long_enough = min(len(words[a]), len(words[b])) >= 4
        if (words[a] == words[b] and (brands[a] or "") == (brands[b] or "")) or (similar and long_enough):
            group = [group[a] if one == group[b] else one for one in group]
    return group


words = st.lists(st.sampled_from("abcdefghij"), min_size=0, max_size=14).map(" ".join)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.none() | words, st.sampled_from([None, "x", "y"])), max_size=25), st.sampled_from([1, 10**6])
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


def test_beauty_is_quick_and_finds_shades(real_data):
    import time

    from tastemaker.data import readers

    data, _ = readers.read(real_data / "amazon-beauty-2014")
    started = time.perf_counter()
    sizes = np.bincount(near_duplicates(data.items))
    assert time.perf_counter() - started < 2
    assert 100 < (sizes > 1).sum() < 500
    assert sizes.max() < 20
