"""What a split consists of: questions with their answers, and the data that may be known when they are asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker.data.queries import Queries
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.types import Int32, Int64


@dataclass(frozen=True, slots=True)
class Holdout:
    """Questions with their answers.

    Attributes:
        queries: what is known when the question is asked.
        targets: the held-out items of each query, as long as `queries`.
        shoppers: int32 [B] user number of who asks, for guards and groups; models see `queries.users` only. None where
            that is not known.
        times: int64, as long as `targets.items`: when each target was bought, unix seconds. None where that is unknown.
    """

    queries: Queries
    targets: Queries
    shoppers: Int32 | None = None
    times: Int64 | None = None

    def __post_init__(self) -> None:
        if len(self.queries) != len(self.targets):
            raise DataError(f"a holdout needs targets for each question: {len(self.queries)} and {len(self.targets)}")
        if self.shoppers is not None and len(self.shoppers) != len(self.queries):
            raise DataError(f"a holdout needs one shopper a question: {len(self.queries)} and {len(self.shoppers)}")
        if self.times is not None and len(self.times) != len(self.targets.items):
            raise DataError(f"a holdout needs one time a target: {len(self.targets.items)} and {len(self.times)}")

    def __len__(self) -> int:
        return len(self.queries)

    def who(self) -> Int32:
        """Return the user number of each question, -1 where it is not known, [B]."""
        for users in (self.shoppers, self.queries.users):
            if users is not None:
                return users
        return np.full(len(self), -1, dtype=np.int32)

    def take(self, rows: slice | Int64) -> Holdout:
        """Return the questions at `rows`."""
        places = Queries(self.targets.offsets, np.arange(len(self.targets.items), dtype=np.int32)).take(rows).items
        return Holdout(
            self.queries.take(rows),
            self.targets.take(rows),
            None if self.shoppers is None else self.shoppers[rows],
            None if self.times is None else self.times[places],
        )

    def sample(self, size: int, *, seed: int = 0) -> Holdout:
        """Return `size` random questions in their old order, or all if there are no more than that."""
        if size >= len(self):
            return self
        rows = np.random.default_rng(seed).choice(len(self), size, replace=False)
        return self.take(np.sort(rows))


@dataclass(frozen=True, slots=True)
class Split:
    """A data set split three ways.

    Attributes:
        train: what models may learn from; the catalogue and the users stay whole.
        refit: train + validation, for the variant that is fitted once more before test.
        validation: questions for choices (hyper-parameters, weights, early stop); history = train.
        test: questions that are looked at once; history = train + validation.
        protocol: the split in words and numbers, for results.
    """

    train: Dataset
    refit: Dataset
    validation: Holdout
    test: Holdout
    protocol: dict[str, Any]

    def with_facts(self, **facts: Any) -> Split:  # noqa: ANN401  # JSON values
        """Return the same split with `facts` added to its protocol."""
        return replace(self, protocol={**self.protocol, **facts})


def questions(known: Dataset, held_out: Dataset) -> Holdout:
    """Ask each user who has held-out interactions, with everything in `known` as history."""
    targets = held_out.queries()
    rows = np.flatnonzero(targets.lengths > 0)
    times = held_out.log["timestamp"].to_numpy() if held_out.has_timestamps else None
    return Holdout(known.queries().take(rows), targets.take(rows), rows.astype(np.int32), times)


def require_interactions(data: Dataset) -> None:
    """Refuse to split what is empty.

    Raises:
        DataError: there are no interactions.
    """
    if not len(data):
        raise DataError("the data have no interactions, so there is nothing to split")


def require_questions(split: Split, *, because: str = "") -> Split:
    """Return a split whose validation and test parts both ask something.

    Args:
        split: any split.
        because: what to add to the message.

    Raises:
        DataError: a part has no question.
    """
    for name, part in (("validation", split.validation), ("test", split.test)):
        if not len(part):
            raise DataError(
                f"{split.protocol['split']} split: the {name} part has no question "
                f"({len(split.train)} of {len(split.refit)} interactions are train{because}); "
                "use more data or another split"
            )
    return split
