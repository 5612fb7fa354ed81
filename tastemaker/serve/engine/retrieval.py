"""The first stage of a pipeline, asked many questions at once.

A model whose scores are inner products (`abilities.Embedding`) is asked for the vectors of queries only; items are
found by one product of matrices in single precision, or by an index for large catalogues. Any other model is asked as
it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from tastemaker.abilities import Embedding
from tastemaker.data.queries import Queries
from tastemaker.data.ranking import Ranking, only, top_k

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tastemaker.recommender import Recommender
    from tastemaker.serve.engine.index import Index
    from tastemaker.types import Bool, Float32, Int32

NOBODY = -1


@dataclass(slots=True)
class Question:
    """What one request wants of the retriever.

    Attributes:
        history: item numbers, oldest first.
        width: items wanted.
        wish: words of a wish, "" for none.
        user: number of the shopper among those the model was fitted on, -1 for none of them.
        allowed: items that may be listed, [n]; None for all.
        offered: the only items to rank, the caller's candidates; None for the catalogue.
        seen: whether items of the history may be listed.
        vector: what the history points at as an earlier answer gave it; None where it must be computed.
    """

    history: Int32
    width: int
    wish: str = ""
    user: int = NOBODY
    allowed: Bool | None = None
    offered: Int32 | None = None
    seen: bool = False
    vector: Vector | None = None


@dataclass(frozen=True, slots=True)
class Vector:
    """What a query points at, [d], and whether it says anything."""

    values: Float32
    known: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What the retriever found, best first, without padding.

    Attributes:
        items: item numbers, int32 [at most width].
        scores: float32, as long.
        vector: of the query, to be kept; None where the model has none.
    """

    items: Int32
    scores: Float32
    vector: Vector | None = None


