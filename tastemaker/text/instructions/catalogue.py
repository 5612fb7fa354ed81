"""What a shop says, as plain texts: for continued pre-training of a language model on one shop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tastemaker.text.render import history_text, item_names, item_texts

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset

HISTORY = 20
"""Newest purchases of a shopper that a text names."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Texts of products and of training histories.

    Attributes:
        texts: one a product, then one a shopper with two purchases and more: what was bought, oldest first.
        held_out: texts of other products, which no text above names.
    """

    texts: tuple[str, ...]
    held_out: tuple[str, ...]

    @classmethod
    def of(cls, train: Dataset, *, held_out: float = 0.0, seed: int = 0) -> Catalogue:
        """Write the texts.

        Args:
            train: catalogue and training interactions; nothing else is looked at.
            held_out: share of the products that are kept aside, to measure what was learnt.
            seed: decides which.
        """
        texts, names = item_texts(train.items), item_names(train.items)
        told = np.array([bool(text) for text in texts])
        drawn = np.random.default_rng(seed).permutation(np.flatnonzero(told))
        aside = np.zeros(len(texts), dtype=bool)
        aside[drawn[: int(held_out * len(drawn))]] = True
        secret = {texts[item] for item in np.flatnonzero(aside)}  # the same text may be another product's too
        hidden = np.array([text in secret for text in texts])
        products = [text for text, shown in zip(texts, told & ~hidden, strict=True) if shown]
        histories = [history[~hidden[history]][-HISTORY:] for history in train.queries()]
        shoppers = [
            f"Bought by one shopper, oldest first: {history_text([names[item] for item in history])}"
            for history in histories
            if len(history) > 1
        ]
        return cls((*products, *shoppers), tuple(texts[item] for item in np.flatnonzero(aside)))
