"""The later stages of a pipeline, asked for many shoppers at once, without a limit in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker.abilities import Preparing
from tastemaker.data.queries import Queries
from tastemaker.data.ranking import Ranking
from tastemaker.errors import LanguageModelError
from tastemaker.explain import Explainer
from tastemaker.serve.engine.ahead import phrased
from tastemaker.serve.precomputing.tasks import Result, Task
from tastemaker.wishes import language_model_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.pipeline import Pipeline


class Stages:
    """Ranks with a pipeline of this process.

    Args:
        pipeline: fitted, of two stages or more.
        depth: products of a ranking.
        reasons: for how many of these the language model phrases the reason.

    Raises:
        ConfigError: reasons are wanted, and no stage has a language model.
    """

    def __init__(self, pipeline: Pipeline, *, depth: int, reasons: int = 0) -> None:
        self._pipeline, self._depth, self._reasons = pipeline, depth, reasons
        self._template = self._explainer = None
        for stage in pipeline.stages[1:]:
            if isinstance(stage.recommender, Preparing):
                stage.recommender.prepare()
        if reasons:
            self._template = Explainer(pipeline)
            self._explainer = Explainer(pipeline, lm=language_model_of(pipeline, "reasons made ahead"))

    def ask(self, tasks: Sequence[Task]) -> list[Result]:
        """Return a result for each task; where a stage gave no usable answer, the fault."""
        if not tasks:
            return []
        queries = Queries.from_lists(
            [np.array(task.history, dtype=np.int32) for task in tasks],
            users=np.array([task.user for task in tasks], dtype=np.int32),
        )
        try:
            return self._ranked(tasks, queries)
        except LanguageModelError as error:
            if len(tasks) == 1:
                return [Result(fault=type(error).__name__)]
        return [result for task in tasks for result in self.ask([task])]

    def close(self) -> None:
        """Close what the language models hold open."""
        close_language_models(self._pipeline)

    def _ranked(self, tasks: Sequence[Task], queries: Queries) -> list[Result]:
        ranking, silent = _offered(tasks), np.zeros(len(tasks), dtype=bool)
        stages = self._pipeline.stages
        for number in range(1, len(stages)):
            ranking, without = self._pipeline.refined(number, queries, ranking)
            silent |= without
        source = stages[-1].recommender.name
        results = []
        for row, task in enumerate(tasks):
            if silent[row]:
                results.append(Result(fault="no usable answer"))
                continue
            real = ranking.items[row] >= 0
            items = ranking.items[row][real][: self._depth].tolist()
            scores = ranking.scores[row][real][: self._depth].tolist()
            results.append(Result(items, scores, source, self._given(task, items[: self._reasons])))
        return results

    def _given(self, task: Task, items: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Return phrased reasons; one that was phrased before and still holds is not asked for again."""
        if self._explainer is None or self._template is None:
            return {}
        history, found = np.array(task.history, dtype=np.int32), {}
        for item in items:
            reason = phrased(self._template.reason(history, item), task.kept.get(item), self._template, item)
            if reason.phrased_by == "template":
                reason = self._explainer.reason(history, item)
            if reason.phrased_by != "template":
                found[item] = reason.to_dict()
        return found


def _offered(tasks: Sequence[Task]) -> Ranking:
    width = max(1, *(len(task.items) for task in tasks))
    items = np.full((len(tasks), width), -1, dtype=np.int32)
    scores = np.full(items.shape, -np.inf, dtype=np.float32)
    for row, task in enumerate(tasks):
        items[row, : len(task.items)], scores[row, : len(task.items)] = task.items, task.scores
    return Ranking(items, scores)


def close_language_models(pipeline: Pipeline) -> None:
    """Close what the language models of a pipeline hold open, such as connections."""
    for stage in pipeline.stages:
        part: Any = stage.recommender.lm
        while part is not None:
            getattr(part, "close", lambda: None)()
            part = getattr(part, "lm", None)  # behind caches and budgets
