"""Text vectors that measures of diversity use: the same for every model, whatever the model itself reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tastemaker.models.parts.texts.text_vectors import encoder_or_default, item_vectors
from tastemaker.progress import silent
from tastemaker.text.render import item_texts

if TYPE_CHECKING:
    from tastemaker.data.entities import Entities
    from tastemaker.types import Float32


def text_vectors(items: Entities) -> Float32 | None:
    """Return tfidf vectors of the product texts, [n, d]; None where no product has a text."""
    if not any(item_texts(items)):
        return None
    return item_vectors(items, encoder_or_default(None), model="measures", progress=silent)
