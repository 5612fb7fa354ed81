"""Beam search for the most likely tuples of codes, along the trie of a catalogue or free of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tastemaker.data.queries import Queries
    from tastemaker.neural.indexing.trie import CodeTrie

Step = Callable[[Tensor], Tensor]
"""From prefixes, int64 [b, w, l], to log-probabilities of the next code, [b, w, size of level l]."""


def search(
    step: Step, trie: CodeTrie, queries: int, width: int, *, hidden: Tensor | None = None, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return the items with the most likely tuples that a beam finds; no other tuple can be produced.

    With `width` of at least the number of items nothing is cut off and the order is exact.

    Args:
        step: the model.
        trie: of the products that may be found.
        queries: b.
        width: tuples that are kept at each level.
        hidden: items that must not be found, int64 [b, h], filled up with -1.
        smoothing: see `smoothed`.

    Returns:
        Item numbers, int64 [b, width'], best first, -1 where nothing was found, and log-probabilities, -inf there.
        Equal log-probabilities stand in the order of item numbers.
    """
    device = trie.items.device
    nodes = torch.zeros(queries, 1, dtype=torch.int64, device=device)
    scores = torch.zeros(queries, 1, device=device)
    prefixes = torch.zeros(queries, 1, 0, dtype=torch.int64, device=device)
    for level, size in enumerate(trie.sizes):
        shares = trie.shares(nodes.flatten(), level).view(*nodes.shape, size)
        following = smoothed(step(prefixes), shares, smoothing).masked_fill(shares == 0, -torch.inf)
        total = (scores[:, :, None] + following).flatten(1)  # [b, w * size]
        if level == len(trie.sizes) - 1:
            return _items(total, trie, nodes, width, hidden)
        scores, place = total.topk(min(width, trie.counts[level], total.shape[1]), dim=1)
        before, code = place // size, place % size
        nodes = trie.step(nodes.gather(1, before), code, level).clamp(min=0)  # what is -inf leads nowhere
        prefixes = torch.cat([prefixes.gather(1, before[:, :, None].expand(-1, -1, level)), code[:, :, None]], dim=2)
    raise ValueError("a trie without levels")


def widths(queries: Queries, width: int, k: int) -> NDArray[np.int64]:
    """Return how wide each query's beam must be for k products beside those of its history, `width` at least, [B].

    What a history may fill of the beam is rounded up to a power of two, so that few widths occur, and a query's width
    depends on the query alone.
    """
    rows, n = np.repeat(np.arange(len(queries)), queries.lengths), int(queries.items.max(initial=0)) + 1
    hidden = np.bincount(np.unique(rows * n + queries.items) // n, minlength=len(queries))
    return np.maximum(width, k + 2 ** np.ceil(np.log2(np.maximum(hidden, 1))).astype(np.int64))


def by_width(queries: Queries, width: int, k: int, *, seen: bool = False) -> list[tuple[int, NDArray[np.int64]]]:
    """Return the rows of queries by how wide their beam must be, each with that width, narrow ones first.

    Args:
        queries: B histories.
        width: at least.
        k: products that must be left; see `widths`.
        seen: whether those of the history may be listed, so that they take no places away.
    """
    each = np.full(len(queries), max(width, k)) if seen else widths(queries, width, k)
    return [(int(one), np.flatnonzero(each == one)) for one in np.unique(each)]


def smoothed(logs: Tensor, shares: Tensor, smoothing: float) -> Tensor:
    """Return log-probabilities mixed with the shares of the catalogue, of equal shapes.

    log((1 - s) p + s * share): a product that nobody has bought, which training has never seen, keeps a chance that its
    neighbours by prefix pass on to it (TIGER sets places aside for such products, section 4.3 of the paper).
    """
    if not smoothing:
        return logs
    return torch.log((1 - smoothing) * logs.exp() + smoothing * shares)


def free(step: Step, sizes: tuple[int, ...], queries: int, width: int, *, device: torch.device) -> Tensor:
    """Return the most likely tuples that a beam finds among all there could be, int64 [b, width', levels].

    This is what constrained search is measured against: such a tuple need not be a product.
    """
    scores = torch.zeros(queries, 1, device=device)
    prefixes = torch.zeros(queries, 1, 0, dtype=torch.int64, device=device)
    for level, size in enumerate(sizes):
        total = (scores[:, :, None] + step(prefixes)).flatten(1)
        scores, place = total.topk(min(width, total.shape[1]), dim=1)
        before, code = place // size, place % size
        prefixes = torch.cat([prefixes.gather(1, before[:, :, None].expand(-1, -1, level)), code[:, :, None]], dim=2)
    return prefixes


def _items(total: Tensor, trie: CodeTrie, nodes: Tensor, width: int, hidden: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the best products among the allowed continuations of the last level."""
    level, size = len(trie.sizes) - 1, trie.sizes[-1]
    kept = min(
        total.shape[1], width + (0 if hidden is None else hidden.shape[1])
    )  # enough when all hidden ones stand in front
    scores, place = total.topk(kept, dim=1)
    leaves = trie.step(nodes.gather(1, place // size), place % size, level)
    items = torch.where(torch.isfinite(scores), trie.items[leaves.clamp(min=0)], -1)
    if hidden is not None:
        scores = scores.masked_fill((items[:, :, None] == hidden[:, None, :]).any(dim=2) | (items < 0), -torch.inf)
    items = items.masked_fill(~torch.isfinite(scores), -1)
    by_number = items.argsort(dim=1, stable=True)
    items, scores = items.gather(1, by_number), scores.gather(1, by_number)
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :width]
    return items.gather(1, order), scores.gather(1, order)