class Retriever:
    """Answers questions to one fitted recommender, which stays as it is.

    Attributes:
        index: finds items near a vector without looking at all of them; None looks at all of them.
    """

    def __init__(self, model: Recommender) -> None:
        self.model = model
        self.index: Index | None = None
        self._embedding = model if isinstance(model, Embedding) else None
        if self._embedding is not None:
            table, self._rankable = self._embedding.item_vectors()
            self.table = np.ascontiguousarray(table, dtype=np.float32)
            self._all_rankable = bool(self._rankable.all())
            self._scores = np.empty((0, len(table)), dtype=np.float32)
            self._lock = Lock()

    @property
    def embeds(self) -> bool:
        """Whether the model's scores are inner products of vectors."""
        return self._embedding is not None

    def make_index(self, folder: Path | None, *, probes: int) -> None:
        """Build the index of the items' vectors, or read it from `folder`; without faiss the whole is searched."""
        try:
            from tastemaker.serve.engine.index import Index
        except ModuleNotFoundError:
            return
        self.index = Index.kept(folder, self.table, self._rankable, probes=probes)

    def answer(self, questions: Sequence[Question]) -> list[Found]:
        """Answer all questions, in their order."""
        if self._embedding is None:
            return self._ask_model(questions)
        vectors = self.vectors(questions)
        found: list[Found | None] = [None] * len(questions)
        exact = [row for row, question in enumerate(questions) if question.offered is None]
        if self.index is not None and exact:
            exact = self._by_index(self.index, questions, vectors, exact, found)
        if exact:
            with self._lock:  # the memory for scores is one
                self._by_product(questions, vectors, exact, found)
        for row, question in enumerate(questions):
            if question.offered is not None:
                found[row] = self._among(question, vectors[row], question.offered)
        return [one for one in found if one is not None]

    def vectors(self, questions: Sequence[Question]) -> list[Vector]:
        """Return the vector of each question; those that are given stay."""
        if self._embedding is None:
            raise TypeError(f"{self.model.name} has no vectors")
        new = [row for row, question in enumerate(questions) if question.vector is None]
        vectors = [question.vector for question in questions]
        if new:
            values, known = self._embedding.query_vectors(_queries([questions[row] for row in new]))
            for place, row in enumerate(new):
                vectors[row] = Vector(values[place].copy(), bool(known[place]))  # it may outlive the others
        return [vector for vector in vectors if vector is not None]

    def _by_product(
        self, questions: Sequence[Question], vectors: Sequence[Vector], rows: Sequence[int], found: list[Found | None]
    ) -> None:
        """Score all items for the questions at `rows` in one product, in memory that is used again."""
        if len(self._scores) < len(rows):
            self._scores = np.empty((len(rows), len(self.table)), dtype=np.float32)
        scores = self._scores[: len(rows)]
        np.matmul(np.stack([vectors[row].values for row in rows]), self.table.T, out=scores)
        if not self._all_rankable:
            scores[:, ~self._rankable] = -np.inf
        for line, row in enumerate(rows):
            question = questions[row]
            if not vectors[row].known:
                scores[line] = -np.inf
                continue
            if question.allowed is not None:
                scores[line, ~question.allowed] = -np.inf
            if not question.seen and len(question.history):
                scores[line, question.history] = -np.inf
        ranking = top_k(scores, max(questions[row].width for row in rows))
        for line, row in enumerate(rows):
            found[row] = _trimmed(ranking.items[line], ranking.scores[line], questions[row].width, vectors[row])

    def _by_index(
        self,
        index: Index,
        questions: Sequence[Question],
        vectors: Sequence[Vector],
        rows: Sequence[int],
        found: list[Found | None],
    ) -> list[int]:
        """Find items by index; return the rows that have to be answered by the product."""
        left, plain = [], []
        for row in rows:
            question, vector = questions[row], vectors[row]
            if not vector.known:
                found[row] = Found(np.empty(0, np.int32), np.empty(0, np.float32), vector)
            elif question.allowed is None:
                plain.append(row)
            elif np.count_nonzero(question.allowed) <= index.few:
                found[row] = self._among(question, vector, np.flatnonzero(question.allowed).astype(np.int32))
            else:
                left.append(row)
        if plain:
            hidden = [np.empty(0, np.int32) if questions[row].seen else questions[row].history for row in plain]
            width = max(questions[row].width + len(own) for row, own in zip(plain, hidden, strict=True))
            items, scores = index.search(np.stack([vectors[row].values for row in plain]), width)
            for line, row in enumerate(plain):
                keep = (items[line] >= 0) & ~np.isin(items[line], hidden[line])
                found[row] = _trimmed(items[line][keep], scores[line][keep], questions[row].width, vectors[row])
        return left

    def _among(self, question: Question, vector: Vector, offered: Int32) -> Found:
        """Rank a few items."""
        keep = self._rankable[offered] & (question.allowed[offered] if question.allowed is not None else True)
        if not question.seen:
            keep &= ~np.isin(offered, question.history)
        offered = offered[keep]
        if not vector.known or not len(offered):
            return Found(np.empty(0, np.int32), np.empty(0, np.float32), vector)
        scores = self.table[offered] @ vector.values
        order = np.lexsort((offered, -scores))[: question.width]
        return Found(offered[order], scores[order], vector)

    def _ask_model(self, questions: Sequence[Question]) -> list[Found]:
        """Ask a model that has no vectors: what is not restricted together, the rest one by one."""
        found: list[Found | None] = [None] * len(questions)
        for seen in (False, True):
            rows = [row for row, one in enumerate(questions) if not _restricted(one) and one.seen == seen]
            if rows:
                width = max(questions[row].width for row in rows)
                ranking = self.model.rank(_queries([questions[row] for row in rows]), width, seen=seen)
                for line, row in enumerate(rows):
                    found[row] = _trimmed(ranking.items[line], ranking.scores[line], questions[row].width, None)
        for row, question in enumerate(questions):
            if _restricted(question):
                ranking = self.model.rank(
                    _queries([question]), question.width, candidates=_candidates(question), seen=question.seen
                )
                found[row] = _trimmed(ranking.items[0], ranking.scores[0], question.width, None)
        return [one for one in found if one is not None]


def _restricted(question: Question) -> bool:
    return question.allowed is not None or question.offered is not None


def _candidates(question: Question) -> Ranking:
    """Return the only items that a question wants ranked."""
    if question.offered is None:
        assert question.allowed is not None  # see `_restricted`
        return only(question.allowed, 1)
    offered = question.offered if question.allowed is None else question.offered[question.allowed[question.offered]]
    if not len(offered):
        return Ranking(np.full((1, 1), -1, np.int32), np.full((1, 1), -np.inf, np.float32))
    return Ranking(offered[None, :].astype(np.int32), -np.arange(len(offered), dtype=np.float32)[None, :])


def _queries(questions: Sequence[Question]) -> Queries:
    texts = [question.wish for question in questions] if any(question.wish for question in questions) else None
    users = np.array([question.user for question in questions], dtype=np.int32)
    return Queries.from_lists([question.history for question in questions], texts=texts, users=users)


def _trimmed(items: Int32, scores: Float32, width: int, vector: Vector | None) -> Found:
    length = min(width, int(np.count_nonzero(items >= 0)))
    return Found(items[:length].copy(), scores[:length].copy(), vector)
