"""What the engine is asked, and what it answers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tastemaker.json_values import finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.serve.engine.ahead import State
    from tastemaker.serve.engine.shelf import Shelf
    from tastemaker.text.wishes.wish import Filters

Strategy = Literal["auto", "full", "fast", "retriever", "text", "popular"]


@dataclass(slots=True)
class Ask:
    """One request for a list.

    Attributes:
        started: when it came, on the clock of `time.perf_counter`.
        n: length of the list.
        budget: seconds until the answer has to be out.
        strategy: who is to answer.
        user_id: the shopper, None for somebody unknown.
        session: ids of products that the shopper looked at, oldest first.
        context: id of the product that the shopper looks at now.
        wish: in the shopper's own words.
        filters: what products must have.
        exclude: ids that must not be listed.
        offered: ids of the only products to rank; None for the catalogue.
        explain: whether reasons are wanted.
        diversity: 0 for the best list, up to 1 for a varied one.
        seen: whether products of the history may be listed.
        preview: whether no shopper will see the list, so that no experiment decides about it.
        place: name of the place in the shop that asks, which rules may be for.
        as_given: keep the offered products, also those that are hidden or barred by rules.
    """

    started: float
    n: int
    budget: float
    strategy: Strategy = "auto"
    user_id: str | None = None
    session: Sequence[str] = ()
    context: str | None = None
    wish: str = ""
    filters: Filters | None = None
    exclude: Sequence[str] = ()
    offered: Sequence[str] | None = None
    explain: bool = False
    diversity: float = 0.0
    seen: bool = False
    preview: bool = False
    place: str | None = None
    as_given: bool = False

    @property
    def may_repeat(self) -> bool:
        """Whether products of the history may be listed."""
        return self.seen or self.offered is not None


@dataclass(slots=True)
class Listed:
    """One place of a list.

    Attributes:
        number: of the product on the shelf.
        score: of whoever placed it; comparable within one source only.
        source: who placed it.
        reason: why, with evidence; None where no reasons were wanted.
    """

    number: int
    score: float
    source: str
    reason: dict[str, Any] | None = None


@dataclass(slots=True)
class Answer:
    """A list with what led to it.

    Attributes:
        request_id: goes back in events, so that they can be attributed.
        model_version: the model that answered.
        strategy: who answered.
        shelf: the catalogue that the numbers belong to.
        items: the list.
        experiment: that the shopper takes part in; None outside.
        variant: of the experiment, or of each place where lists are mixed, parted by "|"; None outside.
        propensities: how probable each product was at its place, where places were shuffled; None elsewhere.
        degraded: what could not be done in time or at all, in a few words; empty where all went well.
        timings: milliseconds by step.
        missing: ids of the request that are not known.
        notes: what the caller should know.
        wish: how a wish was understood.
        arranged: what business rules did, a line a product.
        ahead: how the request stood to what was made ahead; None where that cannot answer it.
        took_ms: in all.
    """

    request_id: str
    model_version: str
    strategy: str
    shelf: Shelf
    items: list[Listed] = field(default_factory=list)
    experiment: str | None = None
    variant: str | None = None
    propensities: tuple[float, ...] | None = None
    degraded: list[str] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    wish: dict[str, Any] | None = None
    arranged: list[dict[str, Any]] = field(default_factory=list)
    ahead: State | None = None
    took_ms: float = 0.0

    def to_bytes(self) -> bytes:
        """Return the answer as JSON, put together from what was written before for each product."""
        fragment = self.shelf.fragment
        items = b",".join(
            b'%b,"rank":%d,"score":%b,"source":"%b","reason":%b}'
            % (
                fragment(one.number),
                rank,
                _number(one.score),
                one.source.encode(),
                b"null" if one.reason is None else as_json(one.reason),
            )
            for rank, one in enumerate(self.items, 1)
        )
        head = {
            "request_id": self.request_id,
            "model_version": self.model_version,
            "strategy": self.strategy,
            "variant": self.variant,
            "degraded": bool(self.degraded),
            "degraded_reason": "; ".join(self.degraded) or None,
            "took_ms": round(self.took_ms, 3),
            "timings": {step: round(value, 3) for step, value in self.timings.items()},
            "missing_ids": self.missing,
            "notes": self.notes,
        }
        if self.wish is not None:
            head["wish"] = self.wish
        return as_json(head)[:-1] + b',"items":[' + items + b"]}"


def as_json(value: Any) -> bytes:  # noqa: ANN401  # any JSON value
    """Return JSON as bytes; NaN and infinity become null, and half characters are escaped."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        return json.dumps(finite(value), allow_nan=False, separators=(",", ":")).encode()


def _number(score: float) -> bytes:
    return b"%.6g" % score if abs(score) < 1e30 else b"null"
