"""(History, next product) as pairs of texts, batch by batch, for models that tune an encoder of texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tastemaker.data.join import shop_names
from tastemaker.data.queries import Queries
from tastemaker.errors import DataError
from tastemaker.text.render import item_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tastemaker.data.entities import Entities
    from tastemaker.types import Int64


@dataclass(frozen=True, slots=True)
class Titles:
    """The distinct texts of a catalogue; of joined shops, those of each shop.

    Attributes:
        texts: each once for each shop, none blank.
        of_item: row of each item's text among them, -1 for an item without, int64 [n].
        shops: number of each text's shop, in order of the catalogue; all 0 for a catalogue of one shop, int64 [t].
    """

    texts: list[str]
    of_item: Int64
    shops: Int64

    def asked(self, queries: Queries) -> Queries:
        """Return the same histories as rows of texts; items without a text are left out."""
        rows = self.of_item[queries.items]
        offsets = np.concatenate([[0], np.cumsum(rows >= 0)])[queries.offsets]
        return Queries(offsets, rows[rows >= 0].astype(np.int32))


@dataclass(frozen=True, slots=True)
class Step:
    """What one training step asks: p pairs over u texts. All but `texts` and `refreshed` count among `texts`.

    Attributes:
        texts: rows of the texts that take part, in order, [u].
        refreshed: rows of those that are encoded anew, [m].
        histories: the newest one first, -1 behind the oldest, [p, L].
        targets: [p].
        own: pairs and texts that are no negatives, as the shopper bought them too, two arrays of equal length.
    """

    texts: Int64
    refreshed: Int64
    histories: Int64
    targets: Int64
    own: tuple[Int64, Int64]


def titles_of(items: Entities, *, model: str) -> Titles:
    """Return the distinct texts of a catalogue.

    Raises:
        DataError: no product has a text.
    """
    told = list(zip(shop_names(items.frame), item_texts(items), strict=True))
    rows = {pair: row for row, pair in enumerate(dict.fromkeys(pair for pair in told if pair[1].strip()))}
    if not rows:
        raise DataError(f"{model}: no item has a title or another text; give items with texts, or use another model")
    numbers = {shop: number for number, shop in enumerate(dict.fromkeys(shop for shop, _ in rows))}
    shops = np.array([numbers[shop] for shop, _ in rows], dtype=np.int64)
    return Titles([text for _, text in rows], np.array([rows.get(pair, -1) for pair in told], dtype=np.int64), shops)


def steps(
    histories: Queries,
    shops: Int64,
    *,
    size: int,
    most: int,
    max_length: int,
    negatives: int,
    refreshed: int,
    rng: np.random.Generator,
) -> Iterator[Step]:
    """Yield the steps of one epoch: every purchase but a shopper's first is a target once, in random order.

    Only texts of products that somebody bought take part: the others could never be targets, and as negatives in every
    step they, and all texts like them, would be pushed away. A step asks in one shop: products of others would be told
    apart by what the shops sell, which is no lesson for another shop.

    Args:
        histories: rows of texts of each shopper, see `Titles.asked`.
        shops: number of each text's shop, [t]; see `Titles.shops`.
        size: pairs in a step; the last one may be smaller.
        most: pairs in an epoch; of more, so many are drawn.
        max_length: L, newest purchases before a target that are read.
        negatives: random texts in each step beside those of its pairs.
        refreshed: texts that are encoded anew in each step, all in turn.
        rng: of all that is drawn.
    """
    starts, n_texts = histories.offsets[:-1][histories.rows], len(shops)
    places = rng.permutation(np.flatnonzero(np.arange(len(histories.items)) > starts))[:most]
    owned, known = histories.matrix(n_texts), np.unique(histories.items)
    of_shop = {shop: known[shops[known] == shop] for shop in np.unique(shops[known])}
    asked = _by_shop(places, shops[histories.items[places]], size)
    turns = {
        shop: np.resize(rng.permutation(texts), refreshed * sum(number == shop for number, _ in asked))
        for shop, texts in of_shop.items()
    }
    rng.shuffle(asked)
    column, taken = np.full(n_texts, -1, dtype=np.int64), dict.fromkeys(of_shop, 0)
    for shop, here in asked:
        before = here[:, None] - 1 - np.arange(max_length)  # [p, L]
        real = before >= starts[here][:, None]
        read, targets = histories.items[np.maximum(before, 0)], histories.items[here]
        fresh = np.unique(turns[shop][taken[shop] : taken[shop] + refreshed])
        taken[shop] += refreshed
        drawn = rng.choice(of_shop[shop], min(negatives, len(of_shop[shop])), replace=False)
        texts = np.unique(np.concatenate([fresh, drawn, read[real], targets])).astype(np.int64)
        column[:] = -1
        column[texts] = np.arange(len(texts))
        bought = owned[histories.rows[here]].tocoo()
        mine = (column[bought.col] >= 0) & (bought.col != targets[bought.row])
        yield Step(
            texts,
            fresh,
            np.where(real, column[read], -1),
            column[targets],
            (bought.row[mine].astype(np.int64), column[bought.col[mine]]),
        )


def _by_shop(places: Int64, shops: Int64, size: int) -> list[tuple[int, Int64]]:
    """Cut places into pieces of one shop each, at most `size` long; each with its shop's number."""
    return [
        (int(shop), own[at : at + size])
        for shop in np.unique(shops)
        for own in [places[shops == shop]]
        for at in range(0, len(own), size)
    ]
