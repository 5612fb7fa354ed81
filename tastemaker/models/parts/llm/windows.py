"""Long lists through a short window: a re-ranker that sees few candidates at a time puts many in order.

The window slides from the end of the list to its head; each time the candidates in it are put in the model's order, so
the best ones travel to the front (RankGPT, arXiv 2304.09542). Windows overlap by `window - step` places, which is how
many candidates can travel on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tastemaker.models.parts.llm.choosing import Question
    from tastemaker.types import Float32

    Ask = Callable[[Sequence[Question]], list[Float32 | None]]


def slide(questions: Sequence[Question], ask: Ask, *, window: int, step: int) -> list[Float32 | None]:
    """Put the candidates of each question in order, at most `window` of them at a time.

    Args:
        questions: any number of candidates each.
        ask: answers questions with scores [m] of their candidates, the higher the better; None where it failed, which
            leaves that window's order as it was.
        window: candidates that are asked about at a time.
        step: places by which the window moves, 1 to `window`.

    Returns:
        What `ask` says of a question that fits the window; else m for the first candidate of the final order, m - 1 for
        the second, and so on. None where every window failed.
    """
    results: list[Float32 | None] = [None] * len(questions)
    short = [row for row, question in enumerate(questions) if len(question.candidates) <= window]
    for row, scores in zip(short, ask([questions[row] for row in short]) if short else (), strict=True):
        results[row] = scores
    orders = {row: np.arange(len(one.candidates)) for row, one in enumerate(questions) if len(one.candidates) > window}
    starts = {row: max(0, len(order) - window) for row, order in orders.items()}
    answered = dict.fromkeys(orders, False)
    moving = list(orders)
    while moving:
        parts = [orders[row][starts[row] : starts[row] + window] for row in moving]
        given = ask([questions[row].part(part) for row, part in zip(moving, parts, strict=True)])
        for row, part, scores in zip(moving, parts, given, strict=True):
            if scores is not None:
                orders[row][starts[row] : starts[row] + len(part)] = part[np.argsort(-scores, kind="stable")]
                answered[row] = True
        moving = [row for row in moving if starts[row] > 0]
        for row in moving:
            starts[row] = max(0, starts[row] - step)
    for row, order in orders.items():
        if answered[row]:
            scores = np.empty(len(order), dtype=np.float32)
            scores[order] = len(order) - np.arange(len(order))
            results[row] = scores
    return results
