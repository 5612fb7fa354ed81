r"""What the lists are like beside being right: novel, varied, surprising, calibrated. One value a query.

Everything is a sum over the first k items of a list, so it is one product of a sparse incidence matrix (lists by items)
with a matrix of item features; the stretch between two values of k is multiplied once and added to the sums before it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tastemaker.metrics.statistics import Ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.data.queries import Queries
    from tastemaker.metrics.catalogue import Catalogue
    from tastemaker.metrics.ranking import Hits
    from tastemaker.types import Float32, Float64, Int32

ALPHA = 0.01
"""Share of the history's categories mixed into the list's, so that a missing category is not infinitely wrong."""
BLOCK = 8192
"""Lists whose sums are held at once."""
PLAIN = 4
"""Feature columns before the text vector: one, information, popularity, has a text."""


class ListMeasures(NamedTuple):
    """Measures of lists by name such as "novelty@10": values a query, and ratios of sums over queries."""

    per_query: dict[str, Float32]
    ratios: dict[str, Ratio]


def list_measures(items: Int32, histories: Queries, catalogue: Catalogue, ks: Sequence[int]) -> ListMeasures:
    """Return novelty, diversity, category diversity, miscalibration and popularity lift at every k.

    What the catalogue does not know is left out: no diversity without vectors, no category measures without categories.

    Args:
        items: lists [B, width], -1 where a list is shorter.
        histories: what each list was made from.
        catalogue: the products.
        ks: list lengths, rising.
    """
    features = _features(catalogue)
    kinds = None if catalogue.categories is None else one_hot(catalogue.categories, len(catalogue.category_names))
    blocks = [
        _block(items[start : start + BLOCK], histories.take(slice(start, start + BLOCK)), features, kinds, ks)
        for start in range(0, max(1, len(items)), BLOCK)
    ]
    per_query = {name: np.concatenate([block.per_query[name] for block in blocks]) for name in blocks[0].per_query}
    ratios = {name: Ratio.concatenate([block.ratios[name] for block in blocks]) for name in blocks[0].ratios}
    return ListMeasures(per_query, ratios)


def _block(
    items: Int32, histories: Queries, features: Float32, kinds: csr_array | None, ks: Sequence[int]
) -> ListMeasures:
    """Return the measures of some of the lists."""
    n = len(features)
    own = incidence(histories.items, histories.lengths, n)  # [b, n]
    own_popularity = own @ features[:, 2] / _or_nan(histories.lengths)
    profile = None if kinds is None else own @ kinds  # [b, categories]
    sums = np.zeros((len(items), features.shape[1]), dtype=np.float32)
    counts = None if kinds is None else csr_array((len(items), kinds.shape[1]), dtype=np.float32)
    values: dict[str, Float64] = {}
    ratios: dict[str, Ratio] = {}
    for start, k in pairwise((0, *ks)):
        stretch = items[:, start:k]
        listed = incidence(stretch[stretch >= 0], (stretch >= 0).sum(axis=1), n)  # [b, n]
        sums += listed @ features
        lengths, information, popularity, texts = sums[:, :PLAIN].T.astype(np.float64)
        values[f"novelty@{k}"] = information / _or_nan(lengths)
        ratios[f"popularity_lift@{k}"] = _lift(popularity / _or_nan(lengths), own_popularity)
        if sums.shape[1] > PLAIN:
            values[f"diversity@{k}"] = _variety(np.square(sums[:, PLAIN:], dtype=np.float64).sum(axis=1), texts)
        if kinds is not None and counts is not None and profile is not None:
            counts = counts + listed @ kinds
            values[f"category_diversity@{k}"] = _variety(counts.power(2).sum(axis=1), counts.sum(axis=1))
            values[f"miscalibration@{k}"] = miscalibration(profile, counts)
    return ListMeasures({name: array.astype(np.float32) for name, array in values.items()}, ratios)


def _features(catalogue: Catalogue) -> Float32:
    """Return what is summed over lists, float32 [n, 4 + d]: one, information, popularity, has a text, text vector."""
    n = len(catalogue)
    vectors = np.empty((n, 0), np.float32) if catalogue.vectors is None else catalogue.vectors
    plain = (np.ones(n), information(catalogue), catalogue.popularity, vectors.any(axis=1))
    return np.column_stack([*plain, vectors]).astype(np.float32)


def information(catalogue: Catalogue) -> Float64:
    """Return how little known each product is, -log2((buyers + 1) / (users + 1)) bits, [n].

    Self-information (Zhou et al., PNAS 2010), one of the novelty models of Vargas and Castells (RecSys 2011); the + 1
    keeps products that nobody bought finite.
    """
    return np.asarray(-np.log2((catalogue.buyers.astype(np.float64) + 1) / (catalogue.n_users + 1)))


def incidence(items: Int32, lengths: NDArray[np.integer[Any]], n: int) -> csr_array:
    """Return packed lists as a sparse float32 [B, n] matrix of how often each row has each item."""
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return csr_array((np.ones(len(items), np.float32), items, indptr), shape=(len(lengths), n))


def one_hot(categories: Int32, size: int) -> csr_array:
    """Return which item is in which category, sparse float32 [n, size]; -1 is in none."""
    return incidence(categories[categories >= 0], (categories >= 0).astype(np.int32), size)


def _lift(listed: Float64, own: Float64) -> Ratio:
    """Return mean popularity of the lists / mean popularity of the histories - 1, as a ratio of sums.

    Abdollahpouri et al. (RMSE at RecSys 2019): the change of the group average popularity, all queries one group.
    Queries without a list, or with a history that nobody bought in training, do not count.
    """
    both = ~np.isnan(listed) & (own > 0)
    return Ratio(np.where(both, listed - own, 0).astype(np.float32), np.where(both, own, 0).astype(np.float32))


def _variety(squares: Float64, counts: Float64) -> Float64:
    """Return 1 - the mean similarity of all pairs of each list, [B], NaN for lists with fewer than two items.

    With m items and s the squared length of their sum (of unit vectors, or of category indicators), the similarities
    of all ordered pairs add up to s - m, and there are m (m - 1) of them.
    """
    pairs = np.where(counts >= 2, counts * (counts - 1), np.nan)
    return np.asarray(np.maximum(0, 1 - (squares - counts) / pairs))


def miscalibration(profile: csr_array, listed: csr_array) -> Float64:
    r"""Return how far the lists' categories are from the histories', $KL(p || (1 - \alpha) q + \alpha p)$ in nats, [B].

    Steck, "Calibrated recommendations" (RecSys 2018), every item weighing the same. Where q is 0 the logarithm is that
    of 1 / alpha, so the sum is $-\log\alpha - \sum p \log(1 + \frac{1-\alpha}{\alpha} q/p)$ over the
    categories that both have. NaN where history or list has no known category.

    Args:
        profile: items of each category in the histories, sparse [B, categories].
        listed: the same of the lists.
    """
    p, q = _shares(profile), _shares(listed)
    ratio = csr_array((1 / p.data, p.indices, p.indptr), shape=p.shape).multiply(q)  # q / p where both are above 0
    ratio.data = np.log1p((1 - ALPHA) / ALPHA * ratio.data)
    nowhere = (profile.sum(axis=1) == 0) | (listed.sum(axis=1) == 0)
    return np.where(nowhere, np.nan, np.maximum(0, -np.log(ALPHA) - p.multiply(ratio).sum(axis=1)))


def _shares(counts: csr_array) -> csr_array:
    """Return each row divided by its sum, sparse float64."""
    totals = np.repeat(counts.sum(axis=1), np.diff(counts.indptr)).astype(np.float64)
    return csr_array((counts.data / totals, counts.indices, counts.indptr), shape=counts.shape)


def serendipity(found: Hits, catalogue: Catalogue, k: int) -> Float64:
    """Return the share of each query's targets among its first k that are not among the k most popular items, [B].

    After Ge, Delgado-Battenfeld and Jannach (RecSys 2010): right, and no list of best-sellers would have said so.
    """
    obvious = np.zeros(len(catalogue), dtype=bool)
    obvious[catalogue.by_popularity[:k]] = True
    return found.total(k, (~obvious[found.items]).astype(np.float64)) / np.maximum(found.counts, 1)


def _or_nan(counts: NDArray[Any]) -> Float64:
    return np.where(counts > 0, counts, np.nan)
