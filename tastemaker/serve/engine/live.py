"""A loaded model, ready to answer, and one view of it with the catalogue and the rules as they are now."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker import artifact, saved
from tastemaker.abilities import Preparing
from tastemaker.data.queries import Queries
from tastemaker.explain import Explainer
from tastemaker.serve.engine.finder import Finder
from tastemaker.serve.engine.names import Names
from tastemaker.serve.engine.retrieval import Question, Retriever, Vector
from tastemaker.serve.engine.shelf import Shelf
from tastemaker.wishes import HEEDED, WishReader

if TYPE_CHECKING:
    from pathlib import Path

    from tastemaker.rules import CompiledRules
    from tastemaker.saved import SavedModel
    from tastemaker.serve.engine.texts import New, Texts
    from tastemaker.types import Int32

POPULAR = 2000
"""Products that the fallback is asked for once, to fill lists from."""
QUICK = 0.005
"""Processor seconds within which a retriever has to answer a few questions to be asked in the event loop itself."""
TRIED = 8


class Live:
    """One version of a model with all that answering needs.

    Attributes:
        version: its name in answers.
        folder: where it was loaded from; None where it was made here.
        digest: fingerprint of the folder as it was then.
        model: what was loaded.
        retriever: its first stage.
        later: numbers of the stages after that which ask no language model.
        asking: numbers of the stages that ask one.
        names: finds products by id.
        users: finds shoppers by id.
        popular: what the fallback lists for a shopper of whom nothing is known, best first.
        quick: whether the retriever may be asked in the event loop itself.
        texts: finds products by their texts; None while it is made, and where there are no texts.
        indexed: whether all that is made beside the requests is there.
    """

    def __init__(self, model: SavedModel, version: str, *, folder: Path | None = None) -> None:
        pipeline, self.folder = model.pipeline, folder
        self.version, self.model, self.pipeline = version, model, pipeline
        self.retriever = Retriever(pipeline.stages[0].recommender)
        numbered = list(enumerate(stage.recommender for stage in pipeline.stages))
        self.asking = [number for number, stage in numbered if number and stage.lm is not None]
        self.later = [number for number, stage in numbered if number and stage.lm is None]
        self.names, self.users = Names(pipeline.items), Names(model.users)
        self.popular = _popular(model)
        self.quick, self.digest = False, ""
        self.texts: Texts | None = None
        self.indexed = False

    @classmethod
    def load(cls, folder: Path, version: str) -> Live:
        """Load a saved model and warm it up.

        Raises:
            ArtifactError: the folder holds no sound model.
            ConfigError, MissingExtra: a part of it cannot be made here.
        """
        digest = artifact.fingerprint(folder)
        live = cls(saved.load(folder, keep_answers=False), version, folder=folder)
        live.digest = digest
        for stage in live.pipeline.stages:
            if isinstance(stage.recommender, Preparing):
                stage.recommender.prepare()
        live.warm_up()
        return live

    @cached_property
    def shelf(self) -> Shelf:
        """The catalogue as the model was fitted on it."""
        return Shelf(self.pipeline.items, names=self.names)

    @property
    def size(self) -> int:
        """Number of products that the model knows."""
        return len(self.pipeline.items)

    @property
    def retriever_asks(self) -> bool:
        """Whether the first stage itself asks a language model."""
        return self.pipeline.stages[0].recommender.lm is not None

    @property
    def keep(self) -> int:
        """Candidates that the first stage passes on."""
        return self.pipeline.stages[0].keep

    def wish_share(self, strategy: str) -> float:
        """Return the largest share that a wish has in a stage that answers for a strategy: `Recommender.wish_share`."""
        stages = {"full": [0, *self.later, *self.asking], "fast": [0, *self.later], "retriever": [0]}
        numbers = stages.get(strategy, [])
        return max((self.pipeline.stages[number].recommender.wish_share() for number in numbers), default=0.0)

    def wish_remark(self, strategy: str, *, offered: bool) -> str:
        """Say how little the words of a wish do under a strategy; nothing where they decide.

        Args:
            strategy: who answers.
            offered: whether the caller gives the candidates, so that nothing has to be found.
        """
        share = self.wish_share(strategy)
        if strategy in ("text", "popular"):
            return ""
        if share < HEEDED:
            what = f"count for {share:.0%}" if share else "change nothing"
            return f"wish: its words {what} with the strategy '{strategy}'; 'text' reads them"
        if not offered and self.wish_share("retriever") < HEEDED:
            return "wish: its words order what was found without them; 'text' finds products by them"
        return ""

    @cached_property
    def explainer(self) -> Explainer:
        """Gives reasons; made at first use, which takes its time."""
        return Explainer(self.pipeline)

    @cached_property
    def wishes(self) -> WishReader:
        """Reads wishes by rules; made at first use, which takes its time."""
        return WishReader(self.pipeline)

    @cached_property
    def finder(self) -> Finder:
        """Finds products by words; made at first use, which takes its time."""
        return Finder(self.pipeline.items, self.popular)

    def warm_up(self) -> None:
        """Ask the retriever a few questions, and see whether it is quick enough for the event loop.

        Ids are looked up too: the first one has all of them numbered, which the event loop must not wait for.
        """
        for names in (self.names, self.users):
            names.number("")
        if self.retriever_asks or not self.size:
            return
        histories = [self.model.histories.history(row) for row in range(min(TRIED, len(self.model.users)))]
        histories += [np.array([number % self.size], np.int32) for number in range(TRIED)]
        questions = [Question(history[-20:], min(self.keep, self.size)) for history in histories[:TRIED]]
        seconds = []
        for _ in range(3):
            began = time.thread_time()  # other processes must not decide it
            self.retriever.answer(questions)
            seconds.append(time.thread_time() - began)
        self.quick = min(seconds) < QUICK

    def facts(self) -> dict[str, Any]:
        """Return what the model is, for the list of models. JSON values."""
        index = self.retriever.index
        return {
            "stages": [stage.recommender.name for stage in self.pipeline.stages],
            "fallback": None if self.pipeline.fallback is None else self.pipeline.fallback.name,
            "items": self.size,
            "users": len(self.model.users),
            "language_model": bool(self.asking or self.retriever_asks),
            "index_recall": None if index is None else index.recall,
        }


@dataclass(frozen=True, slots=True)
class View:
    """What one answer is made from, from beginning to end.

    Attributes:
        live: the model.
        shelf: the catalogue.
        texts: finds products by their texts; None while it is made, and where there are no texts.
        new: the products that the model does not know; None without texts.
        rules: compiled for the shelf; None where there are none.
    """

    live: Live
    shelf: Shelf
    texts: Texts | None = None
    new: New | None = None
    rules: CompiledRules | None = None

    def profile(self, history: Int32, later: tuple[int, ...], wish: str) -> Vector | None:
        """Return what a history reads like; None without texts."""
        if self.texts is None or self.new is None:
            return None
        return self.texts.profile(history, self.new.vectors_of(later), wish)


def _popular(model: SavedModel) -> Int32:
    fallback = model.pipeline.fallback
    if fallback is None or not fallback.answers_empty_history:
        return np.empty(0, dtype=np.int32)
    most = min(POPULAR, len(model.pipeline.items))
    listed = fallback.rank(Queries.from_lists([[]]), most).items[0]
    return np.asarray(listed[listed >= 0], dtype=np.int32)
