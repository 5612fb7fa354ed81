"""What the table of users says of each shopper, as vectors, for models that read it beside the history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tastemaker.errors import DataError
from tastemaker.text.render import user_texts

if TYPE_CHECKING:
    from tastemaker.data.entities import Entities
    from tastemaker.encoders.base import Encoder
    from tastemaker.progress import Progress
    from tastemaker.types import Float32


def shopper_vectors(users: Entities, encoder: Encoder, *, model: str, progress: Progress, fit: bool) -> Float32:
    """Return the vectors of what is known of each shopper, [n_users, t]; zeros where that is nothing.

    Args:
        users: the shoppers.
        encoder: of words about people, not about products.
        model: whose name an error begins with.
        progress: shown over batches.
        fit: whether the encoder learns from these texts first; a network that was trained with it needs it as it is.

    Raises:
        DataError: nothing is known of anybody.
    """
    texts = user_texts(users)
    if not any(texts):
        raise DataError(
            f"{model}: shopper_texts = true, but the table of users says nothing of any shopper; "
            "give it a column that describes them, or set shopper_texts = false"
        )
    if fit:
        encoder.fit(texts)
    vectors = np.array(encoder.encode(texts, kind="document", progress=progress))
    vectors[[not text for text in texts]] = 0
    return vectors
