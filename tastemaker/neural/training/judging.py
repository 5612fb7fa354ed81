"""Validation questions that decide when training stops: which of them can be answered at all, and how well they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from tastemaker.neural.batches import by_length
from tastemaker.recommender import chunks

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.queries import Queries
    from tastemaker.data.splits import Holdout
    from tastemaker.types import Int64

    Scores = Callable[[Queries, Int64], Tensor]
    """From queries and rows of them to scores [b, n] on any device, -inf for no opinion; they may be overwritten."""

JUDGED = 10_000
"""Questions, drawn at random, that are judged."""
JUDGED_AT = 10
"""They are judged by NDCG at this length, with the history masked."""
ASKED = 512
"""At most so many questions are asked at once; fewer where the catalogue is so large that scores would fill memory."""


@dataclass(frozen=True, slots=True)
class Jury:
    """The questions that training is judged by.

    Attributes:
        questions: a sample of the validation part.
        rows: those with a history and a target.
        n_items: size of the catalogue.
        answerable: number of `rows` whose first target the model can learn to rank, and the history does not hide.
    """

    questions: Holdout
    rows: Int64
    n_items: int
    answerable: int

    @classmethod
    def of(cls, validation: Holdout, train: Dataset, *, ranks_cold_items: bool, seed: int) -> Jury:
        """Draw the questions; a target that nobody bought in `train` is out of reach, unless cold items are ranked."""
        drawn = validation.sample(JUDGED, seed=seed)
        rows = np.flatnonzero((drawn.queries.lengths > 0) & (drawn.targets.lengths > 0))
        first = drawn.targets.items[drawn.targets.offsets[rows]]
        n, known = train.n_items, drawn.queries
        within = ~np.isin(rows * n + first, known.rows * n + known.items)
        if not ranks_cold_items:
            within &= train.bought[first]
        return cls(drawn, rows, n, int(within.sum()))

    @property
    def silent(self) -> str:
        """Why no training can be judged by these questions; empty if it can."""
        if self.answerable:
            return ""
        asked = len(self.questions)
        return (
            f"none of {asked} validation questions has a history and a target beyond it "
            "that was bought in the training part"
        )

    def ndcg(self, scorer: Callable[[], Scores], *, max_length: int) -> Callable[[], float]:
        """Return a function that measures NDCG of the first target in the list that `Recommender.rank` would give.

        So the history is masked, equal scores stand in the order of item numbers, and a target that is masked or has
        no score counts 0, as does a question without history.

        Args:
            scorer: called once a judgement; returns what scores questions under the present weights.
            max_length: newest purchases that are read: questions with equally many are asked together.
        """
        queries, truth = self.questions.queries, self.questions.targets
        lengths = np.minimum(queries.lengths, max_length)[self.rows]
        groups = [
            self.rows[group[part]] for group in by_length(lengths, ASKED) for part in chunks(len(group), self.n_items)
        ]

        def measure() -> float:
            total = 0.0
            with torch.inference_mode():
                scores_of = scorer()
                for rows in groups:
                    scores = scores_of(queries, rows)
                    asked = queries.take(rows)
                    first, seen_by, seen = (
                        torch.from_numpy(numbers.astype(np.int64)).to(scores.device)
                        for numbers in (truth.items[truth.offsets[rows]], asked.rows, asked.items)
                    )
                    scores[seen_by, seen] = -torch.inf
                    total += float(gains(scores, first).sum())
            return total / len(self.questions)

        return measure


def gains(scores: Tensor, targets: Tensor) -> Tensor:
    """Return what the place of each row's target is worth, [b], from scores [b, n] and its column [b].

    Of equal scores the lower column goes first, and a score that is no number is worth nothing.
    """
    targets = targets[:, None]
    true = scores.gather(1, targets)  # [b, 1]
    lower = torch.arange(scores.shape[1], device=scores.device) < targets
    ahead = ((scores > true) | ((scores == true) & lower)).sum(1)
    listed = torch.isfinite(true[:, 0]) & (ahead < JUDGED_AT)
    return torch.where(listed, 1.0 / torch.log2(ahead + 2.0), 0.0)
