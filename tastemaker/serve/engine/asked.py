"""A request as it is worked on: who asks, for what, from which view, and until when."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tastemaker.data.queries import Queries
from tastemaker.data.ranking import Ranking

if TYPE_CHECKING:
    from tastemaker.rules import Plan
    from tastemaker.serve.engine.asks import Answer, Ask
    from tastemaker.serve.engine.live import View
    from tastemaker.serve.engine.retrieval import Found, Vector
    from tastemaker.serve.engine.shoppers import Shopper
    from tastemaker.store.records import MadeRanking
    from tastemaker.types import Bool, Int32


@dataclass
class Asked:
    """A request as it is worked on.

    Attributes:
        ask: the request.
        view: the model, catalogue and rules that it began with.
        answer: what is being made.
        end: when the reserve begins, on the clock of `time.perf_counter`.
        history: numbers of products that the model knows, oldest first.
        later: numbers of products of the history that it does not know.
        unlisted: numbers that must not be listed, beside the history.
        had: numbers of what the shopper had beyond the history, which must not be listed where it must not.
        user: number of the shopper among those of the model, -1 for none of them.
        words: of a wish.
        words_known: whether one of them stands in the catalogue.
        allowed: products that may be listed, [all of the shelf]; None for all.
        plan: of business rules; None without.
        vector: what the history points at, if that is known already.
        shopper: whom `vector` is kept for; None where something of this request alone took part.
        made: what was made ahead for the shopper, whether it holds or not; None for nothing.
        ahead: how many products of it can be listed.
        digest: of the history, for a ranking that is made ahead.
    """

    ask: Ask
    view: View
    answer: Answer
    end: float
    history: Int32 = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    later: tuple[int, ...] = ()
    unlisted: frozenset[int] = frozenset()
    had: frozenset[int] = frozenset()
    user: int = -1
    words: str = ""
    words_known: bool = True
    allowed: Bool | None = None
    plan: Plan | None = None
    vector: Vector | None = None
    shopper: Shopper | None = None
    made: MadeRanking | None = None
    ahead: int = 0
    digest: str = ""

    def left(self) -> float:
        """Return the seconds until the reserve begins, at least 0."""
        return max(0.0, self.end - time.perf_counter())

    def query(self) -> Queries:
        """Return the request as a query."""
        users = np.array([self.user], dtype=np.int32)
        return Queries.from_lists([self.history], texts=[self.words] if self.words else None, users=users)

    @cached_property
    def profile(self) -> Vector | None:
        """What the history and the wish read like; None without texts."""
        return self.view.profile(self.history, self.later, self.words)

    def barred(self, number: int) -> bool:
        """Say whether a product must not be listed in this answer."""
        if self.ask.as_given:
            return number in self.view.shelf.off
        if number in self.unlisted or number in self.had or number in self.view.shelf.off:
            return True
        return self.allowed is not None and not self.allowed[number]

    def listed(self, found: Found) -> Ranking:
        """Return what was found without what must not be listed, [1, m]."""
        keep = [place for place, item in enumerate(found.items.tolist()) if not self.barred(item)]
        if len(keep) == len(found.items):
            return Ranking(found.items[None, :], found.scores[None, :])
        return Ranking(found.items[keep][None, :], found.scores[keep][None, :])

    def listable(self) -> Bool:
        """Say which products may stand in this answer, [all of the shelf]; of the caller's candidates, only those."""
        shelf = self.view.shelf
        mask = np.ones(len(shelf), dtype=bool) if self.allowed is None else self.allowed.copy()
        mask[[number for number in (*self.unlisted, *shelf.off) if number >= 0]] = False
        if self.ask.offered is not None:
            mask[np.setdiff1d(np.arange(len(mask)), shelf.numbers(self.ask.offered)[0])] = False
        return mask

    def restrict(self, allowed: Bool) -> None:
        """Let only these products be listed, [all of the shelf], of those that could be before."""
        self.allowed = allowed if self.allowed is None else self.allowed & allowed

    def lap(self, step: str, began: float) -> None:
        """Note how long a step took."""
        timings = self.answer.timings
        timings[step] = timings.get(step, 0.0) + 1e3 * (time.perf_counter() - began)
