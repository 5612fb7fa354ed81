"""Near-duplicates in a catalogue: the same product in another size or colour, or listed twice."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from tastemaker.data import cells

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tastemaker.data.entities import Entities
    from tastemaker.types import Bool, Int32, Int64

SIMILAR, LEAST_WORDS = 0.85, 4
"""Share of common words (Jaccard) from which two titles of so many words or more mean nearly the same product."""
LEAST_WORDS_BUT_ONE = 5
"""Words of the longer title from which on one differing word of the same brand is taken for a size or a colour."""
FREQUENT = 500
"""A word that opens more titles than this is not looked up: titles that share no rarer one may differ in one word."""
BLOCK_PAIRS = 5_000_000
"""Pairs of titles that are compared at once, to bound memory."""
_WORD = re.compile(r"\w+")
_UNIT = (
    r"ml|cl|dl|l|lit(?:er|re)s?|fl ?oz|oz|ounces?|lbs?|pounds?|mg|g|gr|grams?|kg|mm|cm|m|inch(?:es)?|in|ft|feet|w|v|"
    r"mah|gb|tb|mb|pc|pcs|pieces?|pk|packs?|ct|counts?|tabs|tablets|capsules|caps"
)
_AMOUNT = re.compile(
    rf"\b(?:(?:size|sizes|pack of|set of|box of)[ .:]*\d+(?:[.,/x-]\d+)*|\d+(?:[.,/x]\d+)*[ -]?(?:{_UNIT})|"
    r"x{0,3}[sl]|\d+xl|m|small|medium|large|x-large|extra large|one size|size)\b"
)


class _Titles(NamedTuple):
    """Words of all titles packed one after the other, each word of a title once.

    Attributes:
        words: number of each word, int64.
        rows: title of each word, int64, rising.
        lengths: number of words of each title, int64 [n].
        is_number: whether a word has a digit, bool, as long as `words`.
    """

    words: Int64
    rows: Int64
    lengths: Int64
    is_number: Bool


def near_duplicates(items: Entities) -> Int32:
    """Return a group number for each item, int32 [n]: equal numbers mean near-duplicates.

    Amounts and sizes ("500 ml", "pack of 6", "size 42", "XL") are taken out of titles first, unless nothing is left.
    Two items belong together if what remains

    - has the same set of words, at least 2 of them or a brand, and the brand is the same or missing in both,
    - has at least 4 words in each and a Jaccard similarity of at least 0.85, or
    - differs in one word of each at most, no number, where the longer has at least 5 words and the brand is the same;

    so do chains of such pairs. Case, punctuation, order and repetition of words do not matter. An item without title is
    alone. Among titles that share only words of more than 500 titles, the second rule finds one differing word at most.
    """
    titles = _packed(_texts(items, "title"))
    brands = np.unique(np.array(_texts(items, "brand"), dtype=object), return_inverse=True)
    branded = brands[0][brands[1]] != "" if len(items) else np.zeros(0, dtype=bool)
    keys = np.random.default_rng(0).integers(2**63, size=int(titles.words.max(initial=-1)) + 1, dtype=np.uint64)
    brand_keys = np.random.default_rng(1).integers(2**63, size=len(brands[0]), dtype=np.uint64)[brands[1]]
    whole = np.zeros(len(items), dtype=np.uint64)
    np.add.at(whole, titles.rows, keys[titles.words])  # a set of words is the sum of its words' random numbers
    but_one = whole[titles.rows] - keys[titles.words]
    items_, nodes = [], []

    def link(which: NDArray[np.integer], node: NDArray[np.uint64]) -> None:
        """Tie items to what they have in common."""
        items_.append(which)
        nodes.append(node)

    same = np.flatnonzero((titles.lengths >= 2) | ((titles.lengths > 0) & branded))
    link(same, whole[same] + brand_keys[same])
    long = np.flatnonzero(titles.lengths >= LEAST_WORDS)
    link(long, whole[long])
    left = titles.lengths[titles.rows] - 1  # words that are left without one of them
    present = np.isin(but_one, whole[long])
    one_more = (left >= SIMILAR * (left + 1)) & present  # the other title has no word of its own
    one_other = left >= SIMILAR * (left + 2)
    similar = (left >= LEAST_WORDS) & (one_more | one_other)
    link(titles.rows[similar], but_one[similar])
    variant = branded[titles.rows] & (left + 1 >= LEAST_WORDS_BUT_ONE) & ~titles.is_number
    link(titles.rows[variant], but_one[variant] + brand_keys[titles.rows[variant]])
    first, second = _similar_pairs(titles)
    linked, node = np.concatenate(items_), np.unique(np.concatenate(nodes), return_inverse=True)[1] + len(items)
    return _components(np.concatenate([linked, first]), np.concatenate([node, second]), len(items))


def has_titles(items: Entities) -> bool:
    """Say whether any item has a title, without which there is nothing to compare."""
    return any(_texts(items, "title"))


def how_many(groups: Int32) -> str:
    """Say in words how many products are near-duplicates of others."""
    alike = int((np.bincount(groups, minlength=1)[groups] > 1).sum()) if len(groups) else 0
    return f"{alike} of {len(groups)} products are near-duplicates of each other"


def _components(items: Int64, nodes: Int64, n: int) -> Int32:
    """Number the groups of items [n] that are tied to the same nodes."""
    size = max(n, int(nodes.max(initial=-1)) + 1)
    graph = csr_array((np.ones(len(items), dtype=bool), (items, nodes)), shape=(size, size))
    _, group = connected_components(graph, directed=False)
    return np.unique(group[:n], return_inverse=True)[1].astype(np.int32)


def _packed(texts: list[str]) -> _Titles:
    """Return the words of titles without amounts and sizes."""
    numbers: dict[str, int] = {}
    packed: list[int] = []
    lengths = np.zeros(len(texts), dtype=np.int64)
    for row, text in enumerate(texts):
        title = text.casefold()
        words = set(_WORD.findall(_AMOUNT.sub(" ", title))) or set(_WORD.findall(title))
        packed += [numbers.setdefault(word, len(numbers)) for word in words]
        lengths[row] = len(words)
    found = np.array(packed, dtype=np.int64)
    is_number = np.array([any(sign.isdigit() for sign in word) for word in numbers], dtype=bool)
    return _Titles(found, np.repeat(np.arange(len(texts)), lengths), lengths, is_number[found])


def _similar_pairs(titles: _Titles) -> tuple[Int64, Int64]:
    """Return pairs of items whose titles are similar and may differ in more than one word of each: the long ones.

    Two sets of Jaccard similarity t share one of their |x| - ceil(t |x|) + 1 rarest words (prefix filter; Chaudhuri et
    al., ICDE 2006), so only items that share a rare word are compared.
    """
    longest_but_one = int(2 * SIMILAR / (1 - SIMILAR))  # up to here, similar titles differ in one added word at most
    items = np.flatnonzero(titles.lengths > longest_but_one)
    shown = _incidence(titles, items)
    lengths = np.diff(shown.indptr)
    rare = _prefixes(shown, lengths - np.ceil(SIMILAR * lengths).astype(np.int64) + 1)
    rare.data[rare.sum(axis=0)[rare.indices] > FREQUENT] = 0
    rare.eliminate_zeros()
    spread = np.asarray(rare @ rare.sum(axis=0)[:, None]).ravel()  # pairs that a row may bring
    borders = np.searchsorted(np.cumsum(spread), np.arange(0, spread.sum() + BLOCK_PAIRS, BLOCK_PAIRS), side="right")
    found = [np.zeros((0, 2), dtype=np.int64)]
    transposed = rare.T.tocsr()
    for start, stop in pairwise(borders):
        shared = (rare[start:stop] @ transposed).tocoo()
        left, right = shared.row.astype(np.int64) + start, shared.col.astype(np.int64)
        left, right = left[left < right], right[left < right]
        longest, shortest = np.maximum(lengths[left], lengths[right]), np.minimum(lengths[left], lengths[right])
        left, right = left[shortest >= SIMILAR * longest], right[shortest >= SIMILAR * longest]
        common = np.asarray(shown[left].multiply(shown[right]).sum(axis=1)).ravel()
        similar = common >= SIMILAR * (lengths[left] + lengths[right] - common)
        found.append(np.stack([items[left[similar]], items[right[similar]]], axis=1))
    pairs = np.concatenate(found)
    return pairs[:, 0], pairs[:, 1]


def _incidence(titles: _Titles, items: Int64) -> csr_array:
    """Return which of the items has which word, sparse [items, words]; the columns go from rare to common words."""
    chosen = np.isin(titles.rows, items)
    _, column, counts = np.unique(titles.words[chosen], return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), dtype=np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    offsets = np.concatenate([[0], np.cumsum(titles.lengths[items])])
    ones = np.ones(int(chosen.sum()), dtype=np.int32)
    shown = csr_array((ones, rank[column], offsets), shape=(len(items), len(counts)))
    shown.sort_indices()
    return shown


def _prefixes(shown: csr_array, lengths: Int64) -> csr_array:
    """Keep the first `lengths` entries of each row."""
    place = np.arange(shown.nnz) - np.repeat(shown.indptr[:-1], np.diff(shown.indptr))
    keep = place < np.repeat(lengths, np.diff(shown.indptr))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return csr_array((shown.data[keep], shown.indices[keep], offsets), shape=shown.shape)


def _texts(items: Entities, column: str) -> list[str]:
    """Return a column's values in words, "" where there is none."""
    if column not in items.frame.columns:
        return [""] * len(items)
    return [text.strip() for text in cells.texts(items.frame[column])]
