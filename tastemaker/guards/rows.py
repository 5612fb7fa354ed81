"""Interactions in words, for messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tastemaker.data.splits import Split
    from tastemaker.types import Int32, Int64


def in_words(split: Split, users: Int64 | Int32, items: Int64 | Int32, *, questions: Int64 | None = None) -> list[str]:
    """Name interactions by user id and item id; an unknown user by the number of the question."""
    named = split.train.users.ids(np.maximum(users, 0).astype(np.int32))
    products = split.train.items.ids(items.astype(np.int32))
    asked = np.full(len(users), -1) if questions is None else questions
    return [
        f"user {name!r}, item {product!r}" if user >= 0 else f"question {question}, item {product!r}"
        for name, product, user, question in zip(named, products, users, asked, strict=True)
    ]
