"""The recommender contract: `fit` on a data set, then `rank` histories. Retrieval and re-ranking are one verb."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from tastemaker.configurable import Configurable
from tastemaker.data.ranking import Ranking, sort_lists, top_k, top_k_sparse
from tastemaker.errors import ArtifactError, ConfigError, DataError, NotFitted
from tastemaker.progress import Progress, silent

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.data.queries import Queries
    from tastemaker.data.splits import Holdout
    from tastemaker.encoders.base import Encoder
    from tastemaker.lm.base import LanguageModel
    from tastemaker.types import Float32, Int32

CHUNK_BYTES = 64 * 2**20
"""Size of one dense block of scores; ranking block by block keeps memory flat in the number of users."""
CHECKPOINT = ".checkpoint"
"""How the names of checkpoint files end."""


@dataclass(frozen=True, slots=True)
class Aids:
    """What fitting may use beside the training data.

    Attributes:
        validation: questions that may end training early; None where there are none.
        keep_choices: whether to keep what the last fit chose on validation, such as the number of epochs.
        folder: where a training that takes long keeps checkpoints; None keeps none.
        device: where networks are trained, as torch names it: "cpu", "cuda", "cuda:1".
        threads: of the processor while networks are trained; "measure" tries which number is quickest, None leaves it.
        on_epoch: called after each epoch with the name of the part and its entry of the learning curve; what it raises
            ends the training.
        part: place of the model among the parts of a pipeline, e.g. "0/2/".
        epochs: by part, where an earlier training of it chose how many.
    """

    validation: Holdout | None = None
    keep_choices: bool = False
    folder: Path | None = None
    device: str = "cpu"
    threads: int | Literal["measure"] | None = None
    on_epoch: Callable[[str, Mapping[str, float]], None] | None = None
    part: str = ""
    epochs: Mapping[str, int] = field(default_factory=dict)

    def of_part(self, name: str) -> Aids:
        """Return the same aids for one part of a pipeline, with a checkpoint folder of its own."""
        folder = None if self.folder is None else self.folder / name
        return replace(self, folder=folder, part=f"{self.part}{name}/")

    def epochs_for(self, course: Mapping[str, Any]) -> int | None:
        """Return the epochs that were chosen for this part, if any: by an earlier training, or by the last `course`."""
        chosen: int | None = course.get("best_epoch") if self.keep_choices else None
        return self.epochs.get(self.part, chosen)

    def of_training(self, name: str, course: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the training loop takes of these aids, for a model called `name`.

        Args:
            name: of the model.
            course: of its last training, whose number of threads is taken where choices are kept.
        """
        measured = course.get("threads", "measure") if self.keep_choices else "measure"
        return {
            "checkpoint": self.checkpoint(name),
            "device": self.device,
            "threads": measured if self.threads == "measure" else self.threads,
            "on_epoch": self.listener(name),
        }

    def listener(self, name: str) -> Callable[[Mapping[str, float]], None] | None:
        """Return what the training of a model called `name` calls after each epoch."""
        return None if self.on_epoch is None else partial(self.on_epoch, f"{self.part}{name}")

    def checkpoint(self, name: str) -> Path | None:
        """Return the file for the checkpoint of a part called `name`."""
        return None if self.folder is None else self.folder / f"{name}{CHECKPOINT}"


