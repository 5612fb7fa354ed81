"""For tests of tastemaker and of plug-ins: toy shops, fakes, and the contract that every recommender has to keep.

Use the contract by inheriting it:

    class TestMine(RecommenderContract):
        def make(self):
            return Mine(encoder=HashEncoder())
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tastemaker import artifact
from tastemaker.data.dataset import Dataset
from tastemaker.data.entities import Entities
from tastemaker.data.queries import Queries
from tastemaker.data.ranking import Ranking
from tastemaker.encoders.base import Encoder, Kind
from tastemaker.errors import ArtifactError, DataError, NotFitted
from tastemaker.lm.scripted import GARBLED, ScriptedChoiceLM, ScriptedLM
from tastemaker.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tastemaker.recommender import Recommender
    from tastemaker.types import Float32

__all__ = [
    "GARBLED",
    "HashEncoder",
    "RecommenderContract",
    "ScriptedChoiceLM",
    "ScriptedLM",
    "checkerboard",
    "tiny_shop",
]


def checkerboard(size: int = 20) -> Dataset:
    """Return shoppers and products of two tastes: shopper u buys every product of u's parity but product u.

    A right model names product u first for shopper u: it is the one that all like-minded shoppers have (the toy of the
    library implicit). Titles name the taste, so content-based models can find it too.
    """
    rows = [(f"u{user}", f"i{item}") for user in range(size) for item in range(user % 2, size, 2) if item != user]
    words = ("lavender hand cream soothing skin", "cordless drill steel screw")
    items = pl.DataFrame(
        {
            "item_id": [f"i{item}" for item in range(size)],
            "title": [f"{words[item % 2]} {item}" for item in range(size)],
            "categories": [[("Beauty", "Tools")[item % 2]] for item in range(size)],
        }
    )
    log = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")
    return Dataset.from_frames(log, items)


def tiny_shop(*, users: int = 60, items: int = 40, seed: int = 0) -> Dataset:
    """Return a random shop with repeats, an item without text, items that nobody bought, ratings and times."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 12, users)
    popularity = 1.0 / np.arange(1, items - 2)
    bought = rng.choice(items - 3, size=lengths.sum(), p=popularity / popularity.sum())
    log = pl.DataFrame(
        {
            "user_id": np.repeat([f"u{user:03}" for user in range(users)], lengths),
            "item_id": [f"i{item:03}" for item in bought],
            "timestamp": 1_600_000_000 + np.arange(lengths.sum()) * 3600,
            "rating": rng.integers(1, 6, lengths.sum()).astype(np.float32),
        }
    )
    kinds, brands = ["soap", "shampoo", "brush", "perfume"], ["Acme", "Bolt", "Cosy"]
    catalogue = pl.DataFrame(
        {
            "item_id": [f"i{item:03}" for item in range(items)],
            "title": [None if item == 0 else f"{kinds[item % 4]} number {item}" for item in range(items)],
            "brand": [brands[item % 3] for item in range(items)],
            "categories": [["Beauty", kinds[item % 4]] for item in range(items)],
            "price": [None if item == 1 else 1.5 + item for item in range(items)],
        }
    )
    return Dataset.from_frames(log, catalogue)


class HashEncoder(Encoder):
    """A deterministic encoder without a model: each word adds a pseudo-random direction. For tests only."""

    name = "hash"
    dim = 64

    def encode(self, texts: Sequence[str], *, kind: Kind, progress: Progress = silent) -> Float32:
        """Return the normalised sum of the words' directions, [n, 64]."""
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                digest = hashlib.sha256(word.encode()).digest()
                vectors[row] += np.random.default_rng(int.from_bytes(digest[:8], "little")).standard_normal(self.dim)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0), dtype=np.float32)


