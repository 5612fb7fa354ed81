"""The rows of a store: what callers give and get. Ids are opaque strings, times are milliseconds since 1970 (UTC)."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Status = Literal["accepted", "duplicate", "erased"]
"""What became of an event: stored, there already (by its id), or refused because its shopper was erased."""
Scope = Literal["read", "write", "admin"]
ModelState = Literal["ready", "active", "retired"]


def now() -> int:
    """Return the time in milliseconds since 1970 (UTC)."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Event:
    """Something a shopper did with a product.

    Args:
        event_id: the caller's own; an event that is sent again under the same id changes nothing.
        user_id: the shopper.
        item_id: the product; it need not be in the catalogue.
        event_type: such as "view", "add-to-cart", "purchase".
        timestamp: when it happened.
        value: such as a rating or a price paid.
        session_id: groups events of a visit.
        request_id: of the recommendation that led to it.
        position: place in that list, from 0.
    """

    event_id: str
    user_id: str
    item_id: str
    event_type: str
    timestamp: int
    value: float | None = None
    session_id: str | None = None
    request_id: str | None = None
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A product of the catalogue.

    Args:
        item_id: the shop's key.
        title: name in words.
        description: text in words.
        brand: its maker.
        categories: from general to special.
        price: in `currency`.
        currency: such as "EUR".
        availability: such as "in stock".
        image_link: address of a picture.
        group_id: shared by variants of one product.
        created_at: when it came into the shop.
        hidden: never to be recommended.
        attributes: anything else, as JSON values.
        updated_at: when it was put; 0 means now.
    """

    item_id: str
    title: str = ""
    description: str = ""
    brand: str = ""
    categories: tuple[str, ...] = ()
    price: float | None = None
    currency: str | None = None
    availability: str | None = None
    image_link: str | None = None
    group_id: str | None = None
    created_at: int | None = None
    hidden: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)
    updated_at: int = 0


@dataclass(frozen=True, slots=True)
class Deleted:
    """A product that left the catalogue, for those who follow it."""

    item_id: str


@dataclass(frozen=True, slots=True)
class User:
    """What a shop says about a shopper, as JSON values; `updated_at` 0 means now."""

    user_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    updated_at: int = 0


@dataclass(frozen=True, slots=True)
class Key:
    """An access key, without its secret.

    Args:
        key_id: public part of the secret.
        name: who uses it.
        scopes: what it opens.
        created_at: when it was made.
        revoked_at: from when on it opens nothing.
    """

    key_id: str
    name: str
    scopes: frozenset[Scope]
    created_at: int
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A saved model that can answer.

    Args:
        version: its name, never used for another model.
        folder: where it is saved.
        state: "ready" before it was ever active, "retired" after.
        created_at: when it was put; 0 means now.
        facts: anything to tell about it, as JSON values.
        digest: what the folder held when the version was put, see `artifact.fingerprint`; None where nobody knows.
    """

    version: str
    folder: str
    state: ModelState = "ready"
    created_at: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """Work that goes on behind a request.

    Args:
        job_id: its key.
        kind: what it does, such as "import".
        state: such as "queued", "running", "done", "failed".
        progress: from 0 to 1.
        result: JSON values, once it is done.
        error: why it failed.
        created_at: when it was first put; 0 means now.
        updated_at: when it was last put; 0 means now.
    """

    job_id: str
    kind: str
    state: str
    progress: float = 0.0
    result: Any = None
    error: str | None = None
    created_at: int = 0
    updated_at: int = 0


@dataclass(frozen=True, slots=True)
class Impression:
    """What a list showed, so that later events can be credited to it.

    Args:
        request_id: of the answer.
        timestamp: of the answer.
        user_id: None where the shopper is unknown or was erased.
        experiment: None outside experiments.
        variant: of the experiment.
        model_version: that answered.
        strategy: that answered.
        item_ids: as shown, best first.
        propensities: the chance that each had to be shown there, for off-policy estimates.
        degraded: whether a cheaper stage had to answer.
    """

    request_id: str
    timestamp: int
    user_id: str | None
    experiment: str | None
    variant: str | None
    model_version: str
    strategy: str
    item_ids: tuple[str, ...]
    propensities: tuple[float, ...] | None = None
    degraded: bool = False


@dataclass(frozen=True, slots=True)
class MadeRanking:
    """What a model says to a shopper, made ahead of the request.

    Args:
        user_id: the shopper.
        model_version: that said it.
        digest: of the history that it was made from.
        item_ids: the products, best first, as the model's last stage left them.
        scores: theirs.
        source: name of the stage that had the last word.
        reasons: product -> its phrased reason with the evidence that it rests on, as JSON values.
        wanted_reasons: how many first products a reason was wanted for.
        catalogue: revision of the catalogue at that time.
        rules: version of the business rules at that time.
        computed_at: when it was made; 0 means now.
    """

    user_id: str
    model_version: str
    digest: str
    item_ids: tuple[str, ...]
    scores: tuple[float, ...]
    source: str
    reasons: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    wanted_reasons: int = 0
    catalogue: int = 0
    rules: int = 0
    computed_at: int = 0


@dataclass(frozen=True, slots=True)
class AuditLine:
    """Who did what to what; `detail` holds JSON values, never texts of shoppers."""

    timestamp: int
    actor: str
    action: str
    subject: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What business rules did to one list.

    Args:
        request_id: of the list.
        timestamp: of the list.
        lines: JSON values, one for each product that was suppressed, moved, boosted or added: "rule", "action",
            "item_id", "before", "after".
    """

    request_id: str
    timestamp: int
    lines: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of an erasure; it names nobody.

    Args:
        user_hash: the tombstone, a keyed hash of the id.
        erased_at: when it was done.
        counts: rows removed or anonymised, by table.
        pages: how the bytes on disk were dealt with, in words.
        digest: SHA-256 over all of the above.
    """

    user_hash: str
    erased_at: int
    counts: Mapping[str, int]
    pages: str
    digest: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that `check` found.

    Args:
        check: what was looked at, such as "integrity".
        severity: "note" where it is safe as it is, "warning", or "fault".
        found: in words.
        cure: what to do; empty for a note.
    """

    check: str
    severity: Literal["note", "warning", "fault"]
    found: str
    cure: str = ""
