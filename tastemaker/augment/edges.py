"""Synthetic interactions for cold products: buyers picked among the shoppers whose purchases read most alike.

For each cold product, `shoppers` shoppers are retrieved by the cosine of the product's text vector and the mean of
their training purchases' vectors. Of these the language model picks buyers, or the `picked` most similar ones are
taken. Nobody else can be named, and nothing but the training part is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tastemaker.models.parts.texts.text_vectors import item_vectors, mean_vectors
from tastemaker.progress import Progress, silent
from tastemaker.text.render import item_names

if TYPE_CHECKING:
    from tastemaker.augment.settings import AugmentConfig
    from tastemaker.data.dataset import Dataset
    from tastemaker.encoders.base import Encoder
    from tastemaker.text.shopper_picker import ShopperPicker
    from tastemaker.types import Int32

RECENCY = 0.6
"""Weight of a purchase for each step back, as in `text_knn`."""


@dataclass(frozen=True, slots=True)
class Edges:
    """Proposed interactions.

    Attributes:
        users: user numbers, [s].
        items: item numbers, [s]; all cold.
        cold: how many products are cold.
        asked: how many of them have a text, and were looked at.
    """

    users: Int32
    items: Int32
    cold: int
    asked: int


def propose(
    train: Dataset,
    encoder: Encoder,
    config: AugmentConfig,
    *,
    picker: ShopperPicker | None = None,
    progress: Progress = silent,
) -> Edges:
    """Propose buyers of cold products.

    Args:
        train: what is known.
        encoder: of texts; it is fitted on the catalogue.
        config: see there.
        picker: asks a language model; None takes the most similar shoppers.
        progress: shown over the products.

    Raises:
        DataError: no product has a text.
    """
    cold = np.flatnonzero(train.popularity < config.cold_below)
    names = item_names(train.items)
    vectors = item_vectors(train.items, encoder, model="augment", progress=progress)
    wanted = [int(item) for item in cold if vectors[item].any()]
    if config.most is not None:
        wanted = wanted[: config.most]
    histories = train.queries()
    buyers = np.flatnonzero(histories.lengths > 0)
    bought = train.matrix().tocsc()
    tastes = mean_vectors(histories.take(buyers).matrix(train.n_items, recency=RECENCY), vectors)  # [buyers, d]
    users: list[int] = []
    items: list[int] = []
    for item in progress(wanted, label="picking buyers of cold products"):
        alike = tastes @ vectors[item]
        alike[np.isin(buyers, bought.indices[bought.indptr[item] : bought.indptr[item + 1]])] = -np.inf
        best = [row for row in np.argsort(-alike, kind="stable")[: config.shoppers] if alike[row] > 0]
        if not best:
            continue
        places = list(range(len(best)))[: config.picked]
        if picker is not None:
            shown = [[names[other] for other in histories.history(int(buyers[row]))] for row in best]
            places = picker.pick(names[item], shown, count=min(config.picked, len(best)))
        users += [int(buyers[best[place]]) for place in places]
        items += [item] * len(places)
    return Edges(np.array(users, dtype=np.int32), np.array(items, dtype=np.int32), len(cold), len(wanted))
