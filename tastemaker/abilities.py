"""What a recommender may be able to do beyond `fit` and `rank`: small protocols, tested with isinstance."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from tastemaker.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.data.queries import Queries
    from tastemaker.data.ranking import Ranking
    from tastemaker.data.splits import Holdout
    from tastemaker.recommender import Aids, Recommender
    from tastemaker.types import Bool, Float32, Int32


@runtime_checkable
class Attributing(Protocol):
    """A recommender that can say which history item brought a recommendation about.

    Attributes:
        because: what it means that a history item contributed, e.g. "bought by shoppers who bought"; its name follows.
    """

    because: ClassVar[str]

    def contributions(self, history: Int32, item: int) -> Float32:
        """Return how much each history item adds to the score of `item`, float32 [len(history)]."""
        ...


@runtime_checkable
class Composed(Protocol):
    """A recommender whose lists come from others, which can say more about them than it can itself."""

    @property
    def voices(self) -> Sequence[Recommender]:
        """The recommenders that have a say in the lists, the weightiest first."""
        ...


@runtime_checkable
class Counting(Protocol):
    """A recommender that knows how often each item was bought.

    Attributes:
        counts: interactions of each item in the training data, float32 [n].
    """

    counts: Float32


@runtime_checkable
class Calibrated(Protocol):
    """A recommender with a choice that is made on validation questions after `fit`.

    Attributes:
        calibration_size: number of questions it wants, 0 when its choice is fixed by its configuration.
    """

    calibration_size: int

    def calibrate(
        self, validation: Holdout, *, candidates: Ranking | None, seed: int = 0, progress: Progress = silent
    ) -> None:
        """Make the choice among `candidates`, None for a first stage. Only validation questions may come here."""
        ...


@runtime_checkable
class Transferable(Protocol):
    """A recommender that can rank the catalogue of a shop that it was not fitted on (zero-shot)."""

    def transfer(self, items: Entities) -> None:
        """Rank `items` from now on; what was learnt stays, but for what belongs to the old catalogue alone.

        Raises:
            NotFitted: there is nothing learnt to transfer.
        """
        ...


@runtime_checkable
class Tunable(Protocol):
    """A recommender that can go on learning from where it stands (fine-tuning), also after `transfer`."""

    def tune(self, train: Dataset, *, aids: Aids | None = None, seed: int = 0, progress: Progress = silent) -> None:
        """Learn from `train`, whose catalogue it ranks already, beginning with what it has learnt before.

        Raises:
            NotFitted: there is nothing to begin with.
            DataError: `train` has no interactions, or another catalogue.
        """
        ...


@runtime_checkable
class Rereading(Protocol):
    """A recommender that can read other texts of the same products; what it learnt stays."""

    def reread(self, items: Entities) -> None:
        """Rank by the texts of `items` from now on: the catalogue that it ranks, with other words.

        Raises:
            NotFitted: `fit` or `load` comes first.
        """
        ...


@runtime_checkable
class Judging(Protocol):
    """A re-ranker with an opinion of its own, before it is mixed with the retriever's order."""

    def own_order(self, queries: Queries, candidates: Ranking) -> Ranking:
        """Return the re-ranker's own order of the candidates that it looks at, the first of each list.

        The scores are its own; equal ones are ties. A row is empty where it gave no answer.
        """
        ...


@runtime_checkable
class Telling(Protocol):
    """A re-ranker that says for which queries it has nothing to say, so that nobody takes its silence for an answer."""

    def rank_and_tell(
        self, queries: Queries, k: int, *, candidates: Ranking | None = None, seen: bool = False
    ) -> tuple[Ranking, Bool]:
        """Return what `rank` does, and where the model was asked and gave no answer that could be used, bool [B]."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """A recommender that makes something at its first question, which can be done before anybody waits for it."""

    def prepare(self) -> None:
        """Make what questions need, without asking anything of a language model."""
        ...


@runtime_checkable
class Embedding(Protocol):
    """A recommender whose scores are inner products of queries' vectors with items' vectors.

    A vector can be kept for a shopper who comes back, and items can be found with an index.
    """

    def query_vectors(self, queries: Queries) -> tuple[Float32, Bool]:
        """Return what each query points at, [B, d], and whether it says anything, [B]; else no item has a score."""
        ...

    def item_vectors(self) -> tuple[Float32, Bool]:
        """Return the items' vectors, [n, d], and which of them can be ranked, [n]."""
        ...


@runtime_checkable
class Demonstrating(Protocol):
    """A recommender whose prompts show purchases of other shoppers as examples (few-shot prompting)."""

    def demonstrated(self, queries: Queries) -> list[tuple[Int32, Int32]]:
        """Return user and item numbers of the purchases of others that the prompt for each query shows.

        All of them are interactions of the training data; the leak tests look.
        """
        ...


@runtime_checkable
class Traceable(Protocol):
    """A recommender that keeps what it was tuned on beside the log: prompt and answer pairs, a codebook's purchases."""

    def learnt_from(self) -> dict[str, tuple[Int32, Int32]]:
        """Return user and item numbers of what it was tuned on, by what that is, e.g. "tuning pairs"."""
        ...
