"""What products say, as vectors: finds products by words, also those that nobody has bought and the model never saw.

Where the model's first stage compares texts itself (`text_knn`), it is this index, and new products compete with the
others by score. Otherwise a `text_knn` of the catalogue's texts stands beside the model, by the encoder of one of its
stages if that was fitted, else by TF-IDF.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tastemaker.data.entities import Entities
from tastemaker.data.queries import Queries
from tastemaker.errors import DataError
from tastemaker.explain import Explainer
from tastemaker.models.content.text_knn import TextKNN
from tastemaker.models.parts.texts.text_vectors import encoded_items
from tastemaker.progress import silent
from tastemaker.serve.engine.retrieval import Retriever, Vector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.pipeline import Pipeline
    from tastemaker.serve.engine.shelf import Shelf
    from tastemaker.types import Float32, Int32


@dataclass(frozen=True, slots=True)
class New:
    """Products that the model does not know, by what they say.

    Attributes:
        numbers: on the shelf, int32 [m].
        vectors: unit vectors of their texts, zeros for none, [m, d].
    """

    numbers: Int32
    vectors: Float32

    def vectors_of(self, numbers: Sequence[int]) -> Float32:
        """Return the vectors of some of them, [k, d]."""
        rows = {int(number): row for row, number in enumerate(self.numbers)}
        return self.vectors[[rows[number] for number in numbers if number in rows]]


class Texts:
    """The text index of a catalogue.

    Args:
        model: ranks the catalogue by its texts.
        own: whether that is the first stage of the pipeline itself.
        retriever: asks the model; None makes one.
    """

    def __init__(self, model: TextKNN, *, own: bool, retriever: Retriever | None = None) -> None:
        self.model, self.own = model, own
        self.retriever = retriever or Retriever(model)
        self._encoded: dict[str, tuple[str, Float32]] = {}

    @classmethod
    def of(cls, pipeline: Pipeline, retriever: Retriever) -> Texts | None:
        """Return the index of a pipeline's catalogue; None where no product has a text. It may take its time.

        Args:
            pipeline: the model.
            retriever: asks its first stage.
        """
        first = pipeline.stages[0].recommender
        if isinstance(first, TextKNN):
            return cls(first, own=True, retriever=retriever)
        for stage in pipeline.stages:
            if isinstance(stage.recommender, TextKNN):
                return cls(stage.recommender, own=False)
        try:
            return cls(TextKNN.of_catalogue(pipeline.items), own=False)
        except DataError:
            return None

    @property
    def nothing(self) -> New:
        """No new product."""
        return New(np.empty(0, np.int32), np.empty((0, self.model.vectors.shape[1]), np.float32))

    @cached_property
    def explainer(self) -> Explainer:
        """Gives reasons for products found by their texts; made at first use, which takes its time."""
        return Explainer(self.model)

    def new_on(self, shelf: Shelf) -> New:
        """Return the new products of a shelf; a text is encoded once for as long as it does not change."""
        if not shelf.new:
            return self.nothing
        first = len(shelf.items)
        numbers = [first + row for row in range(len(shelf.new))]
        frame = shelf.frame_of(numbers)
        signs = [repr(row) for row in frame.rows()]
        stale = [
            row for row, item_id in enumerate(shelf.new) if self._encoded.get(item_id, ("", None))[0] != signs[row]
        ]
        if stale:
            try:
                found = encoded_items(Entities(frame[stale]), self.model.encoder, model="texts", progress=silent)
            except DataError:  # none of them has a text
                found = np.zeros((len(stale), self.nothing.vectors.shape[1]), dtype=np.float32)
            for row, vector in zip(stale, found, strict=True):
                self._encoded[shelf.new[row]] = (signs[row], vector)
        self._encoded = {item_id: self._encoded[item_id] for item_id in shelf.new}  # what was taken out is forgotten
        vectors = np.stack([self._encoded[item_id][1] for item_id in shelf.new])
        return New(np.asarray(numbers, dtype=np.int32), vectors)

    def profile(self, history: Int32, later: Float32, wish: str) -> Vector:
        """Return what a shopper and a wish read like.

        Args:
            history: products that the model knows, oldest first.
            later: vectors of products that it does not know, [k, d], newer than those.
            wish: words of a wish, "" for none.
        """
        if not len(later):
            values, known = self.model.query_vectors(Queries.from_lists([history], texts=[wish] if wish else None))
            return Vector(values[0], bool(known[0]))
        recency, weight = self.model.config.recency, self.model.config.wish_weight
        rows = np.concatenate([self.model.vectors[history], later])
        profile = recency ** np.arange(len(rows))[::-1] @ rows
        profile = profile / (np.linalg.norm(profile) or 1.0)
        if wish:
            wished = self.model.encoder.encode([wish], kind="query")[0]
            if wished.any():
                profile = (1 - weight) * profile + weight * wished
                profile = profile / (np.linalg.norm(profile) or 1.0)
        return Vector(profile.astype(np.float32), bool(profile.any()))

    def explainer_of(self, shelf: Shelf, numbers: Sequence[int], vectors: Float32) -> Explainer:
        """Return an explainer of a few products of a shelf, numbered as given: some of them are new."""
        items = Entities(shelf.frame_of(numbers))
        return Explainer(TextKNN.of_vectors(items, vectors, encoder=self.model.encoder))
