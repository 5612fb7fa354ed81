"""Concurrent questions answered together: one product of matrices instead of many of a matrix and a vector."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tastemaker.serve.engine.workers import Runs

Q = TypeVar("Q")
R = TypeVar("R")


class Batcher(Generic[Q, R]):
    """Gathers questions that come at nearly the same time and has them answered at once.

    A question that comes alone is answered in the same turn of the event loop. While other requests are on their way
    to ask, it waits for them, at most `wait` seconds. With `workers`, one batch is worked on at a time in a thread,
    and what comes meanwhile makes up the next one. A question that cannot be answered fails alone.

    Args:
        answer: what answers a batch, in the order of the questions.
        wait: seconds to wait for company at most.
        most: questions in one batch.
        expected: says how many requests are under way that may still ask.
        workers: where batches are answered; None for the event loop itself, where that takes little time.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Q]], Sequence[R]],
        *,
        wait: float,
        most: int,
        expected: Callable[[], int] = lambda: 0,
        workers: Runs | None = None,
    ) -> None:
        self._answer, self._wait, self._most = answer, wait, most
        self._expected, self._workers = expected, workers
        self._waiting: list[tuple[Q, asyncio.Future[R]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._soon = False
        self._at_work: asyncio.Task[None] | None = None

    def ask(self, question: Q) -> asyncio.Future[R]:
        """Return the future answer to a question."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.append((question, future))
        if self._at_work is not None or self._soon:
            return future
        if len(self._waiting) >= min(self._most, max(1, self._expected())):
            self._flush_soon(loop)
        elif self._timer is None:
            self._timer = loop.call_later(self._wait, self._flush)
        return future

    def _flush_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._soon = True
        loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._timer, self._soon = None, False
        if not self._waiting or self._at_work is not None:
            return
        batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        batch = [(question, future) for question, future in batch if not future.done()]
        questions = [question for question, _ in batch]
        if self._workers is not None:
            self._at_work = asyncio.get_running_loop().create_task(self._in_thread(batch, questions, self._workers))
            return
        _give(batch, self._answered(questions))
        if self._waiting:
            self._flush_soon(asyncio.get_running_loop())

    async def _in_thread(self, batch: list[tuple[Q, asyncio.Future[R]]], questions: Sequence[Q], workers: Runs) -> None:
        try:
            answers = await workers.run(lambda: self._answered(questions))
        except Exception as error:  # no thread could be had: whoever asked gets it
            _give(batch, [error] * len(batch))
        else:
            _give(batch, answers)
        finally:
            self._at_work = None
            if self._waiting:
                self._flush_soon(asyncio.get_running_loop())

    def _answered(self, questions: Sequence[Q]) -> list[R | Exception]:
        """Answer a batch; where it fails its halves are asked, and so on, until those alone fail that are at fault."""
        try:
            return list(self._answer(questions)) if questions else []
        except Exception as error:  # whoever asked gets it
            if len(questions) == 1:
                return [error]
        half = len(questions) // 2
        return [*self._answered(questions[:half]), *self._answered(questions[half:])]


def _give(batch: Sequence[tuple[Q, asyncio.Future[R]]], answers: Sequence[R | Exception]) -> None:
    for (_, future), answer in zip(batch, answers, strict=True):
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
