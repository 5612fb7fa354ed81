"""Near-duplicates in a catalogue: the same product in another size or colour, or listed twice."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from tastemaker.data.entities import Entities
    from tastemaker.types import Int32, Int64

SIMILAR, LEAST_WORDS = 0.85, 4
"""Share of common words (Jaccard) from which two titles of so many words or more mean nearly the same product."""
BLOCK_PAIRS = 5_000_000
"""Pairs of titles that are compared at once, to bound memory."""
_WORD = re.compile(r"\w+")


def near_duplicates(items: Entities) -> Int32:
    """Return a group number for each item, int32 [n]: equal numbers mean near-duplicates.

    Two items belong together if their titles have the same set of words and their brands are the same, or if both
    titles have at least 4 words and the sets' Jaccard similarity is at least 0.85; so do chains of such pairs. Case,
    punctuation, order and repetition of words do not matter. An item without title is alone.
    """
    words = [frozenset(_WORD.findall(title.casefold())) for title in _texts(items, "title")]
    names = list(zip(words, _texts(items, "brand"), strict=True))
    same = _numbered(names)
    first, second = _similar_pairs(words)
    alone = np.flatnonzero([not one for one in words])
    same[alone] = same.max(initial=0) + 1 + np.arange(len(alone))
    links = np.concatenate([first, np.arange(len(words))]), np.concatenate([second, len(words) + same])
    size = len(words) + int(same.max(initial=-1)) + 1  # items, then one node for each title and brand
    graph = csr_array((np.ones(len(links[0]), dtype=bool), links), shape=(size, size))
    _, group = connected_components(graph, directed=False)
    return np.unique(group[: len(words)], return_inverse=True)[1].astype(np.int32)


def _similar_pairs(words: list[frozenset[str]]) -> tuple[Int64, Int64]:
    """Return the pairs of items whose titles are similar: a spanning set of them for equal titles.

    Two sets of Jaccard similarity t share one of their |x| - ceil(t |x|) + 1 rarest words (prefix filter; Chaudhuri et
    al., ICDE 2006), so only items that share a rare word are compared.
    """
    chosen = {one: item for item, one in enumerate(words) if len(one) >= LEAST_WORDS}
    items = np.fromiter(chosen.values(), dtype=np.int64, count=len(chosen))
    twins = np.array([(item, chosen[one]) for item, one in enumerate(words) if chosen.get(one, item) != item])
    shown = _incidence(list(chosen))
    lengths = np.diff(shown.indptr)
    rare = _prefixes(shown, lengths - np.ceil(SIMILAR * lengths).astype(np.int64) + 1)
    spread = np.asarray(rare @ rare.sum(axis=0)[:, None]).ravel()  # pairs that a row may bring
    borders = np.searchsorted(np.cumsum(spread), np.arange(0, spread.sum() + BLOCK_PAIRS, BLOCK_PAIRS), side="right")
    found = [twins.reshape(-1, 2)]
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
    pairs = np.concatenate(found).astype(np.int64)
    return pairs[:, 0], pairs[:, 1]


def _incidence(sets: list[frozenset[str]]) -> csr_array:
    """Return which set has which word, sparse [sets, words]; the columns go from rare to common words."""
    packed = [word for one in sets for word in one]
    _, column, counts = np.unique(np.array(packed, dtype=object), return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), dtype=np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    offsets = np.cumsum([0, *(len(one) for one in sets)])
    shown = csr_array((np.ones(len(packed), dtype=np.int32), rank[column], offsets), shape=(len(sets), len(counts)))
    shown.sort_indices()
    return shown


def _prefixes(shown: csr_array, lengths: Int64) -> csr_array:
    """Keep the first `lengths` entries of each row."""
    place = np.arange(shown.nnz) - np.repeat(shown.indptr[:-1], np.diff(shown.indptr))
    keep = place < np.repeat(lengths, np.diff(shown.indptr))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return csr_array((shown.data[keep], shown.indices[keep], offsets), shape=shown.shape)


def _numbered(values: list[tuple[frozenset[str], str]]) -> Int64:
    """Number distinct values from 0 on in order of appearance."""
    numbers: dict[tuple[frozenset[str], str], int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)


def _texts(items: Entities, column: str) -> list[str]:
    """Return a column's values, "" where there is none."""
    if column not in items.frame.columns:
        return [""] * len(items)
    values: list[str] = items.frame[column].cast(str).fill_null("").to_list()
    return values