class RecommenderContract:
    """What every recommender must keep; a test class inherits this and overrides `make`."""

    finds_the_held_out_item = True
    """Whether the model can solve the checkerboard: popularity, for one, cannot."""

    def make(self) -> Recommender:
        """Return a fresh, unfitted recommender."""
        raise NotImplementedError

    def _ask(self, model: Recommender, queries: Queries, k: int, *, seen: bool = False) -> Ranking:
        """Ask for a list; a model that only re-ranks gets the whole catalogue as candidates, in number order."""
        if model.retrieves:
            return model.rank(queries, k, seen=seen)
        numbers = np.arange(len(model.items), dtype=np.int32)
        offered = Ranking(np.tile(numbers, (len(queries), 1)), np.tile(-numbers.astype(np.float32), (len(queries), 1)))
        return model.rank(queries, k, candidates=offered, seen=seen)

    def test_unfitted_says_so(self) -> None:
        """An unfitted model refuses to answer."""
        try:
            self._ask(self.make(), Queries.from_lists([[0]]), 3)
        except NotFitted:
            return
        raise AssertionError("an unfitted model answered")

    def test_shape_types_and_order(self) -> None:
        """[B, k] int32 and float32, best first, ties by number, padding at the end, no item twice."""
        data = tiny_shop()
        ranking = self._ask(self.make().fit(data), data.queries(), 7)
        assert ranking.items.shape == ranking.scores.shape == (data.n_users, 7)
        assert ranking.items.dtype == np.int32
        assert ranking.scores.dtype == np.float32
        for items, scores in zip(ranking.items, ranking.scores, strict=True):
            real = items[items >= 0]
            assert (items[: len(real)] >= 0).all(), "padding stands before an item"
            assert np.isneginf(scores[len(real) :]).all()
            assert len(set(real.tolist())) == len(real), "an item is listed twice"
            assert (np.diff(scores[: len(real)]) <= 0).all(), "scores rise along a list"
            ties = np.diff(scores[: len(real)]) == 0
            assert (np.diff(real)[ties] > 0).all(), "ties are not in number order"

    def test_nothing_seen_is_listed(self) -> None:
        """Items of the history are masked unless asked for."""
        data = tiny_shop()
        queries = data.queries()
        ranking = self._ask(self.make().fit(data), queries, data.n_items)
        assert (ranking.items >= 0).any(), "nothing is listed at all"
        for row in range(len(queries)):
            assert not np.isin(ranking.items[row], queries.history(row)).any()

    def test_batch_equals_single(self) -> None:
        """The answer to a query does not depend on the others."""
        data = tiny_shop()
        model = self.make().fit(data)
        queries = data.queries()
        together = self._ask(model, queries, 5)
        for row in range(len(queries)):
            alone = self._ask(model, queries.take([row]), 5)
            assert (alone.items[0] == together.items[row]).all()
            np.testing.assert_allclose(alone.scores[0], together.scores[row], rtol=1e-4, atol=1e-6)

    def test_more_than_the_catalogue_pads(self) -> None:
        """K beyond the catalogue gives padded rows, never an invented item."""
        data = tiny_shop()
        ranking = self._ask(self.make().fit(data), data.queries(), data.n_items + 5)
        assert ranking.items.shape == (data.n_users, data.n_items + 5)
        assert ranking.items.max() < data.n_items
        assert (ranking.items[:, -5:] == -1).all()

    def test_candidates_are_obeyed(self) -> None:
        """With candidates, only they are ranked."""
        data = tiny_shop()
        model = self.make().fit(data)
        offered = Ranking(
            np.tile(np.array([5, 9, 2, 30, -1], np.int32), (data.n_users, 1)),
            np.tile(np.array([5, 4, 3, 2, -np.inf], np.float32), (data.n_users, 1)),
        )
        ranking = model.rank(data.queries(), 5, candidates=offered, seen=True)
        assert np.isin(ranking.items, [5, 9, 2, 30, -1]).all()
        assert (ranking.items >= 0).any(), "nothing is listed at all"

    def test_checkerboard(self) -> None:
        """The held-out product of one's own taste is found."""
        if not self.finds_the_held_out_item:
            return
        data = checkerboard()
        ranking = self._ask(self.make().fit(data), data.queries(), 1)
        found = (ranking.items[:, 0] == np.arange(data.n_users)).mean()
        assert found == 1.0, f"found {found:.0%} of the held-out items"

    def test_same_seed_same_bits(self) -> None:
        """Fitting twice with one seed gives equal answers."""
        data = tiny_shop()
        first, second = (self._ask(self.make().fit(data, seed=3), data.queries(), 5) for _ in range(2))
        assert first.items.tobytes() == second.items.tobytes()
        assert first.scores.tobytes() == second.scores.tobytes()

    def _save(self, model: Recommender, folder: Path) -> None:
        """Write the model's state as an artifact."""
        artifact.write(folder, {"model": model.name}, model.arrays(), {"items": model.items.frame})

    def _load(self, folder: Path) -> Recommender:
        """Give a saved state to a fresh model."""
        _, arrays, frames = artifact.read(folder)
        return self.make().attach(Entities(frames["items"]), arrays)

    def test_save_and_load_give_equal_bits(self, tmp_path: Path) -> None:
        """A loaded model answers as the saved one."""
        data = tiny_shop()
        model = self.make().fit(data)
        self._save(model, tmp_path / "model")
        before, after = (self._ask(one, data.queries(), 5) for one in (model, self._load(tmp_path / "model")))
        assert before.items.tobytes() == after.items.tobytes()
        assert before.scores.tobytes() == after.scores.tobytes()

    def test_altered_byte_is_refused(self, tmp_path: Path) -> None:
        """A saved model with one changed byte does not load."""
        self._save(self.make().fit(tiny_shop()), tmp_path / "model")
        file = tmp_path / "model" / artifact.ARRAYS
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(bytes(content))
        try:
            self._load(tmp_path / "model")
        except ArtifactError:
            return
        raise AssertionError("an altered model was loaded")

    def test_empty_history(self) -> None:
        """Without a history a model abstains, or answers if it says that it can."""
        data = tiny_shop()
        model = self.make().fit(data)
        ranking = self._ask(model, Queries.from_lists([[], [3]]), 5)
        assert model.answers_empty_history == bool((ranking.items[0] >= 0).any())

    def test_train_data_stay_unchanged(self) -> None:
        """Fitting and ranking leave the data as they were."""
        data = tiny_shop()
        before = data.fingerprint
        self._ask(self.make().fit(data), data.queries(), 5)
        assert data.with_log(data.log).fingerprint == before

    def test_unknown_item_numbers_are_refused(self) -> None:
        """A history beyond the catalogue is the caller's mistake."""
        data = tiny_shop()
        model = self.make().fit(data)
        for bad, k in ((Queries.from_lists([[data.n_items]]), 5), (Queries.from_lists([[1]]), 0)):
            try:
                self._ask(model, bad, k)
            except DataError:
                continue
            raise AssertionError("an impossible query was answered")
