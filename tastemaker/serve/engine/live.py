"""A loaded model, ready to answer, and the reference to the one that answers now."""

from __future__ import annotations

import asyncio
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker import saved
from tastemaker.data.queries import Queries
from tastemaker.errors import NotFitted
from tastemaker.explain import Explainer
from tastemaker.serve.engine.retrieval import Question, Retriever
from tastemaker.serve.engine.shelf import Shelf
from tastemaker.wishes import WishReader

if TYPE_CHECKING:
    from pathlib import Path

    from tastemaker.saved import SavedModel
    from tastemaker.types import Int32

POPULAR = 2000
"""Products that the fallback is asked for once, to fill lists from."""
QUICK = 0.003
"""Seconds within which a retriever has to answer a few questions to be asked in the event loop itself."""
TRIED = 8


class Live:
    """One version of a model with all that answering needs; it does not change but for what is made on demand.

    Attributes:
        version: its name in answers.
        model: what was loaded.
        retriever: its first stage.
        later: numbers of the stages after that which ask no language model.
        asking: numbers of the stages that ask one.
        popular: what the fallback lists for a shopper of whom nothing is known, best first.
        shelf: its catalogue as it was saved.
    """

    def __init__(self, model: SavedModel, version: str) -> None:
        pipeline = model.pipeline
        self.version, self.model, self.pipeline = version, model, pipeline
        self.retriever = Retriever(pipeline.stages[0].recommender)
        numbered = list(enumerate(stage.recommender for stage in pipeline.stages))
        self.asking = [number for number, stage in numbered if number and stage.lm is not None]
        self.later = [number for number, stage in numbered if number and stage.lm is None]
        self.shelf = Shelf(pipeline.items)
        self.popular = _popular(model)
        self.quick = False

    @classmethod
    def load(cls, folder: Path, version: str) -> Live:
        """Load a saved model and warm it up.

        Raises:
            ArtifactError: the folder holds no sound model.
            ConfigError, MissingExtra: a part of it cannot be made here.
        """
        live = cls(saved.load(folder), version)
        live.warm_up()
        return live

    @property
    def retriever_asks(self) -> bool:
        """Whether the first stage itself asks a language model."""
        return self.pipeline.stages[0].recommender.lm is not None

    @property
    def keep(self) -> int:
        """Candidates that the first stage passes on."""
        return self.pipeline.stages[0].keep

    @cached_property
    def explainer(self) -> Explainer:
        """Gives reasons; made at first use, which takes its time."""
        return Explainer(self.pipeline)

    @cached_property
    def wishes(self) -> WishReader:
        """Reads wishes by rules; made at first use, which takes its time."""
        return WishReader(self.pipeline)

    def warm_up(self) -> None:
        """Ask the retriever a few questions, and see whether it is quick enough for the event loop."""
        if self.retriever_asks or not len(self.pipeline.items):
            return
        histories = [self.model.histories.history(row) for row in range(min(TRIED, len(self.model.users)))]
        histories += [np.array([number % len(self.pipeline.items)], np.int32) for number in range(TRIED)]
        questions = [Question(history[-20:], self.keep) for history in histories[:TRIED]]
        seconds = []
        for _ in range(3):
            began = time.perf_counter()
            self.retriever.answer(questions)
            seconds.append(time.perf_counter() - began)
        self.quick = min(seconds) < QUICK

    def facts(self) -> dict[str, Any]:
        """Return what the model is, for the list of models. JSON values."""
        return {
            "stages": [stage.recommender.name for stage in self.pipeline.stages],
            "fallback": None if self.pipeline.fallback is None else self.pipeline.fallback.name,
            "items": len(self.pipeline.items),
            "users": len(self.model.users),
            "language_model": bool(self.asking or self.retriever_asks),
            "fitted": self.model.facts,
        }


class Holder:
    """The model that answers now; it is exchanged between two answers, never within one.

    Attributes:
        now: the model; None until one is there.
        before: the one that answered before, for going back.
    """

    def __init__(self) -> None:
        self.now: Live | None = None
        self.before: Live | None = None
        self.exchanging = asyncio.Lock()

    def current(self) -> Live:
        """Return the model that answers now.

        Raises:
            NotFitted: there is none.
        """
        if self.now is None:
            raise NotFitted("no model is active; activate one with POST /v1/models/VERSION:activate")
        return self.now

    def exchange(self, live: Live) -> None:
        """Let another model answer from the next request on."""
        if self.now is None or live.version != self.now.version:
            self.before = self.now
        self.now = live


def _popular(model: SavedModel) -> Int32:
    fallback = model.pipeline.fallback
    if fallback is None or not fallback.answers_empty_history:
        return np.empty(0, dtype=np.int32)
    most = min(POPULAR, len(model.pipeline.items))
    listed = fallback.rank(Queries.from_lists([[]]), most).items[0]
    return np.asarray(listed[listed >= 0], dtype=np.int32)