class Recommender(Configurable, ABC):
    """Anything that ranks items for histories.

    A model implements `learn`, `score`, `arrays` and `restore`; `rank` comes with masking of what was seen, the tie
    rule and chunking. A model that does not score the whole catalogue overrides `rank` instead of `score`.

    Class attributes:
        takes: which parts the constructor accepts: "encoder", "lm", "members" (other recommenders).
        members_optional: whether it can be made without members, as it needs them only to learn from.
        extra: the optional dependency group it needs, or None.
        retrieves: whether it can rank the whole catalogue; others only re-rank candidates.
        answers_empty_history: whether it ranks for a shopper without history; others abstain.
        ranks_cold_items: whether it can rank a product that nobody has bought.
        reads_wish: whether it uses a wish in words (`Queries.texts`).
        stops_early: whether validation questions end its training.
        reads_ids: whether its lists depend on how items are numbered or named by id, beyond the order of equal scores.
    """

    takes: ClassVar[tuple[Literal["encoder", "lm", "members"], ...]] = ()
    members_optional: ClassVar[bool] = False
    extra: ClassVar[str | None] = None
    retrieves: ClassVar[bool] = True
    answers_empty_history: ClassVar[bool] = False
    ranks_cold_items: bool = False  # some models do with the right settings
    reads_wish: bool = False  # some models do with the right settings
    stops_early: bool = False  # some models do with the right settings
    reads_ids: ClassVar[bool] = False

    def __init__(
        self,
        *,
        encoder: Encoder | None = None,
        lm: LanguageModel | None = None,
        **settings: Any,  # noqa: ANN401  # checked by the subclass's Config
    ) -> None:
        super().__init__(**settings)
        for part, given in (("encoder", encoder), ("lm", lm)):
            if given is not None and part not in self.takes:
                raise ConfigError(f"{self.name}: takes no {part}")
        self.encoder = encoder
        self.lm = lm
        self.aids = Aids()
        self._items: Entities | None = None

    @property
    def items(self) -> Entities:
        """The catalogue that the model ranks.

        Raises:
            NotFitted: neither `fit` nor `load` came before.
        """
        if self._items is None:
            raise NotFitted(f"{self.name}: not fitted; call fit(train) or tastemaker.load(folder) first")
        return self._items

    def fit(self, train: Dataset, *, aids: Aids | None = None, seed: int = 0, progress: Progress = silent) -> Self:
        """Learn from scratch; `train` stays unchanged. The same seed gives the same bits.

        Raises:
            DataError: `train` has no interactions.
        """
        if not len(train):
            raise DataError(f"{self.name}: no interactions to learn from")
        self._items = train.items
        self.aids = aids or Aids()
        try:
            self.learn(train, seed=seed, progress=progress)
        except BaseException:
            self._items = None  # what is half learnt must not answer
            raise
        return self

    def attach(self, items: Entities, arrays: dict[str, NDArray[Any]]) -> Self:
        """Take back a saved state together with the catalogue it was learnt on.

        Raises:
            ArtifactError: the arrays do not fit this model.
        """
        self._items = items
        try:
            self.restore(arrays)
        except (KeyError, ValueError, IndexError) as error:
            raise ArtifactError(f"{self.name}: the saved arrays do not fit this model ({error!r})") from error
        return self

    def heeds_wish(self) -> bool:
        """Say whether a wish in words can change the lists of this very model as it is fitted."""
        return self.reads_wish

    def wish_share(self) -> float:
        """Return how much of a score comes from parts that a wish in words can change, from 0 to 1."""
        return float(self.heeds_wish())

    def report(self) -> dict[str, Any]:
        """Return what this model has to say beside its lists: choices made, answers that failed. JSON values."""
        return {}

    @abstractmethod
    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Learn the model's arrays from `train`."""

    def score(self, queries: Queries) -> Float32:
        """Return a score for every item, float32 [B, n]; -inf means no opinion.

        Raises:
            ConfigError: this model only re-ranks candidates.
        """
        raise ConfigError(f"{self.name}: only re-ranks candidates; put a retriever before it")

    def rank(self, queries: Queries, k: int, *, candidates: Ranking | None = None, seen: bool = False) -> Ranking:
        """Rank items for each query.

        Args:
            queries: B histories.
            k: length of the lists; shorter lists are padded with -1.
            candidates: rank only these, [B, m]; without it the whole catalogue is ranked.
            seen: whether items of the history may be listed.

        Returns:
            [B, k], best first.
        """
        check_queries(queries, len(self.items), k)
        parts = []
        for rows in chunks(len(queries), len(self.items)):
            chunk = queries.take(rows)
            scores = self.score(chunk).astype(np.float32, copy=False)  # [b, n]
            exclude = None if seen else chunk
            if candidates is None:
                parts.append(top_k(scores, k, exclude=exclude))
            else:
                parts.append(_top_of(candidates.items[rows], scores, k, exclude=exclude))
        return Ranking.stack(parts, k)


class SparseRecommender(Recommender):
    """A recommender whose scores are mostly "no opinion": it gives a sparse matrix, and lists come straight from it."""

    @abstractmethod
    def sparse_scores(self, queries: Queries) -> csr_array:
        """Return scores, sparse float32 [B, n]; an entry that is not stored means no opinion."""

    def score(self, queries: Queries) -> Float32:
        """Return the sparse scores as dense float32 [B, n] with -inf where nothing is stored."""
        found = self.sparse_scores(queries).tocoo()
        scores = np.full(found.shape, -np.inf, dtype=np.float32)
        scores[found.row, found.col] = found.data
        return scores

    def rank(self, queries: Queries, k: int, *, candidates: Ranking | None = None, seen: bool = False) -> Ranking:
        """Rank items for each query; see `Recommender.rank`."""
        if candidates is not None:
            return super().rank(queries, k, candidates=candidates, seen=seen)
        check_queries(queries, len(self.items), k)
        parts = []
        for rows in chunks(len(queries), len(self.items)):
            chunk = queries.take(rows)
            parts.append(top_k_sparse(self.sparse_scores(chunk), k, exclude=None if seen else chunk))
        return Ranking.stack(parts, k)


def _top_of(offered: Int32, scores: Float32, k: int, *, exclude: Queries | None) -> Ranking:
    """Rank the offered items of each row, int32 [b, m], by scores [b, n]; what a row excludes is not listed."""
    given = np.where(offered < 0, -np.inf, np.take_along_axis(scores, np.maximum(offered, 0), 1))
    if exclude is not None:
        n = scores.shape[1]
        rows = np.arange(len(offered))[:, None]
        given[np.isin(rows * n + offered, exclude.rows * n + exclude.items)] = -np.inf
    return sort_lists(offered, given.astype(np.float32), k)


def check_queries(queries: Queries, n_items: int, k: int) -> None:
    """Refuse an impossible k and item numbers beyond the catalogue.

    Raises:
        DataError: k is below 1, or a history names an item that the model does not know.
    """
    if k < 1:
        raise DataError(f"k must be at least 1, got {k}")
    if len(queries.items) and queries.items.max() >= n_items:
        raise DataError(f"a history names item number {queries.items.max()}, but the catalogue has {n_items} items")


def check_tuning(recommender: Recommender, train: Dataset) -> None:
    """Refuse to tune on nothing, or on another catalogue than the one that is ranked.

    Raises:
        DataError: as above.
    """
    if not len(train):
        raise DataError(f"{recommender.name}: no interactions to tune on")
    if train.items.digest != recommender.items.digest:
        raise DataError(
            f"{recommender.name}: ranks another catalogue than the one to tune on; call transfer(items) first"
        )


def chunks(length: int, n_items: int, *, size: int = CHUNK_BYTES) -> Iterator[slice]:
    """Yield slices of queries such that a dense float32 block [rows, n_items] takes at most `size` bytes."""
    step = max(1, size // (4 * max(1, n_items)))
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))
