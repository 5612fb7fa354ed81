"""Validation questions that decide when training stops: which of them can be answered at all, and how well they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from tastemaker.neural.batches import by_length

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.queries import Queries
    from tastemaker.data.split import Holdout
    from tastemaker.types import Int64

    Scores = Callable[[Queries, Int64], Tensor]
    """From queries and rows of them to scores [b, n] on any device, which may be overwritten."""

JUDGED = 10_000
"""Questions, drawn at random, that are judged."""
JUDGED_AT = 10
"""They are judged by NDCG at this length, with the history masked."""
ASKED = 512
"""Questions that are asked at once."""


@dataclass(frozen=True, slots=True)
class Jury:
    """The questions that training is judged by.

    Attributes:
        questions: a sample of the validation part.
        rows: those with a history and a target.
        answerable: number of these whose first target the model can learn to rank.
    """

    questions: Holdout
    rows: Int64
    answerable: int

    @classmethod
    def of(cls, validation: Holdout, train: Dataset, *, ranks_cold_items: bool, seed: int) -> Jury:
        """Draw the questions; a target that nobody bought in `train` is out of reach, unless cold items are ranked."""
        drawn = validation.sample(JUDGED, seed=seed)
        rows = np.flatnonzero((drawn.queries.lengths > 0) & (drawn.targets.lengths > 0))
        first = drawn.targets.items[drawn.targets.offsets[rows]]
        answerable = len(rows) if ranks_cold_items else int(np.isin(first, train.log["item"].to_numpy()).sum())
        return cls(drawn, rows, answerable)

    @property
    def silent(self) -> str:
        """Why no training can be judged by these questions; empty if it can."""
        if self.answerable:
            return ""
        asked = len(self.questions)
        return f"none of {asked} validation questions has a history and a target that was bought in the training part"

    def ndcg(self, scorer: Callable[[], Scores], *, max_length: int) -> Callable[[], float]:
        """Return a function that measures NDCG of the first target, history masked; no history counts 0.

        Args:
            scorer: called once a judgement; returns what scores questions under the present weights.
            max_length: newest purchases that are read: questions with equally many are asked together.
        """
        queries, truth = self.questions.queries, self.questions.targets
        lengths = np.minimum(queries.lengths, max_length)[self.rows]
        groups = [self.rows[group] for group in by_length(lengths, ASKED)]

        def measure() -> float:
            total = 0.0
            with torch.inference_mode():
                scores_of = scorer()
                for rows in groups:
                    scores = scores_of(queries, rows)
                    first = torch.from_numpy(truth.items[truth.offsets[rows]].astype(np.int64))
                    true = scores.gather(1, first[:, None].to(scores.device))
                    asked = queries.take(rows)
                    seen = (
                        torch.from_numpy(one.astype(np.int64)).to(scores.device) for one in (asked.rows, asked.items)
                    )
                    scores[tuple(seen)] = -torch.inf
                    ahead = (scores > true).sum(1)
                    total += float((1.0 / torch.log2(ahead[ahead < JUDGED_AT] + 2.0)).sum())
            return total / len(self.questions)

        return measure
